"""Users, tokens, console logins, links that set a password, failed logins."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, ForeignKey, Index, delete, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.kernel.identity.model import LinkPurpose

LOGINS_LOCK = 4_826_170_114
"""Key of the advisory lock; any number that nobody else uses."""


class UserRow(Base, kw_only=True):
    """A person. ``password_hash`` (argon2id) is empty until a password is set."""

    __tablename__ = "user_account"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[int]
    password_hash: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None] = mapped_column(default=None)


class TokenRow(Base, kw_only=True):
    """An API token, kept as its SHA-256; ``hint``: its first characters, to tell tokens apart."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    role: Mapped[int]
    hint: Mapped[str]
    sha256: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None] = mapped_column(default=None)
    last_used_at: Mapped[datetime | None] = mapped_column(default=None)
    scope: Mapped[str] = mapped_column(default="")
    """Areas with commas between, as ``jobs,tiers``; empty: everything."""

    @property
    def areas(self) -> tuple[str, ...]:
        """The scope, apart."""
        return tuple(self.scope.split(",")) if self.scope else ()


class SessionRow(Base, kw_only=True):
    """A console login, kept as the SHA-256 of its cookie. Without user and token: the API key's."""

    __tablename__ = "session"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    sha256: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    method: Mapped[str]
    """A `LoginMethod`."""
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    token_id: Mapped[int | None] = mapped_column(ForeignKey("token.id", ondelete="CASCADE"))
    key_mac: Mapped[str] = mapped_column(default="")
    """HMAC of the API key, keyed with the cookie: it fits no more when the key is changed."""
    address: Mapped[str]
    user_agent: Mapped[str]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None] = mapped_column(default=None)


class InvitationRow(Base, kw_only=True):
    """A link that lets a user set a password, once; kept as the SHA-256 of its secret part."""

    __tablename__ = "invitation"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    sha256: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    purpose: Mapped[str]
    """A `LinkPurpose`."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None] = mapped_column(default=None)


class LoginFailureRow(Base, kw_only=True):
    """A login that failed, or is being tried. The name is hashed: people type passwords there."""

    __tablename__ = "login_failure"
    __table_args__ = (Index("ix_login_failure_guesser", "guesser", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    guesser: Mapped[str]
    name_sha256: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)


async def users(session: AsyncSession) -> Sequence[UserRow]:
    """All users by name."""
    return (await session.scalars(select(UserRow).order_by(UserRow.name))).all()


async def user_named(session: AsyncSession, name: str) -> UserRow | None:
    """The user of this name."""
    return await session.scalar(select(UserRow).where(UserRow.name == name))


async def tokens(session: AsyncSession) -> Sequence[TokenRow]:
    """All tokens, newest first."""
    return (await session.scalars(select(TokenRow).order_by(TokenRow.id.desc()))).all()


async def token_with_hash(
    session: AsyncSession, sha256: str
) -> tuple[TokenRow, UserRow | None] | None:
    """A token by its hash, with its user."""
    query = select(TokenRow, UserRow).outerjoin(UserRow, TokenRow.user_id == UserRow.id)
    row = (await session.execute(query.where(TokenRow.sha256 == sha256))).first()
    return (row[0], row[1]) if row else None


async def revoke_tokens_of(session: AsyncSession, user_id: int, moment: datetime) -> None:
    """Revoke every token of one user."""
    mine = TokenRow.user_id == user_id
    await session.execute(
        update(TokenRow).where(mine, TokenRow.revoked_at.is_(None)).values(revoked_at=moment)
    )


async def sessions(session: AsyncSession) -> Sequence[SessionRow]:
    """Logins that nobody ended, newest first; some may have run out."""
    query = select(SessionRow).where(SessionRow.ended_at.is_(None))
    return (await session.scalars(query.order_by(SessionRow.id.desc()))).all()


async def sessions_with_hashes(
    session: AsyncSession, hashes: Sequence[str]
) -> Sequence[tuple[SessionRow, UserRow | None, TokenRow | None]]:
    """Logins by the hashes of their cookies, with the user and token that they stand for."""
    query = (
        select(SessionRow, UserRow, TokenRow)
        .outerjoin(UserRow, SessionRow.user_id == UserRow.id)
        .outerjoin(TokenRow, SessionRow.token_id == TokenRow.id)
        .where(SessionRow.sha256.in_(hashes))
    )
    return [(row[0], row[1], row[2]) for row in await session.execute(query)]


async def end_sessions(session: AsyncSession, moment: datetime, *which: ColumnElement[bool]) -> int:
    """End the logins to which all of ``which`` applies; gives their number."""
    ended = await session.scalars(
        update(SessionRow)
        .where(SessionRow.ended_at.is_(None), *which)
        .values(ended_at=moment)
        .returning(SessionRow.id)
    )
    return len(ended.all())


async def touch_session(session: AsyncSession, session_id: int, moment: datetime) -> None:
    """Remember that this login was used; never moves backwards."""
    older = SessionRow.last_seen_at < moment
    await session.execute(
        update(SessionRow).where(SessionRow.id == session_id, older).values(last_seen_at=moment)
    )


async def invitation_with_hash(
    session: AsyncSession, sha256: str
) -> tuple[InvitationRow, UserRow] | None:
    """A link by its hash, with its user."""
    query = select(InvitationRow, UserRow).join(UserRow, InvitationRow.user_id == UserRow.id)
    row = (await session.execute(query.where(InvitationRow.sha256 == sha256))).first()
    return (row[0], row[1]) if row else None


async def claim_invitation(session: AsyncSession, invitation_id: int, moment: datetime) -> bool:
    """Use a link up; false when somebody else was faster."""
    unused = InvitationRow.id == invitation_id, InvitationRow.used_at.is_(None)
    claim = update(InvitationRow).where(*unused).values(used_at=moment)
    return await session.scalar(claim.returning(InvitationRow.id)) is not None


async def forget_invitations(session: AsyncSession, user_id: int) -> None:
    """Delete the links of a user that were not used."""
    unused = InvitationRow.used_at.is_(None)
    await session.execute(delete(InvitationRow).where(InvitationRow.user_id == user_id, unused))


async def waits_for_first_login(session: AsyncSession, name: str) -> bool:
    """Whether this user was made for the first admin, and nobody has set a password yet."""
    waiting = InvitationRow.purpose == LinkPurpose.FIRST.value, InvitationRow.used_at.is_(None)
    query = select(InvitationRow.id).join(UserRow, InvitationRow.user_id == UserRow.id)
    fresh = UserRow.name == name, UserRow.password_hash == "", UserRow.disabled_at.is_(None)
    return await session.scalar(query.where(*waiting, *fresh).limit(1)) is not None


async def lock_logins(session: AsyncSession) -> None:
    """Let one login after the other count failures; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text(f"SELECT pg_advisory_xact_lock({LOGINS_LOCK})"))


async def login_failures(
    session: AsyncSession, guesser: str, since: datetime
) -> Sequence[LoginFailureRow]:
    """Failures of an address since a moment, oldest first."""
    recent = LoginFailureRow.guesser == guesser, LoginFailureRow.created_at > since
    query = select(LoginFailureRow).where(*recent).order_by(LoginFailureRow.created_at)
    return (await session.scalars(query)).all()


async def forget_failures(session: AsyncSession, guesser: str, name_sha256: str) -> None:
    """Count anew for this name from this address."""
    mine = LoginFailureRow.guesser == guesser, LoginFailureRow.name_sha256 == name_sha256
    await session.execute(delete(LoginFailureRow).where(*mine))


async def forget_older(session: AsyncSession, moment: datetime) -> None:
    """Delete logins and links that were over before ``moment``, and failures before it."""
    over = or_(SessionRow.expires_at < moment, SessionRow.ended_at < moment)
    await session.execute(delete(SessionRow).where(over))
    await session.execute(delete(InvitationRow).where(InvitationRow.expires_at < moment))
    await session.execute(delete(LoginFailureRow).where(LoginFailureRow.created_at < moment))

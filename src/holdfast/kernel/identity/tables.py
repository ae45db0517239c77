"""Users and tokens."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


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

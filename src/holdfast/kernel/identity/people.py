"""What the console lists of users, tokens and logins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import NotFound
from holdfast.kernel.identity.tables import SessionRow, TokenRow, UserRow
from holdfast.kernel.web.console.listing import Listing, like

USER_SORTS = {"name": UserRow.name, "role": UserRow.role, "created": UserRow.created_at}
TOKEN_SORTS = {
    "-created": TokenRow.id,
    "name": TokenRow.name,
    "role": TokenRow.role,
    "expires": TokenRow.expires_at,
    "used": TokenRow.last_used_at,
}
STATES = ("active", "invited", "disabled")
TOKEN_STATES = ("active", "expired", "revoked")
SOON = timedelta(days=7)
"""A token that ends so soon, or ended so lately, while it was in use, is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLine:
    """A user as a list shows them."""

    user: UserRow
    state: str
    tokens: int
    """Those that open something."""
    seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLine:
    """A token as a list shows it."""

    token: TokenRow
    state: str
    user: UserRow | None


def user_state(user: UserRow) -> str:
    """``invited``: has no password yet."""
    if user.disabled_at:
        return "disabled"
    return "active" if user.password_hash else "invited"


def token_state(token: TokenRow, user: UserRow | None, moment: datetime) -> str:
    """``disabled``: its user is."""
    if token.revoked_at:
        return "revoked"
    if token.expires_at and token.expires_at <= moment:
        return "expired"
    return "disabled" if user and user.disabled_at else "active"


async def user_named_by_id(session: AsyncSession, user_id: int) -> UserRow:
    """The user with this id. Raises ``NotFound``."""
    user = await session.get(UserRow, user_id)
    if user is None:
        raise NotFound(f"User {user_id} not found", hint="see /web/users")
    return user


async def user_lines(session: AsyncSession, asked: Listing) -> tuple[Sequence[UserLine], int]:
    """Users of this page of the list, and how many there are."""
    which: list[ColumnElement[bool]] = []
    if asked.q:
        which.append(UserRow.name.ilike(like(asked.q), escape="\\"))
    state = asked.others.get("state")
    if state in STATES:
        which.append(_user_is(state))
    column = USER_SORTS[asked.sort]
    order = column.desc() if asked.descending else column.asc()
    query = select(UserRow).where(*which).order_by(order, UserRow.id)
    rows = (await session.scalars(query.limit(asked.rows).offset(asked.offset))).all()
    total = await session.scalar(select(func.count()).select_from(UserRow).where(*which))
    ids = [row.id for row in rows]
    tokens, seen = await _living_tokens(session, ids), await _last_seen(session, ids)
    lines = [
        UserLine(
            user=row, state=user_state(row), tokens=tokens.get(row.id, 0), seen_at=seen.get(row.id)
        )
        for row in rows
    ]
    return lines, total or 0


async def token_lines(
    session: AsyncSession, asked: Listing, *, of_user: int | None = None
) -> tuple[Sequence[TokenLine], int]:
    """Tokens of this page of the list, and how many there are."""
    moment = now()
    which: list[ColumnElement[bool]] = []
    if asked.q:
        wanted = like(asked.q)
        which.append(
            or_(
                TokenRow.name.ilike(wanted, escape="\\"),
                TokenRow.hint.ilike(wanted, escape="\\"),
                UserRow.name.ilike(wanted, escape="\\"),
            )
        )
    if of_user is not None:
        which.append(TokenRow.user_id == of_user)
    state = asked.others.get("state")
    if state in TOKEN_STATES:
        which.append(_token_is(state, moment))
    known = {name.removeprefix("-"): column for name, column in TOKEN_SORTS.items()}
    column = known[asked.sort]
    order = column.desc() if asked.descending else column.asc()
    joined = TokenRow.user_id == UserRow.id
    query = select(TokenRow, UserRow).outerjoin(UserRow, joined).where(*which)
    page = query.order_by(order.nulls_last(), TokenRow.id).limit(asked.rows).offset(asked.offset)
    lines = [
        TokenLine(token=token, state=token_state(token, user, moment), user=user)
        for token, user in await session.execute(page)
    ]
    counted = select(func.count(TokenRow.id)).outerjoin(UserRow, joined).where(*which)
    return lines, await session.scalar(counted) or 0


async def ending_tokens(session: AsyncSession, most: int) -> Sequence[TokenRow]:
    """Tokens in use that end soon, or that ended lately while they were in use; soonest first."""
    moment = now()
    near = TokenRow.expires_at.between(moment - SOON, moment + SOON)
    in_use = TokenRow.last_used_at > moment - SOON
    query = select(TokenRow).where(TokenRow.revoked_at.is_(None), near, in_use)
    return (await session.scalars(query.order_by(TokenRow.expires_at).limit(most))).all()


def _user_is(state: str) -> ColumnElement[bool]:
    if state == "disabled":
        return UserRow.disabled_at.is_not(None)
    has_password = UserRow.password_hash != "" if state == "active" else UserRow.password_hash == ""
    return and_(UserRow.disabled_at.is_(None), has_password)


def _token_is(state: str, moment: datetime) -> ColumnElement[bool]:
    if state == "revoked":
        return TokenRow.revoked_at.is_not(None)
    expired = TokenRow.expires_at <= moment
    alive = TokenRow.revoked_at.is_(None)
    if state == "expired":
        return and_(alive, expired)
    open_end = or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > moment)
    return and_(alive, open_end, UserRow.disabled_at.is_(None))


async def _living_tokens(session: AsyncSession, ids: Sequence[int]) -> Mapping[int | None, int]:
    moment = now()
    alive = or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > moment)
    query = select(TokenRow.user_id, func.count()).where(
        TokenRow.user_id.in_(ids), TokenRow.revoked_at.is_(None), alive
    )
    return {row[0]: row[1] for row in await session.execute(query.group_by(TokenRow.user_id))}


async def _last_seen(session: AsyncSession, ids: Sequence[int]) -> Mapping[int | None, datetime]:
    query = select(SessionRow.user_id, func.max(SessionRow.last_seen_at))
    found = query.where(SessionRow.user_id.in_(ids)).group_by(SessionRow.user_id)
    return {row[0]: row[1] for row in await session.execute(found)}

"""Create and revoke users and tokens; tell who a token belongs to."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, Invalid, NotFound
from holdfast.kernel.identity import passwords, sessions, tables
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.model import scope_of
from holdfast.kernel.identity.sessions import sha256
from holdfast.kernel.identity.tables import SessionRow, TokenRow, UserRow
from holdfast.kernel.identity.uses import TokenUses
from holdfast.kernel.work import Actor, Role, Work

TOKEN_PREFIX = "holdfast_"  # noqa: S105 - the public start of every token
HINT_CHARACTERS = len(TOKEN_PREFIX) + 4
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,127}$")


def role_named(text: str) -> Role:
    """The role of this name. Raises ``Invalid``."""
    try:
        return Role[text.upper()]
    except KeyError:
        raise Invalid(f"role {text!r} is unknown", hint="use viewer, operator or admin") from None


async def create_user(work: Work, *, name: str, role: Role, password: str = "") -> UserRow:
    """Add a person. Raises ``Invalid`` and ``Conflict``."""
    _check_name(name)
    if password:
        passwords.check_password(password)
    if await tables.user_named(work.session, name):
        raise Conflict(f"User {name!r} already exists", hint="choose another name")
    hashed = await passwords.hashed(password) if password else ""
    user = UserRow(name=name, role=int(role), password_hash=hashed, created_at=now())
    work.session.add(user)
    await work.session.flush()
    work.audit("create", "user", user.id, after={"name": name, "role": role.name.lower()})
    work.emit("identity", "user.created", {"id": user.id, "name": name})
    return user


async def change_role(work: Work, name: str, role: Role, *, by: int | None = None) -> UserRow:
    """Give a user another role, which their logins and tokens have at once.

    ``by``: the user who asks; nobody changes their own. Raises ``NotFound`` and ``Conflict``.
    """
    user = await _user(work.session, name)
    if user.id == by:
        raise Conflict("this is your own role", hint="let another admin change it")
    before = Role(user.role)
    if before is role:
        return user
    await check_another_admin(work.session, user)
    user.role = int(role)
    work.audit(
        "set_role",
        "user",
        user.id,
        before={"name": user.name, "role": before.name.lower()},
        after={"name": user.name, "role": role.name.lower()},
    )
    work.emit("identity", "user.changed", {"id": user.id, "name": user.name})
    return user


async def enable_user(work: Work, name: str) -> UserRow:
    """Let a disabled user log in again; tokens that were revoked stay so. Raises ``NotFound``."""
    user = await _user(work.session, name)
    if user.disabled_at:
        user.disabled_at = None
        work.audit("enable", "user", user.id, after={"name": user.name})
        work.emit("identity", "user.changed", {"id": user.id, "name": user.name})
    return user


async def check_another_admin(session: AsyncSession, user: UserRow) -> None:
    """Raises ``Conflict`` when this is the last admin, who is not locked out by a click."""
    others = [UserRow.id != user.id, UserRow.role == int(Role.ADMIN), UserRow.disabled_at.is_(None)]
    if user.role != Role.ADMIN or user.disabled_at:
        return
    if not await session.scalar(select(func.count()).select_from(UserRow).where(*others)):
        raise Conflict(
            f"{user.name} is the only admin left", hint="make another user an admin first"
        )


async def revoke_user(work: Work, name: str) -> UserRow:
    """Disable a person; end all their tokens, links and logins. Raises ``NotFound``."""
    user = await _user(work.session, name)
    user.disabled_at = user.disabled_at or now()
    await tables.revoke_tokens_of(work.session, user.id, now())
    await tables.forget_invitations(work.session, user.id)
    await sessions.end_of_user(work, user.id, why="user revoked")
    work.audit("revoke", "user", user.id, before={"name": name})
    work.emit("identity", "user.revoked", {"id": user.id, "name": name})
    return user


async def create_token(
    work: Work,
    *,
    name: str,
    role: Role,
    user_name: str | None = None,
    expires_at: datetime | None = None,
    scope: Sequence[str] = (),
) -> tuple[TokenRow, str]:
    """Make a token; its text is given here and never again. It may not exceed its user's role.

    ``scope``: the areas that it opens; none: all.
    """
    _check_name(name)
    areas = scope_of(scope)
    user = await tables.user_named(work.session, user_name) if user_name else None
    if user_name and user is None:
        raise NotFound(f"User {user_name!r} not found", hint="holdfast user list")
    if user and role > user.role:
        raise BadRequest(
            f"user {user_name!r} may not have a token of role {role.name.lower()}",
            hint="choose a lesser role",
        )
    if expires_at and expires_at <= now():
        raise Invalid("the expiry lies in the past", hint="give a later moment")
    text = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = TokenRow(
        name=name,
        role=int(role),
        hint=text[:HINT_CHARACTERS],
        sha256=sha256(text),
        user_id=user.id if user else None,
        created_at=now(),
        expires_at=expires_at,
        scope=",".join(areas),
    )
    work.session.add(row)
    await work.session.flush()
    after = {"name": name, "role": role.name.lower(), "scope": list(areas)}
    work.audit("create", "token", row.id, after=after)
    work.emit("identity", "token.created", {"id": row.id, "name": name})
    return row, text


async def revoke_token(work: Work, token_id: int) -> TokenRow:
    """End a token and its logins now. Raises ``NotFound``."""
    row = await work.session.get(TokenRow, token_id)
    if row is None:
        raise NotFound(f"Token {token_id} not found", hint="holdfast token list")
    row.revoked_at = row.revoked_at or now()
    await sessions.end_where(work, SessionRow.token_id == row.id, why="token revoked")
    work.audit("revoke", "token", row.id, before={"name": row.name})
    work.emit("identity", "token.revoked", {"id": row.id, "name": row.name})
    return row


async def caller_of_token(
    session: AsyncSession, token: str, *, api_key: str, uses: TokenUses | None = None
) -> Caller | None:
    """Who this token speaks for; ``None`` when unknown, expired, revoked or its user disabled.

    ``uses`` is told of a token that is let in.
    """
    if is_api_key(token, api_key):
        return Caller(actor=Actor("api", Role.ADMIN))
    found = await tables.token_with_hash(session, sha256(token))
    if found is None or not sessions.usable(*found, now()):
        return None
    row, user = found
    if uses:
        uses.note(row.id, row.last_used_at)
    return Caller(
        actor=sessions.actor_for(user, row),
        user_id=row.user_id,
        token_id=row.id,
        scope=row.areas,
    )


def is_api_key(given: str, api_key: str) -> bool:
    """Whether this is the key of the settings; there may be none."""
    given_bytes = given.encode(errors="surrogatepass")
    return bool(api_key) and secrets.compare_digest(given_bytes, api_key.encode())


def may_be_a_name(text: str) -> bool:
    """Whether a user or token could be called so."""
    return _NAME.match(text) is not None


async def _user(session: AsyncSession, name: str) -> UserRow:
    user = await tables.user_named(session, name)
    if user is None:
        raise NotFound(f"User {name!r} not found", hint="holdfast user list")
    return user


def _check_name(name: str) -> None:
    if not may_be_a_name(name):
        raise Invalid(
            f"name {name!r} is not allowed", hint="use letters, digits and . _ @ -, at most 128"
        )

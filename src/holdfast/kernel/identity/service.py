"""Create, list and revoke users and tokens; tell who a token belongs to."""

import hashlib
import re
import secrets
from datetime import datetime

from argon2 import PasswordHasher
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, Invalid, NotFound
from holdfast.kernel.identity import tables
from holdfast.kernel.identity.tables import TokenRow, UserRow
from holdfast.kernel.work import Actor, Role, Work

TOKEN_PREFIX = "holdfast_"  # noqa: S105 - the public start of every token
SHORTEST_PASSWORD = 10
HINT_CHARACTERS = len(TOKEN_PREFIX) + 4
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._@-]{0,127}$")


def role_named(text: str) -> Role:
    """The role of this name. Raises ``Invalid``."""
    try:
        return Role[text.upper()]
    except KeyError:
        raise Invalid(f"role {text!r} is unknown", hint="use viewer, operator or admin") from None


def token_hash(token: str) -> str:
    """What is kept of a token; it has 256 random bits, so a plain hash cannot be guessed back."""
    return hashlib.sha256(token.encode()).hexdigest()


async def create_user(work: Work, *, name: str, role: Role, password: str = "") -> UserRow:
    """Add a person. Raises ``Invalid`` and ``Conflict``."""
    _check_name(name)
    if password and len(password) < SHORTEST_PASSWORD:
        raise Invalid(
            "the password is too short", hint=f"use {SHORTEST_PASSWORD} characters or more"
        )
    if await tables.user_named(work.session, name):
        raise Conflict(f"User {name!r} already exists", hint="choose another name")
    hashed = PasswordHasher().hash(password) if password else ""
    user = UserRow(name=name, role=int(role), password_hash=hashed, created_at=now())
    work.session.add(user)
    await work.session.flush()
    work.audit("create", "user", user.id, after={"name": name, "role": role.name.lower()})
    return user


async def revoke_user(work: Work, name: str) -> UserRow:
    """Disable a person and revoke every token of theirs. Raises ``NotFound``."""
    user = await tables.user_named(work.session, name)
    if user is None:
        raise NotFound(f"User {name!r} not found", hint="holdfast user list")
    user.disabled_at = user.disabled_at or now()
    await tables.revoke_tokens_of(work.session, user.id, now())
    work.audit("revoke", "user", user.id, before={"name": name})
    return user


async def create_token(
    work: Work,
    *,
    name: str,
    role: Role,
    user_name: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[TokenRow, str]:
    """Make a token; its text is given here and never again. It may not exceed its user's role."""
    _check_name(name)
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
        sha256=token_hash(text),
        user_id=user.id if user else None,
        created_at=now(),
        expires_at=expires_at,
    )
    work.session.add(row)
    await work.session.flush()
    work.audit("create", "token", row.id, after={"name": name, "role": role.name.lower()})
    return row, text


async def revoke_token(work: Work, token_id: int) -> TokenRow:
    """End a token now. Raises ``NotFound``."""
    row = await work.session.get(TokenRow, token_id)
    if row is None:
        raise NotFound(f"Token {token_id} not found", hint="holdfast token list")
    row.revoked_at = row.revoked_at or now()
    work.audit("revoke", "token", row.id, before={"name": row.name})
    return row


async def actor_of_token(session: AsyncSession, token: str, *, api_key: str) -> Actor | None:
    """Who this token speaks for; ``None`` when unknown, expired, revoked or its user disabled."""
    if api_key and secrets.compare_digest(token.encode(), api_key.encode()):
        return Actor("api", Role.ADMIN)
    found = await tables.token_with_hash(session, token_hash(token))
    if found is None:
        return None
    row, user = found
    expired = row.expires_at is not None and row.expires_at <= now()
    if row.revoked_at or expired or (user and user.disabled_at):
        return None
    role = min(row.role, user.role) if user else row.role
    return Actor(f"{user.name}/{row.name}" if user else row.name, Role(role))


def _check_name(name: str) -> None:
    if not _NAME.match(name):
        raise Invalid(
            f"name {name!r} is not allowed", hint="use letters, digits and . _ @ -, at most 128"
        )

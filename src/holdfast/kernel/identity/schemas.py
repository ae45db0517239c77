"""People, tokens, links and logins as they are shown, by the API and by commands without one."""

from typing import Any

from pydantic import BaseModel

from holdfast.kernel.clock import iso_time
from holdfast.kernel.config import Settings
from holdfast.kernel.identity import sessions
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.identity.tables import InvitationRow, SessionRow, TokenRow, UserRow
from holdfast.kernel.work import Role


class UserOut(BaseModel):
    """A person."""

    id: int
    name: str
    role: str
    has_password: bool
    created_at: str | None
    disabled_at: str | None


class LinkOut(BaseModel):
    """A link that sets a user's password, once; it is given here and never again.

    Empty in a dry run.
    """

    link: str
    user: str
    expires_at: str | None


class TokenOut(BaseModel):
    """A token without its text; ``hint`` is how it begins."""

    id: int
    name: str
    role: str
    scope: list[str]
    """The areas that it opens; empty: all."""
    hint: str
    user_id: int | None
    created_at: str | None
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class SessionOut(BaseModel):
    """A console login; its cookie is known to the browser alone."""

    id: int
    name: str
    """Who logged in: a user, a token, or ``api`` with the operator's key."""
    method: str
    """``password``, ``link`` or ``key``."""
    address: str
    user_agent: str
    created_at: str | None
    last_seen_at: str | None
    """To the minute."""
    expires_at: str | None
    """When it ends if nothing more is asked with it."""
    ended_at: str | None
    current: bool
    """Whether it is the one that asks."""


def user_out(row: UserRow) -> UserOut:
    """A user's row as it is shown."""
    return UserOut(
        id=row.id,
        name=row.name,
        role=Role(row.role).name.lower(),
        has_password=bool(row.password_hash),
        created_at=iso_time(row.created_at),
        disabled_at=iso_time(row.disabled_at),
    )


def link_out(row: InvitationRow, name: str, link: str) -> LinkOut:
    """A link as it is shown."""
    return LinkOut(link=link, user=name, expires_at=iso_time(row.expires_at))


def token_fields(row: TokenRow) -> dict[str, Any]:
    """A token's row as it is shown."""
    return {
        "id": row.id,
        "name": row.name,
        "role": Role(row.role).name.lower(),
        "scope": list(row.areas),
        "hint": row.hint,
        "user_id": row.user_id,
        "created_at": iso_time(row.created_at),
        "expires_at": iso_time(row.expires_at),
        "revoked_at": iso_time(row.revoked_at),
        "last_used_at": iso_time(row.last_used_at),
    }


def session_out(row: SessionRow, settings: Settings, caller: Caller | None = None) -> SessionOut:
    """A login's row as it is shown."""
    return SessionOut(
        id=row.id,
        name=row.name,
        method=row.method,
        address=row.address,
        user_agent=row.user_agent,
        created_at=iso_time(row.created_at),
        last_seen_at=iso_time(row.last_seen_at),
        expires_at=iso_time(sessions.shown_end(row, settings)),
        ended_at=iso_time(row.ended_at),
        current=bool(caller and caller.session and caller.session.id == row.id),
    )

"""Who sent a request, and what let them in."""

from dataclasses import dataclass
from datetime import datetime

from holdfast.kernel.identity.model import LoginMethod
from holdfast.kernel.work import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A console login, as the request that it carried sees it."""

    id: int
    name: str
    """The user or token that logged in."""
    method: LoginMethod
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    """When it ends whatever happens; without requests it ends earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request: the actor, and what it was let in by."""

    actor: Actor
    user_id: int | None = None
    """The person, when a user's session or token was given."""
    token_id: int | None = None
    scope: tuple[str, ...] = ()
    """The areas that its token is bound to; empty: none."""
    session: SessionInfo | None = None
    """None when a token or key came in a header."""

"""Users and tokens over HTTP: for admins, but ``whoami``; a token's text is shown once."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Path, Request
from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from holdfast.kernel.clock import now
from holdfast.kernel.identity import invitations, service, tables
from holdfast.kernel.identity.schemas import (
    LinkOut,
    TokenOut,
    UserOut,
    link_out,
    token_fields,
    user_out,
)
from holdfast.kernel.web.deps import ADMIN, ActorDep, CallerDep, PageDep, ReadDep, WorkDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api", tags=["identity"])
LONGEST_LIFE_SECONDS = 100 * 365 * 86400
LARGEST_ID = 2**31 - 1
TokenId = Annotated[int, Path(ge=1, le=LARGEST_ID)]


class Whoami(BaseModel):
    """Who a token speaks for."""

    name: str
    role: str


class UserIn(BaseModel):
    """A person to add."""

    name: str
    role: str = "viewer"
    password: SecretStr = SecretStr("")


class UserChange(BaseModel):
    """What may be changed of a person."""

    role: str


class TokenIn(BaseModel):
    """A token to make; it expires at a moment, after a number of seconds, or never."""

    name: str
    role: str = "viewer"
    user: str | None = None
    expires_at: datetime | None = None
    expires_in: Annotated[int | None, Field(ge=1, le=LONGEST_LIFE_SECONDS)] = None
    scope: list[str] = []
    """Areas that it opens: words after ``/api/`` in addresses; empty: all."""

    @field_validator("scope", mode="before")
    @classmethod
    def _lines(cls, given: object) -> object:
        """A form sends them as words of one text."""
        return given.replace(",", " ").split() if isinstance(given, str) else given

    @model_validator(mode="after")
    def _one_expiry(self) -> "TokenIn":
        if self.expires_at and self.expires_in:
            raise ValueError("give expires_at or expires_in, not both")
        return self

    def expiry(self) -> datetime | None:
        """The moment, whichever way it was given; without a zone it is UTC."""
        if self.expires_in:
            return now() + timedelta(seconds=self.expires_in)
        if self.expires_at and self.expires_at.tzinfo is None:
            return self.expires_at.replace(tzinfo=UTC)
        return self.expires_at


class NewTokenOut(TokenOut):
    """A token just made; ``token`` is given here and never again. Empty in a dry run."""

    token: str


@router.get("/whoami")
async def whoami(actor: ActorDep) -> Whoami:
    """Who is asking, and with which role."""
    return Whoami(name=actor.name, role=actor.role.name.lower())


@router.get("/users", dependencies=[ADMIN])
async def list_users(session: ReadDep, page: PageDep) -> list[UserOut]:
    """All users by name."""
    rows = await tables.users(session)
    page.total(len(rows))
    return [user_out(row) for row in rows[page.offset : page.offset + page.limit]]


@router.post("/users", status_code=201, dependencies=[ADMIN])
async def create_user(work: WorkDep, body: UserIn) -> UserOut:
    """Add a person."""
    role = service.role_named(body.role)
    password = body.password.get_secret_value()
    return user_out(await service.create_user(work, name=body.name, role=role, password=password))


@router.put("/users/{name}", dependencies=[ADMIN])
async def update_user(work: WorkDep, caller: CallerDep, name: str, body: UserChange) -> UserOut:
    """Give a person another role; it holds at once, for logins and tokens alike."""
    role = service.role_named(body.role)
    return user_out(await service.change_role(work, name, role, by=caller.user_id))


@router.post("/users/{name}/enable", dependencies=[ADMIN])
async def enable_user(work: WorkDep, name: str) -> UserOut:
    """Let a disabled person log in again; revoked tokens stay revoked."""
    return user_out(await service.enable_user(work, name))


@router.post("/users/{name}/revoke", dependencies=[ADMIN])
async def revoke_user(work: WorkDep, name: str) -> UserOut:
    """Disable a person; end all their tokens, links and logins."""
    return user_out(await service.revoke_user(work, name))


@router.post("/users/{name}/link", status_code=201, dependencies=[ADMIN])
async def create_link(request: Request, work: WorkDep, name: str) -> LinkOut:
    """Make a link with which a person sets a password, once, within a day; older ones are void."""
    row, secret = await invitations.create_link(work, name)
    if work.dry_run:
        return link_out(row, name, "")
    return link_out(row, name, invitations.link_address(str(request.base_url), secret))


@router.get("/tokens", dependencies=[ADMIN])
async def list_tokens(session: ReadDep, page: PageDep) -> list[TokenOut]:
    """All tokens, newest first."""
    rows = await tables.tokens(session)
    page.total(len(rows))
    shown = rows[page.offset : page.offset + page.limit]
    return [TokenOut(**token_fields(row)) for row in shown]


@router.post("/tokens", status_code=201, dependencies=[ADMIN])
async def create_token(work: WorkDep, body: TokenIn) -> NewTokenOut:
    """Make a token; its text is in this answer and nowhere else."""
    row, text = await service.create_token(
        work,
        name=body.name,
        role=service.role_named(body.role),
        user_name=body.user,
        expires_at=body.expiry(),
        scope=body.scope,
    )
    return NewTokenOut(**token_fields(row), token="" if work.dry_run else text)


@router.post("/tokens/{token_id}/revoke", dependencies=[ADMIN])
async def revoke_token(work: WorkDep, token_id: TokenId) -> TokenOut:
    """End a token and its logins now."""
    return TokenOut(**token_fields(await service.revoke_token(work, token_id)))

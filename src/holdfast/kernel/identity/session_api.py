"""Console logins and one's own password over HTTP."""

from typing import Annotated

from fastapi import Path, Query, Request
from pydantic import BaseModel, SecretStr

from holdfast.kernel.identity import logins, sessions
from holdfast.kernel.identity.schemas import SessionOut, session_out
from holdfast.kernel.web.deps import ADMIN, CallerDep, PageDep, ReadDep, ServicesDep, WorkDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.security import visit_of

router = Router(prefix="/api", tags=["identity"])
SessionId = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Ended(BaseModel):
    """How many logins were ended."""

    ended: int


class PasswordIn(BaseModel):
    """One's own password, and the one that takes its place."""

    current_password: SecretStr
    new_password: SecretStr


@router.get("/sessions", dependencies=[ADMIN])
async def list_sessions(
    session: ReadDep,
    services: ServicesDep,
    caller: CallerDep,
    page: PageDep,
    name: Annotated[str | None, Query(description="only logins of this user or token")] = None,
) -> list[SessionOut]:
    """Everybody's console logins, newest first."""
    rows = await sessions.living(session, services.settings)
    found = [row for row in rows if name in {None, row.name}]
    page.total(len(found))
    shown = found[page.offset : page.offset + page.limit]
    return [session_out(row, services.settings, caller) for row in shown]


@router.post("/sessions/{session_id}/end", dependencies=[ADMIN])
async def end_session(
    work: WorkDep, services: ServicesDep, caller: CallerDep, session_id: SessionId
) -> SessionOut:
    """End anybody's login now."""
    row = await sessions.end(work, session_id)
    return session_out(row, services.settings, caller)


@router.get("/me/sessions")
async def list_own_sessions(
    session: ReadDep, services: ServicesDep, caller: CallerDep, page: PageDep
) -> list[SessionOut]:
    """One's own console logins, newest first."""
    rows = await sessions.living(session, services.settings)
    mine = [row for row in rows if sessions.is_own(row, caller)]
    page.total(len(mine))
    shown = mine[page.offset : page.offset + page.limit]
    return [session_out(row, services.settings, caller) for row in shown]


@router.post("/me/sessions/end-others")
async def end_other_sessions(work: WorkDep, caller: CallerDep) -> Ended:
    """End all of one's own logins but the one that asks."""
    return Ended(ended=await sessions.end_others(work, caller))


@router.post("/me/sessions/{session_id}/end")
async def end_own_session(
    work: WorkDep, services: ServicesDep, caller: CallerDep, session_id: SessionId
) -> SessionOut:
    """End one of one's own logins."""
    row = await sessions.end(work, session_id, own=caller)
    return session_out(row, services.settings, caller)


@router.post("/me/password")
async def change_password(
    request: Request, services: ServicesDep, caller: CallerDep, body: PasswordIn
) -> Ended:
    """Change one's own password; all other logins of the user end."""
    ended = await logins.change_password(
        services,
        caller,
        current=body.current_password.get_secret_value(),
        new=body.new_password.get_secret_value(),
        visit=visit_of(request),
    )
    return Ended(ended=ended)

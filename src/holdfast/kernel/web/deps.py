"""What a route asks for: a unit of work, a session, the services, a page of a list, a role."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, cast

from fastapi import Depends, Query, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import Forbidden, Invalid
from holdfast.kernel.identity.caller import Caller
from holdfast.kernel.services import Services
from holdfast.kernel.sorting import Sorts
from holdfast.kernel.work import Actor, Role, Work

LARGEST_PAGE = 10_000
LONGEST_SORT = 200
OK, ACCEPTED = 200, 202
_NO = {"false", "0", "no", "off", "f", "n"}


async def refuse_unstorable(request: Request) -> None:
    """Raises ``Invalid`` for a NUL in a path, a query or a JSON body: no database keeps it alike.

    A dependency of every route, so that no field can be forgotten.
    """
    places = [*request.path_params.items(), *request.query_params.multi_items()]
    body = await request.body() if request.method not in {"GET", "HEAD"} else b""
    # By its escape or not at all: JSON with a bare NUL is none.
    if b"\\u0000" in body:
        with contextlib.suppress(ValueError):  # no JSON: whoever reads it says so
            places.append(("body", await request.json()))
    for name, value in places:
        found = _place_of_nul(str(name), value)
        if found is not None:
            raise Invalid(
                f"{found!r} has a NUL character (U+0000) in it: it cannot be stored",
                hint="send the text without it",
            )


async def refuse_unknown_dry_run(request: Request) -> None:
    """Raises ``Invalid`` when a call that would be done all the same is only to be tried.

    A dependency of every route: the framework drops a query that a route does not name.
    """
    asked = request.query_params.get("dry_run", "false").lower()
    if request.method in {"GET", "HEAD"} or asked in _NO:
        return
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and not takes_dry_run(route):
        raise Invalid(
            f"{request.method} {route.path} cannot be tried: it has no dry run; nothing was done",
            hint="leave dry_run out to do it",
        )


def takes_dry_run(route: APIRoute) -> bool:
    """Whether a route has the query ``dry_run``, its own or the unit of work's."""
    return any(field.alias == "dry_run" for field in get_flat_params(route.dependant))


def _place_of_nul(place: str, value: object) -> str | None:
    match value:
        case str():
            return place if "\0" in value else None
        case dict():
            if any("\0" in str(key) for key in value):
                return place
            items = ((f"{place}.{key}", item) for key, item in value.items())
        case list():
            items = ((f"{place}.{index}", item) for index, item in enumerate(value))
        case _:
            return None
    return next((found for key, item in items if (found := _place_of_nul(key, item))), None)


def services_of(request: Request) -> Services:
    """The services of this process."""
    return cast("Services", request.app.state.services)


def caller_of(request: Request) -> Caller:
    """Who is asking, and by which login or token."""
    return cast("Caller", request.state.caller)


def actor_of(request: Request) -> Actor:
    """Who is asking; the middleware let nobody through without a name."""
    return cast("Actor", request.state.actor)


async def open_work(
    request: Request,
    response: Response,
    *,
    reload: Annotated[
        bool, Query(description="false: leave the change for a later reload of nginx")
    ] = True,
    dry_run: Annotated[bool, Query(description="true: check everything, change nothing")] = False,
) -> AsyncIterator[Work]:
    """One transaction for this request, committed before the answer is sent."""
    if dry_run and request.scope["route"].status_code == ACCEPTED:
        response.status_code = OK  # nothing was begun
    async with services_of(request).database.write(actor_of(request)) as work:
        work.reload, work.dry_run = reload, dry_run
        yield work


async def open_read(request: Request) -> AsyncIterator[AsyncSession]:
    """A session for reading; whatever is read meanwhile for this request: `reading`."""
    async with services_of(request).database.read() as session:
        request.state.reading = session
        try:
            yield session
        finally:
            request.state.reading = None


@contextlib.asynccontextmanager
async def reading(request: Request) -> AsyncIterator[AsyncSession]:
    """The session with which this request reads already, else one of its own.

    With two connections a request, as many requests as there are connections would each have one
    and wait for the other.
    """
    session: AsyncSession | None = getattr(request.state, "reading", None)
    if session is not None:
        yield session
        return
    async with services_of(request).database.read() as fresh:
        yield fresh


async def pause_reading(request: Request) -> None:
    """Give back the connection with which this request reads, before something that takes time.

    Rows that were read stay as they are; what is read afterwards is read anew.
    """
    session: AsyncSession | None = getattr(request.state, "reading", None)
    if session is not None:
        await session.close()


@contextlib.asynccontextmanager
async def writing(request: Request) -> AsyncIterator[Work]:
    """One transaction in a request that may read already."""
    await pause_reading(request)
    async with services_of(request).database.write(actor_of(request)) as work:
        yield work


def require(role: Role) -> Callable[[Request], None]:
    """A dependency that refuses callers below ``role``."""

    def check(request: Request) -> None:
        check_role(actor_of(request), role)

    return check


def check_role(actor: Actor, role: Role) -> None:
    """Raises ``Forbidden`` when the caller's role is below ``role``."""
    if actor.role < role:
        raise Forbidden(
            f"{actor.name} has the role {actor.role.name.lower()}; this needs {role.name.lower()}",
            hint="use a token with the role, or ask an admin",
        )


class Page:
    """Which part of a list: at most ``limit`` rows after the first ``offset``."""

    def __init__(
        self,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE)] = LARGEST_PAGE,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> None:
        self.limit, self.offset, self._response = limit, offset, response

    def total(self, count: int) -> None:
        """Tell the caller how many rows there are in all (``X-Total-Count``)."""
        self._response.headers["X-Total-Count"] = str(count)


def sort_query(sorts: Sorts) -> Any:  # noqa: ANN401 - as the framework's own
    """What a list can be sorted by, as a query of an address."""
    *others, last = sorts
    words = f"{', '.join(others)} or {last}; with a dash before it the other way round"
    return Query(description=words, max_length=LONGEST_SORT)


WorkDep = Annotated[Work, Depends(open_work, scope="function")]
ReadDep = Annotated[AsyncSession, Depends(open_read, scope="function")]
ServicesDep = Annotated[Services, Depends(services_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
ActorDep = Annotated[Actor, Depends(actor_of)]
PageDep = Annotated[Page, Depends(Page)]
OPERATOR = Depends(require(Role.OPERATOR))
ADMIN = Depends(require(Role.ADMIN))

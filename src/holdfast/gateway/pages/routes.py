"""Routes of a vhost: ``/web/vhosts/{vhost_id}/routes``."""

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import RouteCreate
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import RouteDraft
from holdfast.gateway.pages.edge import Trial, chosen, gateway_work, told_of
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import moves, routes, rows
from holdfast.gateway.service.choosing import pool_options
from holdfast.gateway.service.preview import preview_vhost
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import RouteRow, VhostRow
from holdfast.kernel.errors import AppError
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import OPERATOR, ReadDep, services_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(
    include_in_schema=False, prefix="/web/vhosts/{vhost_id}/routes", dependencies=[OPERATOR]
)
BOTH = ["GET", "POST"]
AT_ONCE = "A bucket's route is live at once, without a reload of nginx."


class RouteForm(RouteCreate):
    """What a form of a route holds."""

    allow_orphan: bool = False

    def draft(self, vhost_id: int) -> RouteDraft:
        """The route that is asked for."""
        return RouteDraft(vhost_id=vhost_id, **self.model_dump(exclude={"allow_orphan"}))


@dataclasses.dataclass(slots=True)
class _Tried:
    """What became of a form; values, because a rehearsed row is gone with its transaction."""

    path_prefix: str
    at_once: bool
    """Whether it was a matter of the routing flag alone."""
    migration_id: int | None = None
    warning: str = ""


def _tried(route: RouteRow, *, was_plain: bool = True) -> _Tried:
    return _Tried(
        route.path_prefix,
        was_plain and route.plain and not route.description,
        route.migration_id,
    )


Act = Callable[[Work, Gateway, RouteForm, moves.Seen], Awaitable[_Tried]]


@router.api_route("/new", methods=BOTH)
async def new_route(request: Request, vhost_id: PathId, session: ReadDep) -> Response:
    """A form for a new route; the address may name the ``bucket``."""
    vhost = await get_vhost(session, vhost_id)
    bucket = request.query_params.get("bucket", "").replace("\0", "")
    values = {"path_prefix": f"/{bucket}/"} if bucket else {}
    return await _new(request, session, vhost, values, title="New route")


@router.api_route("/{route_id}/clone", methods=BOTH)
async def clone_route(
    request: Request, vhost_id: PathId, route_id: PathId, session: ReadDep
) -> Response:
    """A form for a new route that begins as another one is; it needs a prefix of its own."""
    vhost = await get_vhost(session, vhost_id)
    route = await routes.get_route(session, vhost_id, route_id)
    values = _values(route) | {"path_prefix": ""}
    return await _new(request, session, vhost, values, title=f"Clone {route.path_prefix}")


async def _new(
    request: Request, session: AsyncSession, vhost: VhostRow, values: dict[str, Any], *, title: str
) -> Response:
    vhost_id = vhost.id
    form, trial = Form(await _fields(session, is_new=True), values), Trial()

    async def act(work: Work, gateway: Gateway, body: RouteForm, _: moves.Seen) -> _Tried:
        made = await routes.create_route(work, gateway, body.draft(vhost_id))
        return _tried(made.row)

    tried = await _submit(request, form, trial, vhost, act)
    if tried and not form.preview:
        told = f"Route {tried.path_prefix} is made. {AT_ONCE if tried.at_once else ''}"
        return see_other(_back(vhost_id), told=told.strip(), warning=tried.warning)
    return await _form_page(
        request,
        form,
        trial,
        tried,
        vhost=vhost,
        title=title,
        submit="Create route",
        api=("POST", f"/api/vhosts/{vhost_id}/routes"),
        cli=f"route create {shell_word(vhost.server_name)}",
    )


@router.api_route("/{route_id}/edit", methods=BOTH)
async def edit_route(
    request: Request, vhost_id: PathId, route_id: PathId, session: ReadDep
) -> Response:
    """A form for what a route is; a bucket with objects moves to its new pool."""
    vhost, route = (
        await get_vhost(session, vhost_id),
        await routes.get_route(session, vhost_id, route_id),
    )
    values, trial = _values(route), Trial()
    form = Form(await _fields(session, is_new=False), values, version=version_of(values))

    async def act(work: Work, gateway: Gateway, body: RouteForm, seen: moves.Seen) -> _Tried:
        there = _values(await routes.get_route(work.session, vhost_id, route_id))
        await check_unchanged(work.session, form, there, kind="route", number=route_id)
        changes = dataclasses.asdict(body.draft(vhost_id))
        was_plain = route.plain and not route.description
        row, _ = await routes.update_route(
            work,
            gateway,
            vhost_id,
            route_id,
            changes,
            migrate=seen.must_move,
            left=seen.left,
        )
        return _tried(row, was_plain=was_plain)

    tried = await _submit(request, form, trial, vhost, act, route=route)
    if tried and not form.preview:
        return _changed(vhost_id, route, tried)
    return await _form_page(
        request,
        form,
        trial,
        tried,
        vhost=vhost,
        title=f"Edit {route.path_prefix}",
        submit="Save",
        api=("PUT", f"/api/vhosts/{vhost_id}/routes/{route_id}"),
        cli=f"route update {shell_word(vhost.server_name)} {shell_word(route.path_prefix)}",
    )


@router.post("/enabled")
async def set_enabled(request: Request, vhost_id: PathId) -> Response:
    """Enable or disable the chosen routes, with one test and one reload at most."""
    numbers, enabled = await chosen(request)
    back = _back(vhost_id, request.url.query)
    if not numbers:
        return see_other(back, warning="No route was chosen: tick some first.")
    async with gateway_work(request) as (work, gateway):
        changed = await routes.set_enabled(work, gateway, vhost_id, numbers, enabled=enabled)
    told = told_of(changed, "route", enabled=enabled)
    return see_other(back, told=told, warning=warning_of(work))


@router.post("/{route_id}/enable")
async def enable_route(request: Request, vhost_id: PathId, route_id: PathId) -> Response:
    """Let it take requests."""
    return await _switch(request, vhost_id, route_id, enabled=True)


@router.post("/{route_id}/disable")
async def disable_route(request: Request, vhost_id: PathId, route_id: PathId) -> Response:
    """Let its requests go to the default pool."""
    return await _switch(request, vhost_id, route_id, enabled=False)


@router.post("/{route_id}/delete")
async def delete_route(request: Request, vhost_id: PathId, route_id: PathId) -> Response:
    """Delete it; the objects stay where they are."""
    async with gateway_work(request) as (work, gateway):
        prefix = (await routes.get_route(work.session, vhost_id, route_id)).path_prefix
        await routes.delete_route(work, gateway, vhost_id, route_id)
    told = f"Route {prefix} is deleted."
    return see_other(_back(vhost_id), told=told, warning=warning_of(work))


async def _submit(
    request: Request,
    form: Form,
    trial: Trial,
    vhost: VhostRow,
    act: Act,
    *,
    route: RouteRow | None = None,
) -> _Tried | None:
    """Do what the form asks for; None: it was not sent, or something is wrong with it."""
    if request.method != "POST":
        return None
    try:
        body = await form.read(request, RouteForm)
        if body is None:
            return None
        seen = await _looked_at(request, route, body) if route else moves.NOT_ASKED
        async with gateway_work(request) as (work, gateway):
            work.dry_run = form.preview
            tried = await act(work, gateway, body, seen)
            trial.keep(gateway, "vhosts", await preview_vhost(work.session, gateway, vhost.id))
        tried.warning = warning_of(work)
    except AppError as error:
        form.refuse(error)
        return None
    return tried


async def _looked_at(request: Request, route: RouteRow, body: RouteForm) -> moves.Seen:
    """What the bucket has that a new pool must get; asked before the transaction."""
    if body.allow_orphan:
        return moves.NOT_ASKED
    services = services_of(request)
    async with services.database.read() as session:
        needed = await routes.move_needed(session, route.vhost_id, route.id, body.pool_id)
        gateway = services.get(Gateway)
        look = await moves.prepare_look(session, gateway, needed) if needed else None
    return await look.seen() if look else moves.NOT_ASKED


def _changed(vhost_id: int, before: RouteRow, tried: _Tried) -> Response:
    """Where to go from an edited route: to its move when one was begun."""
    prefix, move = tried.path_prefix, tried.migration_id
    if move is not None and before.migration_id is None:
        told = f"{prefix} has objects: they are moved to the new pool while it serves."
        return see_other(f"/web/migrations/{move}", told=told, warning=tried.warning)
    told = f"Route {prefix} is changed. {AT_ONCE if tried.at_once else ''}"
    return see_other(_back(vhost_id), told=told.strip(), warning=tried.warning)


async def _switch(request: Request, vhost_id: int, route_id: int, *, enabled: bool) -> Response:
    async with gateway_work(request) as (work, gateway):
        route, _ = await routes.update_route(
            work, gateway, vhost_id, route_id, {"enabled": enabled}
        )
    told = f"{route.path_prefix} is {'enabled' if enabled else 'disabled'}."
    return see_other(_back(vhost_id), told=told, warning=warning_of(work))


async def _form_page(
    request: Request,
    form: Form,
    trial: Trial,
    tried: _Tried | None,
    **words: Any,  # noqa: ANN401 - of the template
) -> Response:
    return await page(
        request,
        "gateway/route_form.html.j2",
        status=form.status,
        form=form,
        trial=trial,
        tried=tried,
        **words,
    )


def _values(route: RouteRow) -> dict[str, Any]:
    return dataclasses.asdict(rows.route_draft(route))


def _back(vhost_id: int, query: str = "") -> str:
    return f"/web/vhosts/{vhost_id}?{query}".rstrip("?") + "#routes"


async def _fields(session: AsyncSession, *, is_new: bool) -> Sequence[Field]:
    pools = await pool_options(session)
    return (
        Field(
            name="path_prefix",
            label="Path prefix",
            required=True,
            option="-" if is_new else "prefix",
            help="/photos/ is the bucket photos; more segments, like /photos/2026/, need a file.",
            attributes={"maxlength": "1024", "autocomplete": "off", "spellcheck": "false"},
        ),
        Field(
            name="pool_id",
            label="Pool",
            kind="select" if pools else "number",
            options=pools,
            required=True,
            option="pool",
        ),
        Field(name="enabled", label="Takes requests", kind="checkbox", value=True),
        Field(
            name="description",
            label="Comment",
            kind="textarea",
            help="Whatever helps the next person.",
            attributes={"rows": "2", "maxlength": "1000"},
        ),
        Field(
            name="key_prefix",
            label="Key prefix",
            help="Put before the key on the pool. Such a route cannot be moved live.",
            attributes={"maxlength": "1024", "autocomplete": "off", "spellcheck": "false"},
            advanced=True,
        ),
        Field(
            name="extra_directives",
            label="Extra directives",
            kind="textarea",
            help="Raw nginx lines for its location, without braces. Such a route stands in a file.",
            attributes={"rows": "3", "placeholder": "client_max_body_size 50g;"},
            advanced=True,
        ),
        *(() if is_new else (_ORPHAN,)),
    )


_ORPHAN = Field(
    name="allow_orphan",
    label="Switch the pool at once and leave the objects behind",
    kind="checkbox",
    help="Otherwise a bucket that has objects is moved to its new pool while it serves.",
    option="!",
    advanced=True,
)

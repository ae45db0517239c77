"""Routes of a vhost: ``/api/vhosts/{id}/routes``."""

from typing import Annotated

from fastapi import Depends, Response

from holdfast.gateway import queries
from holdfast.gateway.api.deps import GatewayDep, GatewayRoute, GatewayWork, PathId
from holdfast.gateway.api.out import route_created, route_out
from holdfast.gateway.api.schemas import (
    RouteCreate,
    RouteCreated,
    RouteOut,
    RouteUpdate,
)
from holdfast.gateway.service import moves, routes
from holdfast.gateway.service.vhosts import get_vhost, pool_or_refuse
from holdfast.kernel.web.deps import PageDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/vhosts/{vhost_id}/routes", tags=["routes"], route_class=GatewayRoute)


@router.get("")
async def list_routes(vhost_id: PathId, session: ReadDep, page: PageDep) -> list[RouteOut]:
    """Routes of a vhost, longest prefix first."""
    await get_vhost(session, vhost_id)
    found, total = await queries.route_page(session, vhost_id, limit=page.limit, offset=page.offset)
    page.total(total)
    return [route_out(row, pool_name) for row, pool_name in found]


@router.post("", status_code=201)
async def create_route(
    vhost_id: PathId, body: RouteCreate, work: GatewayWork, gateway: GatewayDep
) -> RouteCreated:
    """Add a route; a plain bucket route is live without a reload."""
    made = await routes.create_route(work, gateway, body.draft(vhost_id))
    return route_created(made.row, made.pool.name, made.vhost.default_pool_id)


@router.get("/{route_id}")
async def get_route(vhost_id: PathId, route_id: PathId, session: ReadDep) -> RouteOut:
    """One route."""
    route = await routes.get_route(session, vhost_id, route_id)
    return route_out(route, (await pool_or_refuse(session, route.pool_id)).name)


async def _looked_at(
    vhost_id: PathId,
    route_id: PathId,
    body: RouteUpdate,
    services: ServicesDep,
    gateway: GatewayDep,
) -> moves.Seen:
    """What the bucket has that a new pool must get; asked before the transaction."""
    if body.allow_orphan:
        return moves.NOT_ASKED
    async with services.database.read() as session:
        needed = await routes.move_needed(session, vhost_id, route_id, body.pool_id)
        look = await moves.prepare_look(session, gateway, needed) if needed else None
    return await look.seen() if look else moves.NOT_ASKED


LookedAt = Annotated[moves.Seen, Depends(_looked_at)]


@router.put("/{route_id}")
async def update_route(
    vhost_id: PathId,
    route_id: PathId,
    body: RouteUpdate,
    seen: LookedAt,
    work: GatewayWork,
    gateway: GatewayDep,
) -> RouteOut:
    """Change a route. A new pool for a bucket with objects starts a migration to it."""
    route, pool = await routes.update_route(
        work, gateway, vhost_id, route_id, body.given(), migrate=seen.must_move, left=seen.left
    )
    return route_out(route, pool.name)


@router.delete("/{route_id}", status_code=204, response_class=Response)
async def delete_route(
    vhost_id: PathId, route_id: PathId, work: GatewayWork, gateway: GatewayDep
) -> None:
    """Delete a route."""
    await routes.delete_route(work, gateway, vhost_id, route_id)

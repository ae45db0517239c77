"""What migrations ask: who serves a bucket from a pool, and where it goes from now on."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries, queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import Waiting, mark_changed
from holdfast.gateway.service import rows
from holdfast.gateway.service.routes import delete_route
from holdfast.gateway.tables import PoolRow, PublishedRow, RouteRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict
from holdfast.kernel.work import Work


@dataclass(frozen=True, slots=True)
class Entry:
    """Where clients reach a vhost."""

    name: str
    port: int
    tls: bool
    vhost_id: int
    guarded: bool
    """Its own IP rules may keep this machine out."""

    def as_json(self) -> dict[str, Any]:
        """As a migration keeps it."""
        return asdict(self)


async def pool_ids(session: AsyncSession) -> dict[str, int]:
    """The id of each pool by its name."""
    return {name: pool_id for pool_id, (name, _) in (await queries.pool_names(session)).items()}


async def pool_names(session: AsyncSession, ids: Collection[int]) -> dict[int, str]:
    """The name of each of these pools by its id; one that is gone is left out."""
    query = select(PoolRow.id, PoolRow.name).where(PoolRow.id.in_(ids))
    return {row.id: row.name for row in await session.execute(query)}


async def entries(session: AsyncSession) -> dict[str, Entry]:
    """Every enabled vhost by its name."""
    vhosts, _ = await queries.vhost_page(session, limit=2**31 - 1, offset=0)
    return {vhost.server_name: _entry(vhost) for vhost in vhosts if vhost.enabled}


async def route_of(session: AsyncSession, vhost_id: int | None, bucket: str) -> int | None:
    """The id of a bucket's own route on a vhost."""
    routes = await queries.bucket_routes(session, [vhost_id], bucket) if vhost_id else ()
    return next((route.id for route in routes), None)


async def is_here(session: AsyncSession, gateway: Gateway) -> bool:
    """Whether this machine has the files and flags that the database publishes.

    A worker on another machine has a folder of its own, which no nginx reads.
    """
    published = await session.scalar(select(PublishedRow.generation))
    return not published or gateway.generations.current() == published


async def claim_routes(
    session: AsyncSession, *, vhost_ids: Collection[int], bucket: str, migration_id: int
) -> int:
    """Mark the routes of a bucket as a migration's, whatever pool they name; gives how many."""
    routes = await queries.bucket_routes(session, vhost_ids, bucket)
    for route in routes:
        route.migration_id = migration_id
    await session.flush()
    return len(routes)


async def vhosts_serving(session: AsyncSession, bucket: str, pool_id: int) -> Sequence[VhostRow]:
    """Vhosts that send a bucket to a pool, by its route or by their default pool.

    Disabled ones too: they may be enabled again.
    """
    return [vhost for vhost, _ in await queries.vhosts_serving(session, bucket, pool_id)]


async def live_ways(
    session: AsyncSession, bucket: str, pool_id: int
) -> list[tuple[str, RouteRow | None]]:
    """Enabled vhosts that send a bucket to a pool, with its own route there (None: by default)."""
    found = await queries.vhosts_serving(session, bucket, pool_id)
    return [(vhost.server_name, route) for vhost, route in found if vhost.enabled]


async def entrances(session: AsyncSession, bucket: str, pool_id: int) -> list[Entry]:
    """Where clients reach a bucket on a pool now: enabled vhosts that send it there."""
    vhosts = await vhosts_serving(session, bucket, pool_id)
    return [_entry(vhost) for vhost in vhosts if vhost.enabled]


async def served_copies(
    session: AsyncSession, copies: Collection[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Which of these copies (bucket and pool id) some vhost serves, enabled or not."""
    return await bucket_queries.served_copies(session, copies)


async def ways_through_http(
    session: AsyncSession, bucket: str, pool_id: int
) -> list[tuple[VhostRow, RouteRow | None, str]]:
    """Vhosts that show a bucket through an ``http`` pool over this pool.

    Each with its own route of the bucket (None: by default) and the name of the ``http`` pool.
    """
    return [
        (vhost, route, pool.name)
        for pool in await bucket_queries.http_pools_over(session, pool_id)
        for vhost, route in await queries.vhosts_serving(session, bucket, pool.id)
    ]


async def other_pools(session: AsyncSession, pool_id: int) -> dict[int, str]:
    """Names of other ``nanio`` pools with servers of this one, by id."""
    same = await bucket_queries.pools_over(session, pool_id) - {pool_id}
    known = await queries.pool_names(session) if same else {}
    return {one: name for one, (name, kind) in known.items() if one in same and kind == "nanio"}


async def fixed_routes_into(
    session: AsyncSession, pool_ids: Collection[int], bucket: str
) -> list[tuple[str, str]]:
    """Vhost and prefix of live routes that reach into a bucket on these pools without its flag."""
    return await bucket_queries.fixed_routes_into(session, pool_ids, bucket)


async def sweep_http_routes(
    work: Work, gateway: Gateway, *, bucket: str, pool_id: int
) -> list[str]:
    """Delete the routes of a bucket to ``http`` pools over a pool that it has left.

    Gives the names of their vhosts. A route with directives stays: they may keep somebody out.
    """
    swept = []
    for vhost, route, _ in await ways_through_http(work.session, bucket, pool_id):
        if route is not None and route.plain:
            await delete_route(work, gateway, vhost.id, route.id)
            swept.append(vhost.server_name)
    return swept


async def ensure_bucket_route(
    work: Work,
    gateway: Gateway,
    *,
    vhost_ids: Collection[int],
    bucket: str,
    pool_id: int,
    migration_id: int | None = None,
) -> Sequence[RouteRow]:
    """Give a bucket a route to a pool on each vhost (those without one), and mark it as migrating.

    Raises ``Conflict`` when a route of the bucket goes elsewhere or is taken by another migration,
    ``BadRequest`` when it is disabled.
    """
    await queries.lock_gateway(work.session)
    vhosts = await queries.rows_by_id(work.session, VhostRow, vhost_ids)
    routes = {r.vhost_id: r for r in await queries.bucket_routes(work.session, vhost_ids, bucket)}
    for route in routes.values():
        _check_free(route, vhosts[route.vhost_id], pool_id, migration_id)
    moment, new = now(), []
    for vhost_id in set(vhosts) - set(routes):
        route = RouteRow(
            vhost_id=vhost_id,
            path_prefix=f"/{bucket}/",
            pool_id=pool_id,
            created_at=moment,
            updated_at=moment,
        )
        new.append(route)
        routes[vhost_id] = route
    for route in routes.values():
        route.migration_id = migration_id
    work.session.add_all(new)
    await work.session.flush()
    for route in new:
        work.audit("create", "route", route.id, after=rows.row_fields(route))
    flags = [(vhosts[route.vhost_id].server_name, bucket) for route in new]
    mark_changed(work, gateway, flags=flags, waiting=Waiting.LOADED)  # its end is a flag
    return list(routes.values())


async def finish_move(
    work: Work, gateway: Gateway, *, vhost_ids: Collection[int], bucket: str, pool_id: int
) -> None:
    """The bucket's routes go to ``pool_id`` and no migration has them any more.

    Also ends a cancelled migration, with the pool that they had. A flag that says so already is
    left as it is.
    """
    await queries.lock_gateway(work.session)
    vhosts = await queries.rows_by_id(work.session, VhostRow, vhost_ids)
    for route in await queries.bucket_routes(work.session, vhost_ids, bucket):
        before = rows.row_fields(route)
        moved = route.pool_id != pool_id
        route.pool_id, route.migration_id, route.updated_at = pool_id, None, now()
        name = vhosts[route.vhost_id].server_name
        mark_changed(work, gateway, flags=[(name, bucket)])
        if not route.plain:
            mark_changed(work, gateway, vhosts=[name])
        if moved:
            work.audit("update", "route", route.id, before=before, after=rows.row_fields(route))
            work.emit("gateway", "route.updated", {"id": route.id, "vhost_id": route.vhost_id})
    await work.session.flush()


def _entry(vhost: VhostRow) -> Entry:
    guarded = vhost.ip_rule_mode is not None
    return Entry(vhost.server_name, vhost.listen_port, vhost.ssl, vhost.id, guarded)


def _check_free(route: RouteRow, vhost: VhostRow, pool_id: int, migration_id: int | None) -> None:
    where = f"route {route.path_prefix} of vhost {vhost.server_name!r}"
    if route.migration_id not in {None, migration_id}:
        raise Conflict(f"{where} is taken by migration {route.migration_id}")
    if route.pool_id != pool_id:
        raise Conflict(f"{where} goes to another pool", hint="point it to the source pool first")
    if not route.enabled:
        raise BadRequest(f"{where} is disabled", hint="enable or delete it first")

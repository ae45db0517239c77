"""Finds buckets: asks pools what they have, and keeps what was seen in step with the routes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries
from holdfast.gateway.bucket_queries import BucketRoute
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import BucketStatus
from holdfast.gateway.service import routes
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import BucketRow, PoolRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import AppError, BadRequest
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import BucketTotals
from holdfast.kernel.work import SYSTEM, Actor, Work

LOOK_AGAIN_SECONDS = 5.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SeenBucket:
    """A bucket of a vhost as the API tells it; totals only where they were asked for."""

    row: BucketRow
    status: BucketStatus
    route: BucketRoute | None
    totals: BucketTotals | None


@dataclass(slots=True)
class Discovery:
    """What a discovery found; ``skipped`` or ``error`` tell why it found nothing."""

    vhost: VhostRow
    found: int = 0
    synced_at: datetime | None = None
    unrouted: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    skipped: str = ""
    error: str = ""

    def troubles(self) -> list[str]:
        """What whoever asked for it should hear of."""
        gone = [
            f"the route of {one['bucket']} was taken away: it is on no pool any more"
            for one in self.unrouted
        ]
        return [*([self.error] if self.error else []), *gone, *self.warnings]


async def default_pool(session: AsyncSession, vhost: VhostRow) -> PoolRow:
    """The vhost's default pool. Raises ``BadRequest`` when it has none."""
    pool = await session.get(PoolRow, vhost.default_pool_id) if vhost.default_pool_id else None
    if pool is None:
        raise BadRequest(
            "Vhost has no default_pool_id configured",
            hint="give the vhost a default pool: its buckets are those of that pool",
        )
    return pool


async def vhost_buckets(
    services: Services, vhost_id: int, *, with_counts: bool
) -> tuple[VhostRow, list[SeenBucket]]:
    """Buckets seen through a vhost, with their routes; counts of unrouted and migrating ones."""
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        vhost = await get_vhost(session, vhost_id)
        pool = await default_pool(session, vhost)
        rows = await bucket_queries.seen_buckets(session, vhost_id)
        known = {
            r.bucket: r for r in await bucket_queries.bucket_routes(session, vhost_id=vhost_id)
        }
    statuses = {row.name: status_now(row, known.get(row.name)) for row in rows}
    places: dict[int, list[str]] = {}
    for name, status in statuses.items() if with_counts else ():
        if status in {"unrouted", "migrating"}:
            route = known.get(name) if status == "migrating" else None
            places.setdefault(route.pool_id if route else pool.id, []).append(name)
    totals = await _totals(services.database, gateway, places)
    seen = [
        SeenBucket(row, statuses[row.name], known.get(row.name), totals.get(row.name))
        for row in rows
    ]
    return vhost, sorted(seen, key=lambda bucket: (bucket.status, bucket.row.name))


def status_now(row: BucketRow, route: BucketRoute | None) -> BucketStatus:
    """What a bucket is at this moment; the row has what it was when it was last looked for."""
    return _status(row, route, here=row.status != "deleted")


async def sync_vhost(
    services: Services, vhost_id: int, actor: Actor, *, dry_run: bool = False
) -> Discovery:
    """Ask the pools of a vhost for their buckets and keep what was seen.

    A routed bucket that was there once, and is on no pool any more, loses its route. One that is
    missing on its pool but still on the default pool keeps it, with a warning: taking the route
    away would serve old data.
    """
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        vhost = await get_vhost(session, vhost_id)
        if vhost.default_pool_id is None:
            return Discovery(vhost, skipped="the vhost has no default_pool_id configured")
        pool = await default_pool(session, vhost)
        if pool.type != "nanio":
            return Discovery(vhost, skipped="the default pool is of type http: it has no buckets")
        known = await bucket_queries.bucket_routes(session, vhost_id=vhost_id)
        pools = {route.pool_id for route in known if route.enabled} | {pool.id}
    try:
        listed = await _buckets_on(services.database, gateway, pools)
    except BadRequest as error:  # a pool without members: nobody can be asked
        return Discovery(vhost, skipped=f"{error.message}: {error.hint}")
    except AppError as error:
        return Discovery(vhost, error=f"{pool.name}: {error.message}")
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        return await _record(work, gateway, vhost_id, pool.id, listed)


@dataclass(frozen=True, slots=True)
class AllSynced:
    """What came of asking for every vhost: one that fails does not keep the others from it."""

    found: int
    vhosts: int
    warnings: Sequence[str]


async def sync_all(services: Services, actor: Actor, *, dry_run: bool = False) -> AllSynced:
    """The same for every vhost with a default pool."""
    async with services.database.read() as session:
        vhosts = await bucket_queries.vhosts_with_default(session)
    found, warnings = 0, []
    for vhost in vhosts:
        try:
            result = await sync_vhost(services, vhost.id, actor, dry_run=dry_run)
        except AppError as error:
            warnings.append(f"{vhost.server_name}: {error.message}")
            continue
        found += result.found
        warnings += [f"{vhost.server_name}: {text}" for text in result.troubles()]
    return AllSynced(found, len(vhosts), warnings)


async def discover_all(services: Services) -> None:
    """Discover the buckets of every vhost; a pool that cannot be asked is logged and skipped."""
    async with services.database.read() as session:
        vhosts = await bucket_queries.vhosts_with_default(session)
    for vhost in vhosts:
        try:
            result = await sync_vhost(services, vhost.id, SYSTEM)
        except AppError as error:
            log.warning("discovery failed", vhost=vhost.server_name, error=error.message)
            continue
        for text in (result.error, *result.warnings):
            if text:
                log.warning("discovery", vhost=vhost.server_name, warning=text)


async def _totals(
    database: Database, gateway: Gateway, places: Mapping[int, list[str]]
) -> dict[str, BucketTotals]:
    """What buckets hold, by the pool they are on; one that is gone since is left out."""
    totals = {}
    for pool_id, names in places.items():
        async with database.read() as session:
            pool = await session.get_one(PoolRow, pool_id)
            client = await s3_for_pool(gateway, session, pool)
        async with client:
            for name in names:
                try:
                    totals[name] = await client.totals(name)
                except S3Error as error:
                    if not error.is_missing:
                        raise
    return totals


async def _buckets_on(
    database: Database, gateway: Gateway, pool_ids: set[int]
) -> dict[int, frozenset[str]]:
    """The buckets that each pool has."""
    listed = {}
    for pool_id in sorted(pool_ids):
        async with database.read() as session:
            pool = await session.get_one(PoolRow, pool_id)
            client = await s3_for_pool(gateway, session, pool)
        async with client:
            listed[pool_id] = frozenset(await client.list_buckets())
    return listed


async def _record(
    work: Work,
    gateway: Gateway,
    vhost_id: int,
    default_id: int,
    listed: Mapping[int, frozenset[str]],
) -> Discovery:
    """Write what was found; routes may have changed since the pools were asked, so read again."""
    session = work.session
    vhost = await get_vhost(session, vhost_id)
    result = Discovery(vhost, found=len(listed[default_id]))
    on_default = listed[default_id]
    known = {r.bucket: r for r in await bucket_queries.bucket_routes(session, vhost_id=vhost_id)}
    seen = {row.name: row for row in await bucket_queries.seen_buckets(session, vhost_id)}
    for name in sorted(on_default | known.keys() | seen.keys()):
        route, row = known.get(name), seen.get(name)
        if route and route.enabled and not route.migration_id:
            missing = name not in listed.get(route.pool_id, {name})
            if missing and name in on_default:
                result.warnings.append(
                    f"bucket {name!r} is missing on its pool {route.pool_name!r} but still on the "
                    "default pool; its route was left as it is"
                )
            elif missing and (row is None or row.status == "deleted"):  # a route made beforehand
                continue
            elif missing and await _is_gone(session, gateway, route):
                await routes.delete_route(work, gateway, vhost_id, route.route_id)
                result.unrouted.append(
                    {"bucket": name, "action": "auto_unrouted", "target_member": route.pool_name}
                )
                route = None
        status = _status(row, route, here=name in on_default)
        if row is None:
            session.add(BucketRow(vhost_id=vhost_id, name=name, status=status, discovered_at=now()))
        elif row.status != status:
            row.status = status
    vhost.buckets_synced_at = result.synced_at = now()
    if result.unrouted:
        work.audit("sync_buckets", "vhost", vhost_id, after={"auto_unrouted": result.unrouted})
    work.emit("gateway", "buckets.synced", {"vhost_id": vhost_id, "found": result.found})
    return result


async def _is_gone(session: AsyncSession, gateway: Gateway, route: BucketRoute) -> bool:
    """Right before its route goes: it may have been made again since the pools were asked."""
    pool = await session.get_one(PoolRow, route.pool_id)
    try:
        async with (
            asyncio.timeout(LOOK_AGAIN_SECONDS),
            await s3_for_pool(gateway, session, pool, limit=1) as client,
        ):
            return not await client.head_bucket(route.bucket)
    except (AppError, TimeoutError):
        return False  # nobody knows: the next discovery asks again


def _status(row: BucketRow | None, route: BucketRoute | None, *, here: bool) -> BucketStatus:
    if route and route.migration_id:
        return "migrating"
    if route and route.enabled:
        return "routed"
    if not here:
        return "deleted"
    return "ignored" if row and row.status == "ignored" else "unrouted"

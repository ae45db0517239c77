"""Buckets of a pool: what is there, and which vhosts send clients to it."""

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select

from holdfast.gateway import bucket_queries, queries
from holdfast.gateway.bucket_queries import BucketRoute
from holdfast.gateway.context import Gateway
from holdfast.gateway.service import orphans
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.errors import AppError, BadGateway, BadRequest
from holdfast.kernel.nginx.validate import bucket_name
from holdfast.kernel.services import Services
from holdfast.kernel.work import Actor

MOST_KEYS = 10_000
ORDER = ("unrouted", "orphaned", "via_default", "routed")


@dataclass(frozen=True, slots=True)
class PoolBucket:
    """A bucket of a pool; ``status`` is the first of routed, orphaned, via_default, unrouted."""

    name: str
    status: str
    routed_in: list[BucketRoute]
    default_vhosts: list[VhostRow]


@dataclass(frozen=True, slots=True)
class PoolBuckets:
    """All buckets of a pool, those that need attention first."""

    pool: PoolRow
    member_address: str
    buckets: list[PoolBucket]
    vhosts: list[VhostRow]


async def pool_buckets(services: Services, pool_id: int) -> PoolBuckets:
    """What is on the pool, and who is sent there. Raises ``BadGateway`` when it cannot be asked."""
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        pool = await get_pool(session, pool_id)
        if pool.type != "nanio":
            raise BadRequest("Bucket status is only available for nanio pools")
        member = await queries.first_enabled_member(session, pool_id)
        client = await s3_for_pool(gateway, session, pool)
        routes = await bucket_queries.bucket_routes(session)
        vhosts = list(await session.scalars(select(VhostRow).order_by(VhostRow.server_name)))
    try:
        async with client:
            names = await client.list_buckets()
    except AppError as error:
        raise BadGateway(
            f"Failed to list buckets on pool '{pool.name}': {error.message}", hint=error.hint
        ) from error
    by_bucket: dict[str, list[BucketRoute]] = defaultdict(list)
    for route in routes:
        by_bucket[route.bucket].append(route)
    defaults = [vhost for vhost in vhosts if vhost.default_pool_id == pool_id]
    found = [_seen(name, pool_id, by_bucket[name], defaults) for name in names]
    found.sort(key=lambda bucket: (ORDER.index(bucket.status), bucket.name))
    return PoolBuckets(pool, member.address if member else "", found, vhosts)


async def object_keys(services: Services, pool_id: int, bucket: str) -> tuple[list[str], bool]:
    """The keys of a bucket on a pool, at most ``MOST_KEYS``, and whether there are more."""
    bucket_name(bucket)
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        pool = await get_pool(session, pool_id)
        if pool.type != "nanio":
            raise BadRequest("Objects can only be listed on nanio pools")
        client = await s3_for_pool(gateway, session, pool)
    keys: list[str] = []
    async with client:
        async for page in client.list_objects(bucket, by_folder=True):
            keys += [listed.key for listed in page]
            if len(keys) > MOST_KEYS:
                break
    return keys[:MOST_KEYS], len(keys) > MOST_KEYS


async def purge(
    services: Services, actor: Actor, pool_id: int, bucket: str, *, confirm: str, dry_run: bool
) -> orphans.Purge:
    """Delete every object of a bucket on a pool that no longer answers for it.

    Raises ``NotFound`` for an unknown pool, and what ``orphans.purge_copy`` raises.
    """
    async with services.database.read() as session:
        await get_pool(session, pool_id)
    return await orphans.purge_copy(
        services,
        actor,
        pool_id,
        bucket,
        confirm=confirm,
        dry_run=dry_run,
        action="pool_bucket_purge",
    )


def _seen(
    name: str, pool_id: int, routes: list[BucketRoute], defaults: list[VhostRow]
) -> PoolBucket:
    """``defaults``: the vhosts whose default pool it is."""
    here = [route for route in routes if route.pool_id == pool_id and route.enabled]
    elsewhere = {r.vhost_id for r in routes if r.pool_id != pool_id and r.enabled}
    by_default = [vhost for vhost in defaults if vhost.id not in elsewhere]
    if here:
        status = "routed"
    elif elsewhere and not by_default:
        status = "orphaned"
    else:
        status = "via_default" if by_default else "unrouted"
    return PoolBucket(name, status, here, by_default)

"""Named queries about buckets: what was seen, where they are routed, where their live data is."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.model import reached_bucket
from holdfast.gateway.tables import (
    BucketRow,
    CredentialRow,
    MemberRow,
    PoolRow,
    RouteRow,
    VhostRow,
)
from holdfast.kernel.stores.s3.address import server_of


@dataclass(frozen=True, slots=True)
class BucketRoute:
    """A bucket's own route in one vhost."""

    vhost_id: int
    server_name: str
    bucket: str
    route_id: int
    pool_id: int
    pool_name: str
    migration_id: int | None
    enabled: bool


async def bucket_routes(
    session: AsyncSession, *, vhost_id: int | None = None, bucket: str | None = None
) -> list[BucketRoute]:
    """Bucket routes of one vhost (of all), for one bucket (for all)."""
    query = (
        select(
            RouteRow.vhost_id,
            VhostRow.server_name,
            RouteRow.bucket,
            RouteRow.id,
            RouteRow.pool_id,
            PoolRow.name,
            RouteRow.migration_id,
            RouteRow.enabled,
        )
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .join(PoolRow, PoolRow.id == RouteRow.pool_id)
        .where(RouteRow.bucket.is_not(None))
        .order_by(RouteRow.bucket, VhostRow.server_name)
    )
    if vhost_id is not None:
        query = query.where(RouteRow.vhost_id == vhost_id)
    if bucket is not None:
        query = query.where(RouteRow.bucket == bucket)
    return [BucketRoute(*row) for row in await session.execute(query)]  # type: ignore[arg-type] # the bucket is not null here


async def seen_buckets(session: AsyncSession, vhost_id: int) -> Sequence[BucketRow]:
    """Buckets of a vhost by status and name."""
    query = (
        select(BucketRow)
        .where(BucketRow.vhost_id == vhost_id)
        .order_by(BucketRow.status, BucketRow.name)
    )
    return (await session.scalars(query)).all()


async def seen_bucket(session: AsyncSession, vhost_id: int, bucket: str) -> BucketRow | None:
    """One bucket of a vhost."""
    query = select(BucketRow).where(BucketRow.vhost_id == vhost_id, BucketRow.name == bucket)
    return await session.scalar(query)


async def live_pools(session: AsyncSession, bucket: str) -> list[PoolRow]:
    """Pools that answer for this bucket in some vhost: by a route, or as the default pool.

    A disabled route counts: it may be enabled again. A default pool counts unless an enabled route
    takes the bucket away from it in that vhost.
    """
    own = and_(RouteRow.vhost_id == VhostRow.id, RouteRow.bucket == bucket)
    routed = select(RouteRow.pool_id).where(RouteRow.bucket == bucket)
    by_default = (
        select(VhostRow.default_pool_id)
        .outerjoin(RouteRow, and_(own, RouteRow.enabled))
        .where(RouteRow.id.is_(None), VhostRow.default_pool_id.is_not(None))
    )
    query = select(PoolRow).where(or_(PoolRow.id.in_(routed), PoolRow.id.in_(by_default)))
    return list(await session.scalars(query))


async def served_copies(
    session: AsyncSession, copies: Collection[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Which of these copies (bucket and pool id) some vhost serves: by a route, or by default.

    Disabled vhosts count: they may be enabled again.
    """
    buckets = {bucket for bucket, _ in copies}
    owners, routed = defaultdict(set), set()
    routes = select(RouteRow.vhost_id, RouteRow.bucket, RouteRow.pool_id)
    for vhost_id, bucket, pool_id in await session.execute(
        routes.where(RouteRow.bucket.in_(buckets), RouteRow.enabled)
    ):
        owners[bucket].add(vhost_id)
        routed.add((bucket, pool_id))
    by_default = defaultdict(set)
    defaults = select(VhostRow.id, VhostRow.default_pool_id)
    for vhost_id, default_id in await session.execute(defaults):
        by_default[default_id].add(vhost_id)
    return {
        (bucket, pool_id)
        for bucket, pool_id in copies
        if (bucket, pool_id) in routed or by_default[pool_id] - owners[bucket]
    }


async def pools_over(session: AsyncSession, pool_id: int) -> set[int]:
    """Pools that show the data of this one: itself, those on its servers, and http pools over them.

    Its servers: those of its members, enabled or not, and the one that its credentials name.
    """
    servers = await _servers(session)
    mine = servers[pool_id]
    shared = {owner for owner, found in servers.items() if found & mine} | {pool_id}
    linked = select(PoolRow.id).where(PoolRow.source_nanio_pool_id.in_(shared))
    return shared | set(await session.scalars(linked))


async def shared_servers(session: AsyncSession) -> dict[str, str]:
    """Pools that have a server of others, each with the pool that stands for all of these."""
    names = {row.id: row.name for row in await session.execute(select(PoolRow.id, PoolRow.name))}
    joined = joined_by_servers(await _servers(session))
    alone = {first for first, count in Counter(joined.values()).items() if count == 1}
    return {names[one]: names[first] for one, first in joined.items() if first not in alone}


def joined_by_servers(servers: Mapping[int, Collection[str]]) -> dict[int, int]:
    """For each pool the first one that it is joined to by a chain of shared servers."""
    parent: dict[int, int] = {}
    owner: dict[str, int] = {}

    def first(pool_id: int) -> int:
        while parent[pool_id] != pool_id:
            pool_id = parent[pool_id]
        return pool_id

    for pool_id in sorted(servers):
        parent[pool_id] = pool_id
        for server in servers[pool_id]:
            one, other = sorted((first(owner.setdefault(server, pool_id)), first(pool_id)))
            parent[other] = one
    return {pool_id: first(pool_id) for pool_id in parent}


async def _servers(session: AsyncSession) -> dict[int, set[str]]:
    servers: dict[int, set[str]] = defaultdict(set)
    for owner, address in await session.execute(select(MemberRow.pool_id, MemberRow.address)):
        servers[owner].add(server_of(address))
    endpoints = select(CredentialRow.pool_id, CredentialRow.endpoint_url)
    for owner, endpoint in await session.execute(endpoints):
        if endpoint:
            servers[owner].add(server_of(endpoint))
    return servers


async def http_pools_over(session: AsyncSession, pool_id: int) -> Sequence[PoolRow]:
    """``http`` pools that show the data of this pool."""
    query = select(PoolRow).where(PoolRow.source_nanio_pool_id == pool_id)
    return (await session.scalars(query.order_by(PoolRow.name))).all()


async def prefix_routes_into(
    session: AsyncSession, pool_ids: Collection[int], bucket: str
) -> Sequence[Any]:
    """Routes of one path below a bucket, or with a key prefix in it, that go to these pools."""
    query = (
        select(VhostRow.server_name, RouteRow.path_prefix)
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .where(
            RouteRow.pool_id.in_(pool_ids),
            RouteRow.bucket.is_(None),
            or_(
                RouteRow.path_prefix.startswith(f"/{bucket}/", autoescape=True),
                RouteRow.key_prefix.startswith(bucket, autoescape=True),
                RouteRow.key_prefix.startswith(f"/{bucket}", autoescape=True),
            ),
        )
    )
    return (await session.execute(query)).all()


async def fixed_routes_into(
    session: AsyncSession, pool_ids: Collection[int], bucket: str
) -> list[tuple[str, str]]:
    """Vhost and prefix of enabled routes that show objects of a bucket without its flag."""
    query = (
        select(VhostRow.server_name, RouteRow.path_prefix, RouteRow.key_prefix)
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .where(VhostRow.enabled, RouteRow.enabled)
        .where(RouteRow.pool_id.in_(pool_ids), RouteRow.bucket.is_(None))
        .order_by(VhostRow.server_name, RouteRow.path_prefix)
    )
    return [
        (name, prefix)
        for name, prefix, key_prefix in await session.execute(query)
        if reached_bucket(prefix, key_prefix) == bucket
    ]


async def vhosts_with_default(session: AsyncSession) -> Sequence[VhostRow]:
    """Enabled vhosts that have a default pool."""
    query = select(VhostRow).where(VhostRow.enabled, VhostRow.default_pool_id.is_not(None))
    return (await session.scalars(query.order_by(VhostRow.server_name))).all()

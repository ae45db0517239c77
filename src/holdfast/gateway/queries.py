"""Named queries on the gateway's rows, set-based: no query for each route."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.model import ROOT_PREFIX, reached_bucket
from holdfast.gateway.tables import (
    MemberRow,
    NodeConfigRow,
    PoolRow,
    PublishedRow,
    RouteRow,
    VhostRow,
    derived_columns,
)
from holdfast.kernel.db import Base

MOST_PARAMETERS = 500
"""Values in one ``IN``: the limits are far above, but long statements are compiled slowly."""
_LOCK_KEY = 0x686F6C64


@dataclass(frozen=True, slots=True)
class RoutedBucket:
    """Where the rows say that a bucket goes."""

    vhost: str
    bucket: str
    pool: str
    migration_id: int | None
    plain: bool


async def lock_gateway(session: AsyncSession) -> None:
    """One writer of the gateway at a time, until the transaction ends. SQLite has one anyway."""
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)").bindparams(key=_LOCK_KEY))


async def pool_page(
    session: AsyncSession, *, limit: int, offset: int
) -> tuple[Sequence[PoolRow], int]:
    """Pools by name, and how many there are."""
    rows = await session.scalars(select(PoolRow).order_by(PoolRow.name).limit(limit).offset(offset))
    return rows.all(), await _count(session, PoolRow)


async def vhost_page(
    session: AsyncSession, *, limit: int, offset: int
) -> tuple[Sequence[VhostRow], int]:
    """Vhosts by server name, and how many there are."""
    query = select(VhostRow).order_by(VhostRow.server_name).limit(limit).offset(offset)
    return (await session.scalars(query)).all(), await _count(session, VhostRow)


async def route_page(
    session: AsyncSession, vhost_id: int, *, limit: int, offset: int
) -> tuple[Sequence[tuple[RouteRow, str]], int]:
    """Routes of a vhost with their pools' names, longest prefix first, and how many there are."""
    query = (
        select(RouteRow, PoolRow.name)
        .join(PoolRow, PoolRow.id == RouteRow.pool_id)
        .where(RouteRow.vhost_id == vhost_id)
        .order_by(func.length(RouteRow.path_prefix).desc(), RouteRow.path_prefix)
        .limit(limit)
        .offset(offset)
    )
    rows = [(row[0], row[1]) for row in await session.execute(query)]
    total = await session.scalar(
        select(func.count()).select_from(RouteRow).where(RouteRow.vhost_id == vhost_id)
    )
    return rows, total or 0


async def pool_named(session: AsyncSession, name: str) -> PoolRow | None:
    """The pool of this name."""
    return await session.scalar(select(PoolRow).where(PoolRow.name == name))


async def vhost_named(session: AsyncSession, server_name: str) -> VhostRow | None:
    """The vhost of this server name."""
    return await session.scalar(
        select(VhostRow).where(func.lower(VhostRow.server_name) == server_name.lower())
    )


async def members_of(session: AsyncSession, pool_id: int) -> Sequence[MemberRow]:
    """The members of a pool, oldest first."""
    query = select(MemberRow).where(MemberRow.pool_id == pool_id).order_by(MemberRow.id)
    return (await session.scalars(query)).all()


async def first_enabled_member(session: AsyncSession, pool_id: int) -> MemberRow | None:
    """The member that is asked about a pool's buckets."""
    query = (
        select(MemberRow)
        .where(MemberRow.pool_id == pool_id, MemberRow.enabled)
        .order_by(MemberRow.id)
        .limit(1)
    )
    return await session.scalar(query)


async def recent_node_configs(
    session: AsyncSession, pool_id: int, *, each: int
) -> Sequence[NodeConfigRow]:
    """The newest node set-ups of every member of a pool, newest first."""
    rank = (
        func.row_number()
        .over(partition_by=NodeConfigRow.member_id, order_by=NodeConfigRow.id.desc())
        .label("rank")
    )
    ranked = (
        select(NodeConfigRow.id, rank)
        .join(MemberRow, MemberRow.id == NodeConfigRow.member_id)
        .where(MemberRow.pool_id == pool_id)
        .subquery()
    )
    query = (
        select(NodeConfigRow)
        .join(ranked, ranked.c.id == NodeConfigRow.id)
        .where(ranked.c.rank <= each)
        .order_by(NodeConfigRow.id.desc())
    )
    return (await session.scalars(query)).all()


async def vhosts_using_pool(session: AsyncSession, pool_id: int) -> Sequence[VhostRow]:
    """Vhosts with this default pool, or with a route to it that stands in a file."""
    routed = select(RouteRow.vhost_id).where(RouteRow.pool_id == pool_id, ~RouteRow.plain)
    query = select(VhostRow).where(
        or_(VhostRow.default_pool_id == pool_id, VhostRow.id.in_(routed))
    )
    return (await session.scalars(query)).all()


async def vhosts_with_route_to(session: AsyncSession, pool_id: int) -> Sequence[str]:
    """Server names of vhosts with a route (but ``/``) to this pool."""
    query = (
        select(VhostRow.server_name)
        .join(RouteRow, RouteRow.vhost_id == VhostRow.id)
        .where(RouteRow.pool_id == pool_id, RouteRow.path_prefix != ROOT_PREFIX)
        .distinct()
        .order_by(VhostRow.server_name)
    )
    return (await session.scalars(query)).all()


async def vhosts_defaulting_to(session: AsyncSession, pool_id: int) -> Sequence[str]:
    """Server names of vhosts whose default pool this is."""
    query = (
        select(VhostRow.server_name)
        .where(VhostRow.default_pool_id == pool_id)
        .order_by(VhostRow.server_name)
    )
    return (await session.scalars(query)).all()


async def pool_types_of_vhosts(
    session: AsyncSession,
    vhost_ids: Collection[int],
    *,
    but_root: bool = False,
    but: int | None = None,
) -> dict[int, set[str]]:
    """The types of the pools that each vhost's routes go to, without ``/`` or one route."""
    query = (
        select(RouteRow.vhost_id, PoolRow.type)
        .join(PoolRow, PoolRow.id == RouteRow.pool_id)
        .where(RouteRow.vhost_id.in_(vhost_ids))
        .distinct()
    )
    if but_root:
        query = query.where(RouteRow.path_prefix != ROOT_PREFIX)
    if but is not None:
        query = query.where(RouteRow.id != but)
    found: dict[int, set[str]] = {vhost_id: set() for vhost_id in vhost_ids}
    for vhost_id, pool_type in await session.execute(query):
        found[vhost_id].add(pool_type)
    return found


async def rows_by_id(
    session: AsyncSession, kind: type[Any], ids: Collection[int]
) -> dict[int, Any]:
    """Rows of one table by their ids; those that do not exist are left out."""
    found = {}
    for part in parts_of(ids):
        for row in await session.scalars(select(kind).where(kind.id.in_(part))):
            found[row.id] = row
    return found


async def taken_places(
    session: AsyncSession, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], RouteRow]:
    """Routes that are where a new one is wanted: by vhost and by prefix without its last slash."""
    by_vhost: dict[int, list[str]] = {}
    for vhost_id, place in wanted:
        by_vhost.setdefault(vhost_id, []).extend({place, place + "/"})
    found = {}
    for vhost_id, prefixes in by_vhost.items():
        for part in parts_of(prefixes):
            query = select(RouteRow).where(
                RouteRow.vhost_id == vhost_id, RouteRow.path_prefix.in_(part)
            )
            for route in await session.scalars(query):
                found[vhost_id, route.path_prefix.rstrip("/") or ROOT_PREFIX] = route
    return found


async def insert_routes(
    session: AsyncSession, columns: Sequence[dict[str, Any]]
) -> Sequence[RouteRow]:
    """New routes, in no promised order, with one statement for many."""
    filled = [{"migration_id": None, **row, **derived_columns(**row)} for row in columns]
    statement = insert(RouteRow).returning(RouteRow)
    return (await session.scalars(statement, filled)).all()


async def pool_names(session: AsyncSession) -> dict[int, tuple[str, str]]:
    """Name and type of every pool by id."""
    query = select(PoolRow.id, PoolRow.name, PoolRow.type)
    return {row.id: (row.name, row.type) for row in await session.execute(query)}


async def routed_buckets(
    session: AsyncSession,
    *,
    vhosts: Collection[str] | None = None,
    buckets: Collection[str] | None = None,
) -> list[RoutedBucket]:
    """What routing flags have to say, of these vhosts and buckets; None: of all."""
    query = (
        select(
            VhostRow.server_name,
            RouteRow.bucket,
            PoolRow.name,
            RouteRow.migration_id,
            RouteRow.plain,
        )
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .join(PoolRow, PoolRow.id == RouteRow.pool_id)
        .where(RouteRow.bucket.is_not(None), RouteRow.enabled)
    )
    found = []
    for vhost_part in parts_of(vhosts) if vhosts is not None else [None]:
        for bucket_part in parts_of(buckets) if buckets is not None else [None]:
            narrow = query
            if vhost_part is not None:
                narrow = narrow.where(VhostRow.server_name.in_(vhost_part))
            if bucket_part is not None:
                narrow = narrow.where(RouteRow.bucket.in_(bucket_part))
            found += [
                RoutedBucket(vhost, bucket or "", pool, migration_id, plain)
                for vhost, bucket, pool, migration_id, plain in await session.execute(narrow)
            ]
    return found


async def vhosts_serving(
    session: AsyncSession, bucket: str, pool_id: int
) -> Sequence[tuple[VhostRow, RouteRow | None]]:
    """Vhosts that send a bucket to a pool: by its route, or, without one, by their default pool."""
    query = (
        select(VhostRow, RouteRow)
        .outerjoin(
            RouteRow,
            and_(RouteRow.vhost_id == VhostRow.id, RouteRow.bucket == bucket, RouteRow.enabled),
        )
        .where(
            or_(
                RouteRow.pool_id == pool_id,
                and_(RouteRow.id.is_(None), VhostRow.default_pool_id == pool_id),
            )
        )
        .order_by(VhostRow.server_name)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def published(session: AsyncSession) -> PublishedRow:
    """The one row of what nginx runs with; made when it is not there."""
    row = await session.get(PublishedRow, 1, populate_existing=True)
    if row is None:
        row = PublishedRow()
        session.add(row)
    return row


async def _count(session: AsyncSession, kind: type[Base]) -> int:
    return await session.scalar(select(func.count()).select_from(kind)) or 0


def parts_of(values: Collection[Any]) -> Iterator[list[Any]]:
    """Values in lists short enough for one ``IN``."""
    rest = list(values)
    for start in range(0, len(rest), MOST_PARAMETERS):
        yield rest[start : start + MOST_PARAMETERS]


async def pools_with_source(session: AsyncSession, pool_id: int) -> Sequence[str]:
    """Names of the ``http`` pools that serve the content of this pool."""
    query = select(PoolRow.name).where(PoolRow.source_nanio_pool_id == pool_id)
    return (await session.scalars(query)).all()


async def flags_to_pool(session: AsyncSession, pool_id: int) -> list[tuple[str, str]]:
    """Vhost and bucket of every bucket route to this pool."""
    query = (
        select(VhostRow.server_name, RouteRow.bucket)
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .where(RouteRow.pool_id == pool_id, RouteRow.bucket.is_not(None))
    )
    return [(vhost, bucket or "") for vhost, bucket in await session.execute(query)]


async def vhosts_with_other_pools(session: AsyncSession, pool_id: int) -> Sequence[str]:
    """Vhosts that use this pool and others."""
    using = select(RouteRow.vhost_id).where(RouteRow.pool_id == pool_id)
    query = (
        select(VhostRow.server_name)
        .join(RouteRow, RouteRow.vhost_id == VhostRow.id)
        .where(VhostRow.id.in_(using), RouteRow.pool_id != pool_id)
        .distinct()
        .order_by(VhostRow.server_name)
    )
    return (await session.scalars(query)).all()


async def migrating_buckets(session: AsyncSession, vhost_id: int) -> Sequence[str]:
    """Buckets of a vhost that a migration has in hand."""
    query = select(RouteRow.path_prefix).where(
        RouteRow.vhost_id == vhost_id, RouteRow.migration_id.is_not(None)
    )
    return [prefix.strip("/") for prefix in await session.scalars(query)]


async def migrations_of_vhost(session: AsyncSession, vhost_id: int) -> Sequence[int]:
    """Migrations that have a route of a vhost in hand."""
    query = select(RouteRow.migration_id).where(RouteRow.vhost_id == vhost_id)
    return [found for found in await session.scalars(query) if found is not None]


async def ways_of_vhost(session: AsyncSession, vhost_id: int) -> Sequence[tuple[str, int]]:
    """Bucket and pool of the vhost's enabled routes that no migration has in hand."""
    query = select(RouteRow.path_prefix, RouteRow.key_prefix, RouteRow.pool_id).where(
        RouteRow.vhost_id == vhost_id, RouteRow.enabled, RouteRow.migration_id.is_(None)
    )
    ways = await session.execute(query)
    return [(reached_bucket(prefix, keys), pool_id) for prefix, keys, pool_id in ways]


async def bucket_routes(
    session: AsyncSession, vhost_ids: Collection[int], bucket: str
) -> Sequence[RouteRow]:
    """The routes of one bucket on several vhosts, also disabled ones."""
    query = select(RouteRow).where(RouteRow.vhost_id.in_(vhost_ids), RouteRow.bucket == bucket)
    return (await session.scalars(query)).all()

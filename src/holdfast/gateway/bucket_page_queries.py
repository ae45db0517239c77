"""Named queries behind the console's pages of buckets: one page of rows, whatever there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.tables import BucketRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.audit import AuditRow
from holdfast.kernel.web.console.listing import Listing, like

ESCAPE = "\\"
STATUSES = ("unrouted", "routed", "migrating", "ignored", "deleted")
_ROUTE = and_(RouteRow.vhost_id == BucketRow.vhost_id, RouteRow.bucket == BucketRow.name)
_IS_ROUTED = and_(RouteRow.id.is_not(None), or_(RouteRow.enabled, RouteRow.migration_id > 0))
_status_now = case(
    (RouteRow.migration_id.is_not(None), "migrating"),
    (RouteRow.enabled, "routed"),
    (BucketRow.status.in_(("deleted", "ignored")), BucketRow.status),
    else_="unrouted",
)
"""What `discovery.status_now` says, for many."""
_POOL_ID = case((_IS_ROUTED, RouteRow.pool_id), else_=VhostRow.default_pool_id)
BUCKET_SORTS = {
    "name": BucketRow.name,
    "status": _status_now,
    "vhost": VhostRow.server_name,
    "pool": PoolRow.name,
    "seen": BucketRow.discovered_at,
}


@dataclass(frozen=True, slots=True)
class BucketLine:
    """A bucket of a vhost in a list; ``pool_id``: of the pool that answers for it now."""

    name: str
    status: str
    vhost_id: int
    server_name: str
    pool_id: int | None
    pool_name: str | None
    migration_id: int | None
    seen_at: datetime


async def bucket_lines(
    session: AsyncSession, asked: Listing, *, vhost_id: int | None = None
) -> tuple[list[BucketLine], int]:
    """One page of the buckets of a vhost (of all), and how many there are in all."""
    where = _where(asked, vhost_id)
    counted = select(func.count()).select_from(BucketRow)
    if asked.others.get("status"):
        counted = counted.outerjoin(RouteRow, _ROUTE)
    total = await session.scalar(counted.where(*where)) or 0
    column: Any = BUCKET_SORTS[asked.sort]
    first = column.desc() if asked.descending else column.asc()
    query = _lines().where(*where).order_by(first, BucketRow.name, BucketRow.id)
    rows = await session.execute(query.limit(asked.rows).offset(asked.offset))
    return [BucketLine(*row) for row in rows], total


async def buckets_found(session: AsyncSession, words: str, *, limit: int) -> list[BucketLine]:
    """Buckets with these words in their name."""
    query = _lines().where(BucketRow.name.ilike(like(words), escape=ESCAPE))
    rows = await session.execute(query.order_by(BucketRow.name, BucketRow.id).limit(limit))
    return [BucketLine(*row) for row in rows]


async def bucket_counts(session: AsyncSession) -> dict[str, int]:
    """How many buckets have each status."""
    query = select(_status_now, func.count()).select_from(BucketRow).outerjoin(RouteRow, _ROUTE)
    return {row[0]: row[1] for row in await session.execute(query.group_by(_status_now))}


async def pools_by_id(session: AsyncSession, ids: Sequence[int]) -> dict[int, PoolRow]:
    """These pools."""
    query = select(PoolRow).where(PoolRow.id.in_(ids))
    return {pool.id: pool for pool in await session.scalars(query)}


def _lines() -> Select[Any]:
    return (
        select(
            BucketRow.name,
            _status_now,
            BucketRow.vhost_id,
            VhostRow.server_name,
            PoolRow.id,
            PoolRow.name,
            RouteRow.migration_id,
            BucketRow.discovered_at,
        )
        .join(VhostRow, VhostRow.id == BucketRow.vhost_id)
        .outerjoin(RouteRow, _ROUTE)
        .outerjoin(PoolRow, PoolRow.id == _POOL_ID)
    )


def _where(asked: Listing, vhost_id: int | None) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if vhost_id is not None:
        where.append(BucketRow.vhost_id == vhost_id)
    if asked.q:
        where.append(BucketRow.name.ilike(like(asked.q), escape=ESCAPE))
    if status := asked.others.get("status"):
        where.append(_status_now == status)
    return where


async def bucket_changes(session: AsyncSession, bucket: str, *, limit: int) -> Sequence[AuditRow]:
    """Who routed, unrouted, ignored or purged a bucket of this name, newest first."""
    of_bucket = and_(AuditRow.entity_type == "bucket", AuditRow.entity_id == bucket)
    of_route = and_(AuditRow.entity_type == "route", AuditRow.entity_id == f"/{bucket}/")
    query = select(AuditRow).where(or_(of_bucket, of_route)).order_by(AuditRow.id.desc())
    return (await session.scalars(query.limit(limit))).all()

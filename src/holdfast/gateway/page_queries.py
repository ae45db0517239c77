"""Named queries behind the console's pages: one page of rows, and a fixed number of statements."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from holdfast.gateway.model import ROOT_PREFIX
from holdfast.gateway.tables import (
    MemberRow,
    NodeConfigRow,
    PoolRow,
    RouteRow,
    SilentMemberRow,
    VhostRow,
)
from holdfast.kernel.web.console.listing import Listing, like

ESCAPE = "\\"
_MEMBERS = (
    select(func.count()).where(MemberRow.pool_id == PoolRow.id).correlate(PoolRow).scalar_subquery()
)
_ENABLED = (
    select(func.count())
    .where(MemberRow.pool_id == PoolRow.id, MemberRow.enabled)
    .correlate(PoolRow)
    .scalar_subquery()
)
_SILENT = (
    select(func.count(SilentMemberRow.member_id))
    .join(MemberRow)
    .where(MemberRow.pool_id == PoolRow.id, MemberRow.enabled)
    .correlate(PoolRow)
    .scalar_subquery()
)
POOL_SORTS = {
    "name": PoolRow.name,
    "type": PoolRow.type,
    "lb_method": PoolRow.lb_method,
    "members": _ENABLED,
    "updated": PoolRow.updated_at,
}
MEMBER_SORTS = {
    "added": MemberRow.id,
    "address": MemberRow.address,
    "role": MemberRow.role,
    "weight": MemberRow.weight,
    "state": MemberRow.enabled,
}


@dataclass(frozen=True, slots=True)
class PoolLine:
    """A pool in a list: how many of its members are enabled, and who uses it."""

    pool: PoolRow
    members: int
    enabled: int
    routes: int
    vhosts: int
    """Vhosts whose default pool it is."""
    silent: int = 0
    """Enabled members that do not answer."""

    def __getitem__(self, name: str) -> object:
        """The pool's own column, for a table's checkboxes."""
        return getattr(self.pool, name)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """A route that goes to a pool, or a vhost whose default pool it is (then without a prefix)."""

    vhost_id: int
    server_name: str
    path_prefix: str = ""
    enabled: bool = True
    migration_id: int | None = None


@dataclass(frozen=True, slots=True)
class IdlePool:
    """A pool that has no enabled member; ``used``: clients are sent to it all the same."""

    id: int
    name: str
    used: bool


async def pool_lines(session: AsyncSession, asked: Listing) -> tuple[list[PoolLine], int]:
    """One page of the pools that are asked for, and how many there are in all."""
    where = _pools_with(asked)
    total = await session.scalar(select(func.count()).select_from(PoolRow).where(*where)) or 0
    query = select(PoolRow, _MEMBERS, _ENABLED, _SILENT).where(*where)
    found = (await session.execute(_page(query, asked, POOL_SORTS[asked.sort], PoolRow.id))).all()
    ids = [row[0].id for row in found]
    routes = await _counted(session, RouteRow.pool_id, ids, RouteRow.path_prefix != ROOT_PREFIX)
    vhosts = await _counted(session, VhostRow.default_pool_id, ids)
    lines = [
        PoolLine(
            pool,
            members,
            enabled,
            routes.get(pool.id, 0),
            vhosts.get(pool.id, 0),
            silent,
        )
        for pool, members, enabled, silent in found
    ]
    return lines, total


async def member_lines(
    session: AsyncSession, pool_id: int, asked: Listing
) -> tuple[Sequence[MemberRow], int]:
    """One page of a pool's members, and how many there are in all."""
    where = [MemberRow.pool_id == pool_id]
    if asked.q:
        pattern = like(asked.q)
        where.append(
            or_(
                MemberRow.address.ilike(pattern, escape=ESCAPE),
                MemberRow.description.ilike(pattern, escape=ESCAPE),
            )
        )
    total = await session.scalar(select(func.count()).select_from(MemberRow).where(*where)) or 0
    query = select(MemberRow).where(*where)
    paged = _page(query, asked, MEMBER_SORTS[asked.sort], MemberRow.id)
    return (await session.scalars(paged)).all(), total


async def member_counts(session: AsyncSession, pool_id: int) -> tuple[int, int]:
    """How many members a pool has, and how many of them are enabled."""
    row = (
        await session.execute(select(_MEMBERS, _ENABLED).where(PoolRow.id == pool_id))
    ).one_or_none()
    return (row[0], row[1]) if row else (0, 0)


async def uses_of_pool(
    session: AsyncSession, pool_id: int, *, limit: int
) -> tuple[list[PoolUse], int]:
    """The first vhosts and routes that send clients to a pool, and how many there are."""
    vhosts = (
        select(VhostRow.id, VhostRow.server_name)
        .where(VhostRow.default_pool_id == pool_id)
        .order_by(VhostRow.server_name)
        .limit(limit)
    )
    routed = and_(RouteRow.pool_id == pool_id, RouteRow.path_prefix != ROOT_PREFIX)
    routes = (
        select(
            VhostRow.id,
            VhostRow.server_name,
            RouteRow.path_prefix,
            RouteRow.enabled,
            RouteRow.migration_id,
        )
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .where(routed)
        .order_by(VhostRow.server_name, RouteRow.path_prefix)
        .limit(limit)
    )
    found = [PoolUse(*row) for row in await session.execute(vhosts)]
    found += [PoolUse(*row) for row in await session.execute(routes)]
    of_vhosts = select(func.count()).where(VhostRow.default_pool_id == pool_id).scalar_subquery()
    of_routes = select(func.count()).select_from(RouteRow).where(routed).scalar_subquery()
    total = await session.scalar(select(of_vhosts + of_routes)) or 0
    return found[:limit], total


async def pools_to_choose(
    session: AsyncSession, *, kind: str, limit: int
) -> Sequence[tuple[int, str]]:
    """Id and name of pools of one type (of all), by name."""
    query = select(PoolRow.id, PoolRow.name).order_by(PoolRow.name).limit(limit)
    if kind:
        query = query.where(PoolRow.type == kind)
    return [(row[0], row[1]) for row in await session.execute(query)]


async def pools_found(session: AsyncSession, words: str, *, limit: int) -> Sequence[PoolRow]:
    """Pools with these words in their name or description."""
    pattern = like(words)
    query = (
        select(PoolRow)
        .where(
            or_(
                PoolRow.name.ilike(pattern, escape=ESCAPE),
                PoolRow.description.ilike(pattern, escape=ESCAPE),
            )
        )
        .order_by(PoolRow.name)
        .limit(limit)
    )
    return (await session.scalars(query)).all()


async def members_found(
    session: AsyncSession, words: str, *, limit: int
) -> Sequence[tuple[MemberRow, str]]:
    """Members with these words in their address, with their pools' names."""
    query = (
        select(MemberRow, PoolRow.name)
        .join(PoolRow, PoolRow.id == MemberRow.pool_id)
        .where(MemberRow.address.ilike(like(words), escape=ESCAPE))
        .order_by(MemberRow.address)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def pools_without_member(session: AsyncSession, *, limit: int) -> tuple[list[IdlePool], int]:
    """Pools without an enabled member, used ones first, and how many there are."""
    idle = ~exists().where(MemberRow.pool_id == PoolRow.id, MemberRow.enabled)
    routed = exists().where(RouteRow.pool_id == PoolRow.id, RouteRow.enabled)
    used = or_(routed, PoolRow.id.in_(_default_pools()))
    query = (
        select(PoolRow.id, PoolRow.name, used)
        .where(idle)
        .order_by(used.desc(), PoolRow.name)
        .limit(limit)
    )
    found = [IdlePool(number, name, bool(u)) for number, name, u in await session.execute(query)]
    total = await session.scalar(select(func.count()).select_from(PoolRow).where(idle)) or 0
    return found, total


async def pool_figures(session: AsyncSession) -> tuple[int, int, int]:
    """How many pools there are, how many members, and how many of these are enabled."""
    members = select(func.count()).select_from(MemberRow)
    query = select(
        select(func.count()).select_from(PoolRow).scalar_subquery(),
        members.scalar_subquery(),
        members.where(MemberRow.enabled).scalar_subquery(),
    )
    row = (await session.execute(query)).one()
    return row[0], row[1], row[2]


async def node_configs_of(
    session: AsyncSession, member_id: int, *, limit: int
) -> Sequence[NodeConfigRow]:
    """The newest set-ups that were generated for a member, newest first."""
    query = (
        select(NodeConfigRow)
        .where(NodeConfigRow.member_id == member_id)
        .order_by(NodeConfigRow.id.desc())
        .limit(limit)
    )
    return (await session.scalars(query)).all()


def _default_pools() -> Select[int | None]:
    return select(VhostRow.default_pool_id).where(VhostRow.default_pool_id.is_not(None))


def _pools_with(asked: Listing) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if asked.others.get("type"):
        where.append(PoolRow.type == asked.others["type"])
    if asked.others.get("state") == "idle":
        where.append(~exists().where(MemberRow.pool_id == PoolRow.id, MemberRow.enabled))
    if asked.others.get("state") == "silent":
        silent = select(MemberRow.pool_id).join(SilentMemberRow).where(MemberRow.enabled)
        where.append(PoolRow.id.in_(silent))
    if asked.q:
        pattern = like(asked.q)
        at = select(MemberRow.pool_id).where(MemberRow.address.ilike(pattern, escape=ESCAPE))
        where.append(
            or_(
                PoolRow.name.ilike(pattern, escape=ESCAPE),
                PoolRow.description.ilike(pattern, escape=ESCAPE),
                PoolRow.id.in_(at),
            )
        )
    return where


def _page(query: Select[Any], asked: Listing, column: Any, last: Any) -> Select[Any]:  # noqa: ANN401 - a column of any type
    """The asked part of a list; rows that are alike keep their order."""
    first = column.desc() if asked.descending else column.asc()
    return query.order_by(first, last).limit(asked.rows).offset(asked.offset)


async def _counted(
    session: AsyncSession,
    column: InstrumentedAttribute[int] | InstrumentedAttribute[int | None],
    values: Sequence[int],
    *where: ColumnElement[bool],
) -> dict[int | None, int]:
    """How many rows have each of these values in a column."""
    query = select(column, func.count()).where(column.in_(values), *where).group_by(column)
    return {row[0]: row[1] for row in await session.execute(query)}

"""Named queries behind the console's pages of vhosts and routes: one page of rows each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.model import ROOT_PREFIX
from holdfast.gateway.tables import PoolRow, RouteRow, VhostRow
from holdfast.kernel.web.console.listing import Listing, like

ESCAPE = "\\"
Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])
SHOWN_ROUTES = RouteRow.path_prefix != ROOT_PREFIX
"""All but the one that follows the default pool."""
_ROUTES = (
    select(func.count())
    .where(RouteRow.vhost_id == VhostRow.id, SHOWN_ROUTES)
    .correlate(VhostRow)
    .scalar_subquery()
)
VHOST_SORTS = {
    "name": VhostRow.server_name,
    "port": VhostRow.listen_port,
    "tls": VhostRow.ssl,
    "state": VhostRow.enabled,
    "pool": PoolRow.name,
    "routes": _ROUTES,
    "updated": VhostRow.updated_at,
}
ROUTE_SORTS = {
    "prefix": RouteRow.path_prefix,
    "pool": PoolRow.name,
    "state": RouteRow.enabled,
    "updated": RouteRow.updated_at,
}


@dataclass(frozen=True, slots=True)
class VhostLine:
    """A vhost in a list: its default pool's name, and how many routes it has beside that."""

    vhost: VhostRow
    pool: str | None
    routes: int

    def __getitem__(self, name: str) -> object:
        """The vhost's own column, for a table's checkboxes."""
        return getattr(self.vhost, name)


@dataclass(frozen=True, slots=True)
class RouteLine:
    """A route in a list, with its pool's name."""

    route: RouteRow
    pool: str

    def __getitem__(self, name: str) -> object:
        """The route's own column, for a table's checkboxes."""
        return getattr(self.route, name)


@dataclass(frozen=True, slots=True)
class VhostFigures:
    """How many there are."""

    vhosts: int
    enabled_vhosts: int
    routes: int
    enabled_routes: int


async def vhost_lines(session: AsyncSession, asked: Listing) -> tuple[list[VhostLine], int]:
    """One page of the vhosts that are asked for, and how many there are in all."""
    where = _vhosts_with(asked)
    total = await session.scalar(select(func.count()).select_from(VhostRow).where(*where)) or 0
    query = (
        select(VhostRow, PoolRow.name)
        .outerjoin(PoolRow, PoolRow.id == VhostRow.default_pool_id)
        .where(*where)
    )
    found = (await session.execute(_page(query, asked, VHOST_SORTS[asked.sort], VhostRow.id))).all()
    routes = await _routes_of(session, [row[0].id for row in found])
    return [VhostLine(vhost, pool, routes.get(vhost.id, 0)) for vhost, pool in found], total


async def route_lines(
    session: AsyncSession, vhost_id: int, asked: Listing
) -> tuple[list[RouteLine], int]:
    """One page of a vhost's routes but ``/``, and how many there are of those asked for."""
    where = [RouteRow.vhost_id == vhost_id, SHOWN_ROUTES, *_routes_with(asked)]
    counted = select(func.count()).select_from(RouteRow)
    if asked.q:
        counted = counted.join(PoolRow, PoolRow.id == RouteRow.pool_id)
    total = await session.scalar(counted.where(*where)) or 0
    query = (
        select(RouteRow, PoolRow.name)
        .join(PoolRow, PoolRow.id == RouteRow.pool_id)
        .where(*where)
    )  # fmt: skip
    paged = _page(query, asked, ROUTE_SORTS[asked.sort], RouteRow.id)
    return [RouteLine(row[0], row[1]) for row in await session.execute(paged)], total


async def route_counts(session: AsyncSession, vhost_id: int) -> tuple[int, int]:
    """How many routes but ``/`` a vhost has, and how many of them are enabled."""
    query = select(func.count(), func.sum(case((RouteRow.enabled, 1), else_=0)))
    row = (await session.execute(query.where(RouteRow.vhost_id == vhost_id, SHOWN_ROUTES))).one()
    return row[0], row[1] or 0


async def routes_to_copy(session: AsyncSession, vhost_id: int) -> Sequence[RouteRow]:
    """A vhost's routes but ``/``, without those whose bucket is on its way to another pool."""
    query = select(RouteRow).where(
        RouteRow.vhost_id == vhost_id, SHOWN_ROUTES, RouteRow.migration_id.is_(None)
    )
    return (await session.scalars(query.order_by(RouteRow.id))).all()


async def vhosts_found(session: AsyncSession, words: str, *, limit: int) -> Sequence[VhostRow]:
    """Vhosts with these words in their server name or description."""
    query = select(VhostRow).where(_says(words, VhostRow.server_name, VhostRow.description))
    return (await session.scalars(query.order_by(VhostRow.server_name).limit(limit))).all()


async def routes_found(
    session: AsyncSession, words: str, *, limit: int
) -> Sequence[tuple[RouteRow, str]]:
    """Routes with these words in their prefix or description, with their vhosts' names."""
    query = (
        select(RouteRow, VhostRow.server_name)
        .join(VhostRow, VhostRow.id == RouteRow.vhost_id)
        .where(SHOWN_ROUTES, _says(words, RouteRow.path_prefix, RouteRow.description))
        .order_by(RouteRow.path_prefix, VhostRow.server_name)
        .limit(limit)
    )
    return [(row[0], row[1]) for row in await session.execute(query)]


async def vhosts_without_pool(
    session: AsyncSession, *, limit: int
) -> tuple[Sequence[VhostRow], int]:
    """Enabled vhosts that send nothing anywhere, by name, and how many there are."""
    query = select(VhostRow).where(_lost()).order_by(VhostRow.server_name).limit(limit)
    total = await session.scalar(select(func.count()).select_from(VhostRow).where(_lost())) or 0
    return (await session.scalars(query)).all(), total


async def vhost_figures(session: AsyncSession) -> VhostFigures:
    """How many vhosts and routes there are, and how many of them are enabled."""
    vhosts = select(func.count()).select_from(VhostRow)
    routes = select(func.count()).select_from(RouteRow).where(SHOWN_ROUTES)
    query = select(
        vhosts.scalar_subquery(),
        vhosts.where(VhostRow.enabled).scalar_subquery(),
        routes.scalar_subquery(),
        routes.where(RouteRow.enabled).scalar_subquery(),
    )
    return VhostFigures(*(await session.execute(query)).one())


def _lost() -> ColumnElement[bool]:
    routed = exists().where(RouteRow.vhost_id == VhostRow.id, RouteRow.enabled)
    return and_(VhostRow.enabled, VhostRow.default_pool_id.is_(None), ~routed)


def _says(words: str, *columns: Any) -> ColumnElement[bool]:  # noqa: ANN401 - columns of text
    pattern = like(words)
    return or_(*(column.ilike(pattern, escape=ESCAPE) for column in columns))


def _vhosts_with(asked: Listing) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    match asked.others.get("state"):
        case "enabled":
            where.append(VhostRow.enabled.is_(True))
        case "disabled":
            where.append(~VhostRow.enabled)
        case "lost":
            where.append(_lost())
    match asked.others.get("tls"):
        case "yes":
            where.append(VhostRow.ssl.is_(True))
        case "no":
            where.append(~VhostRow.ssl)
    if asked.q:
        where.append(_says(asked.q, VhostRow.server_name, VhostRow.description))
    return where


def _routes_with(asked: Listing) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    match asked.others.get("state"):
        case "enabled":
            where.append(RouteRow.enabled.is_(True))
        case "disabled":
            where.append(~RouteRow.enabled)
    match asked.others.get("kind"):
        case "flag":
            where.append(RouteRow.plain.is_(True))
        case "file":
            where.append(~RouteRow.plain)
    if asked.q:
        where.append(_says(asked.q, RouteRow.path_prefix, RouteRow.description, PoolRow.name))
    return where


def _page(query: Query, asked: Listing, column: Any, last: Any) -> Query:  # noqa: ANN401 - a column of any type
    """The asked part of a list; rows that are alike keep their order."""
    first = column.desc() if asked.descending else column.asc()
    return query.order_by(first, last).limit(asked.rows).offset(asked.offset)


async def _routes_of(session: AsyncSession, vhost_ids: Collection[int]) -> dict[int, int]:
    query = (
        select(RouteRow.vhost_id, func.count())
        .where(RouteRow.vhost_id.in_(vhost_ids), SHOWN_ROUTES)
        .group_by(RouteRow.vhost_id)
    )
    return {row[0]: row[1] for row in await session.execute(query)}

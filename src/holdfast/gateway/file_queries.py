"""Named queries for rendering: a few statements, whatever the number of pools and vhosts."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from holdfast.gateway.model import ROOT_PREFIX
from holdfast.gateway.queries import parts_of
from holdfast.gateway.render_model import ServedVhost
from holdfast.gateway.tables import CredentialRow, MemberRow, PoolRow, RouteRow, VhostRow


async def pools_for_files(session: AsyncSession, names: Collection[str]) -> Sequence[PoolRow]:
    """Pools of these names as they are now, whatever the session has seen before."""
    return await _fresh(session, PoolRow, PoolRow.name, names)


async def vhosts_for_files(session: AsyncSession, names: Collection[str]) -> Sequence[VhostRow]:
    """Vhosts of these server names as they are now, whatever the session has seen before."""
    return await _fresh(session, VhostRow, VhostRow.server_name, names)


async def members_by_pool(
    session: AsyncSession, pool_ids: Collection[int]
) -> dict[int, list[MemberRow]]:
    """The members of several pools."""
    found: dict[int, list[MemberRow]] = {pool_id: [] for pool_id in pool_ids}
    for part in parts_of(pool_ids):
        query = select(MemberRow).where(MemberRow.pool_id.in_(part)).order_by(MemberRow.id)
        for member in await session.scalars(query):
            found[member.pool_id].append(member)
    return found


async def credentials_by_pool(
    session: AsyncSession, pool_ids: Collection[int]
) -> dict[int, CredentialRow]:
    """The credentials of several pools."""
    found = {}
    for part in parts_of(pool_ids):
        query = select(CredentialRow).where(CredentialRow.pool_id.in_(part))
        found.update({row.pool_id: row for row in await session.scalars(query)})
    return found


async def file_routes_by_vhost(
    session: AsyncSession, vhost_ids: Collection[int]
) -> dict[int, list[RouteRow]]:
    """Routes that stand in the vhosts' files: all but plain bucket routes and ``/``."""
    found: dict[int, list[RouteRow]] = {vhost_id: [] for vhost_id in vhost_ids}
    for part in parts_of(vhost_ids):
        query = (
            select(RouteRow)
            .where(
                RouteRow.vhost_id.in_(part), ~RouteRow.plain, RouteRow.path_prefix != ROOT_PREFIX
            )
            .order_by(RouteRow.path_prefix)
        )
        for route in await session.scalars(query):
            found[route.vhost_id].append(route)
    return found


async def plain_descriptions(
    session: AsyncSession, vhost_ids: Collection[int]
) -> dict[int, dict[str, str]]:
    """Descriptions of plain bucket routes by vhost and prefix; these routes stand in no file."""
    found: dict[int, dict[str, str]] = {vhost_id: {} for vhost_id in vhost_ids}
    for part in parts_of(vhost_ids):
        query = select(RouteRow.vhost_id, RouteRow.path_prefix, RouteRow.description).where(
            RouteRow.vhost_id.in_(part), RouteRow.plain, RouteRow.description != ""
        )
        for vhost_id, prefix, text in await session.execute(query):
            found[vhost_id][prefix] = text or ""
    return found


async def served_vhosts(session: AsyncSession) -> list[ServedVhost]:
    """Every enabled vhost."""
    in_file = (
        exists()
        .where(RouteRow.vhost_id == VhostRow.id, ~RouteRow.plain, RouteRow.enabled)
        .where(RouteRow.path_prefix != ROOT_PREFIX)
    )
    nothing_own = and_(
        ~VhostRow.ssl,
        VhostRow.ip_rule_mode.is_(None),
        func.coalesce(VhostRow.extra_directives, "") == "",
        func.coalesce(VhostRow.extra_blocks, "").in_(["", "[]"]),
        func.coalesce(PoolRow.type, "") == "nanio",
        ~in_file,
    )
    query = (
        select(VhostRow.server_name, VhostRow.listen_port, PoolRow.name, nothing_own)
        .outerjoin(PoolRow, PoolRow.id == VhostRow.default_pool_id)
        .where(VhostRow.enabled)
    )
    return [
        ServedVhost(server_name=name, listen_port=port, default_pool=pool, has_nothing_own=bare)
        for name, port, pool, bare in await session.execute(query)
    ]


async def _fresh(
    session: AsyncSession,
    kind: type[Any],
    column: InstrumentedAttribute[str],
    names: Collection[str],
) -> list[Any]:
    found: list[Any] = []
    for part in parts_of(names):
        query = (
            select(kind)
            .where(column.in_(part))
            .order_by(column)
            .execution_options(populate_existing=True)
        )
        found += await session.scalars(query)
    return found

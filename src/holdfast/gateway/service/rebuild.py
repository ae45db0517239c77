"""The database anew from what lies on disk: files, sidecars, flags, records of migrations.

References on disk are names. Ids are kept where they are free, so that clients go on with theirs.
"""

import asyncio
from dataclasses import dataclass, field

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import ROOT_PREFIX, same_place
from holdfast.gateway.parse import parse_files
from holdfast.gateway.ports import Restored
from holdfast.gateway.publish import hold_lock
from holdfast.gateway.render_model import GatewaySpec, pool_alias
from holdfast.gateway.service.adopt import adopt, adopt_plain_descriptions, drop_pools
from holdfast.gateway.service.follow import LOST, flags_follow_rows, rows_follow_flags
from holdfast.gateway.service.reading import keep_times, moment_of
from holdfast.gateway.tables import MemberRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.errors import Conflict
from holdfast.kernel.secrets import CannotUnseal
from holdfast.kernel.work import Work


@dataclass(slots=True)
class FromDisk:
    """What was found, or imported."""

    spec: GatewaySpec
    files: frozenset[str] = frozenset()
    routes: int = 0
    routes_of: dict[str, int] = field(default_factory=dict)
    """Routes by vhost, without the one that follows the default pool."""
    migrations: int = 0
    completed_migrations: int = 0
    credentials: int = 0
    warnings: list[str] = field(default_factory=list)


async def rebuild_from_disk(work: Work, gateway: Gateway, *, force: bool) -> FromDisk:
    """Make the rows what is on disk; nothing on disk changes but flags that nothing explains.

    A dry run only tells. Raises ``Conflict`` when there are rows, without ``force``; with it, when
    a file cannot be read, because its rows would be deleted.
    """
    session = work.session
    is_filled = await has_data(session)
    if is_filled and not (force or work.dry_run):
        raise Conflict(
            "Database already contains data. Use force=true to replace it by what is on disk.",
            hint="look first: holdfast rebuild --dry-run",
        )
    await hold_lock(work, gateway)
    number = await asyncio.to_thread(gateway.generations.ensure)
    files = await asyncio.to_thread(gateway.generations.files)
    spec = await asyncio.to_thread(parse_files, files, gateway.flags)
    result = FromDisk(spec, frozenset(files))
    result.warnings = [*spec.warnings, *_flag_warnings(gateway, spec)]
    if is_filled and spec.warnings and not work.dry_run:
        raise Conflict(
            f"not all files can be read: {'; '.join(spec.warnings)}",
            hint="mend or remove them first: their rows would be deleted",
        )
    await keep_ids(session, spec)
    await adopt(session, spec)
    await keep_times(session, spec)
    await rows_follow_flags(work, gateway)
    await adopt_plain_descriptions(session, spec)
    restored = await _restore_migrations(work, gateway)
    result.migrations, result.completed_migrations = restored.active, restored.completed
    result.warnings += restored.warnings
    result.warnings += await drop_pools(session, spec)
    result.routes_of = await _routes_of(session)
    result.routes = sum(result.routes_of.values())
    result.credentials = _recovered(gateway, spec, result.warnings)
    if not work.dry_run:
        result.warnings += await flags_follow_rows(work, gateway, ())
        await _believe(session, gateway, number)
        work.audit("rebuild_from_disk", "config", number, after={"warnings": result.warnings})
        work.emit("gateway", "config.adopted", {"differences": len(result.warnings)})
    return result


async def has_data(session: AsyncSession) -> bool:
    """Whether there is a pool or vhost."""
    for kind in (PoolRow, VhostRow):
        if await session.scalar(select(func.count()).select_from(kind)):
            return True
    return False


async def keep_ids(session: AsyncSession, spec: GatewaySpec) -> None:
    """Rows with the ids that the disk has, where neither name nor id is taken."""
    pools = {row.name: row for row in await session.scalars(select(PoolRow))}
    taken = {row.id for row in pools.values()}
    for pool in spec.pools:
        if pool.id and pool.id not in taken and pool.name not in pools:
            row = PoolRow(name=pool.name, created_at=moment_of(pool), updated_at=moment_of(pool))
            row.id = pool.id
            taken.add(pool.id)
            session.add(row)
    vhosts = {row.server_name: row for row in await session.scalars(select(VhostRow))}
    taken = {row.id for row in vhosts.values()}
    for vhost in spec.vhosts:
        if vhost.id and vhost.id not in taken and vhost.server_name not in vhosts:
            moment = moment_of(vhost)
            host = VhostRow(server_name=vhost.server_name, created_at=moment, updated_at=moment)
            host.id = vhost.id
            taken.add(vhost.id)
            session.add(host)
    await session.flush()
    await _keep_member_ids(session, spec)
    await _keep_route_ids(session, spec)
    for table in ("pool", "vhost", "pool_member", "route"):
        await _advance_ids(session, table)


async def _keep_member_ids(session: AsyncSession, spec: GatewaySpec) -> None:
    pools = {row.name: row for row in await session.scalars(select(PoolRow))}
    members = list(await session.scalars(select(MemberRow)))
    taken = {row.id for row in members}
    places = {(row.pool_id, row.address) for row in members}
    for pool in spec.pools:
        row = pools.get(pool.name)
        for member in pool.members if row else ():
            place = (row.id if row else 0, member.address)
            if member.id and member.id not in taken and place not in places:
                moment = moment_of(pool)
                made = MemberRow(
                    pool_id=place[0], address=place[1], created_at=moment, updated_at=moment
                )
                made.id = member.id
                taken.add(member.id)
                session.add(made)
    await session.flush()


async def _keep_route_ids(session: AsyncSession, spec: GatewaySpec) -> None:
    """Of routes that stand in files; the others are only flags, and have no id there."""
    pools = {row.name: row.id for row in await session.scalars(select(PoolRow))}
    vhosts = {row.server_name: row.id for row in await session.scalars(select(VhostRow))}
    routes = list(await session.scalars(select(RouteRow)))
    taken = {row.id for row in routes}
    places = {(row.vhost_id, same_place(row.path_prefix)) for row in routes}
    for vhost in spec.vhosts:
        for route in vhost.routes:
            place = (vhosts.get(vhost.server_name, 0), same_place(route.path_prefix))
            is_free = route.id and route.id not in taken and place not in places
            if is_free and place[0] and route.pool in pools and not route.is_plain_bucket:
                moment = moment_of(vhost)
                made = RouteRow(
                    vhost_id=place[0],
                    path_prefix=route.path_prefix,
                    pool_id=pools[route.pool],
                    created_at=moment,
                    updated_at=moment,
                )
                made.id = route.id or 0
                taken.add(made.id)
                session.add(made)
    await session.flush()


async def _advance_ids(session: AsyncSession, table: str) -> None:
    """PostgreSQL's own counter does not see ids that were given."""
    if session.get_bind().dialect.name == "postgresql":
        statement = (
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "  # noqa: S608 - our own names
            f"greatest((SELECT max(id) FROM {table}), 1))"
        )
        await session.execute(text(statement))


def _flag_warnings(gateway: Gateway, spec: GatewaySpec) -> list[str]:
    """Flags that no row can stand for: they are left as they are."""
    pools = [pool.name for pool in spec.pools]
    aliases = {pool_alias(name) for name in pools}
    hosts = {vhost.server_name for vhost in spec.vhosts}
    if gateway.flags.lost:
        return [f"{gateway.flags.root}: {LOST}"]
    told = [f"{link}: {why}" for link, why in gateway.flags.strange()]
    for vhost, bucket, flag in gateway.flags.list():
        if vhost not in hosts:
            told.append(f"flag {vhost}/{bucket}: there is no vhost {vhost!r}")
        elif {flag.pool_alias, flag.target_alias or flag.pool_alias} - aliases:
            told.append(f"flag {vhost}/{bucket}: {flag.name} names a pool that is not there")
    return told


async def _restore_migrations(work: Work, gateway: Gateway) -> Restored:
    port = gateway.ports.migrations
    return await port.restore(work) if port else Restored()


async def _routes_of(session: AsyncSession) -> dict[str, int]:
    query = (
        select(VhostRow.server_name, func.count())
        .join(RouteRow, RouteRow.vhost_id == VhostRow.id)
        .where(RouteRow.path_prefix != ROOT_PREFIX)
        .group_by(VhostRow.server_name)
    )
    return {name: count for name, count in await session.execute(query)}  # noqa: C416 - rows, not pairs


def _recovered(gateway: Gateway, spec: GatewaySpec, warnings: list[str]) -> int:
    """How many pools' credentials can be read with the present secret."""
    count = 0
    for pool in spec.pools:
        if not pool.credentials:
            continue
        try:
            gateway.sealer.unseal(pool.credentials.get("access_key_enc") or "")
            gateway.sealer.unseal(pool.credentials.get("secret_key_enc") or "")
        except CannotUnseal:
            warnings.append(f"credentials of pool {pool.name!r}: sealed with another secret")
        else:
            count += 1
    return count


async def _believe(session: AsyncSession, gateway: Gateway, number: int) -> None:
    status = await gateway.nginx.status()
    published = await queries.published(session)
    published.generation = number
    published.reload_pending = status.live and status.loaded_generation != number

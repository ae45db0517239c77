"""Make the rows say what is on disk, by name. Used where the disk wins: at start, and in a rebuild.

A pool or vhost that is on disk under a new name, and whose id belongs to a row that is not, was
renamed: it keeps its row. What is told in the end are texts for people, one a difference.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.model import ROOT_PREFIX, as_directives, same_place
from holdfast.gateway.render_model import (
    GatewaySpec,
    MemberSpec,
    PoolSpec,
    RouteSpec,
    VhostSpec,
)
from holdfast.gateway.tables import CredentialRow, MemberRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.db import Base

Named = TypeVar("Named", PoolRow, VhostRow)


async def adopt(session: AsyncSession, spec: GatewaySpec) -> list[str]:
    """Take pools, members, credentials, vhosts and the routes in their files from the disk.

    Plain bucket routes are flags: `adopt_flags` takes those. Rows of vhosts that are not on disk
    are deleted; of pools, by `drop_pools`, when nothing refers to them any more.
    """
    told: list[str] = []
    pools = await _pools(session, spec.pools, told)
    await session.flush()
    for pool in spec.pools:
        await _members(session, pools[pool.name], pool, told)
        await _credentials(session, pools[pool.name], pool, told)
        source = pools.get(pool.source_pool or "")
        values = {"source_nanio_pool_id": source.id if source else None}
        _assign(pools[pool.name], values, f"pool {pool.name!r}", told)
    vhosts = await _vhosts(session, spec.vhosts, pools, told)
    await session.flush()
    for vhost in spec.vhosts:
        await _routes(session, vhosts[vhost.server_name], vhost, pools, told)
    await session.flush()
    return told


async def adopt_flags(
    session: AsyncSession, routes: Mapping[str, Sequence[RouteSpec]]
) -> list[str]:
    """Take plain bucket routes from the flags of each vhost; a row without a flag is deleted.

    Only flags that name a known pool belong in ``routes``; rows of buckets that a migration has in
    hand are left alone.
    """
    told: list[str] = []
    vhosts = {row.server_name: row for row in await session.scalars(select(VhostRow))}
    pools = {row.name: row for row in await session.scalars(select(PoolRow))}
    rows = await session.scalars(select(RouteRow).where(RouteRow.bucket.is_not(None)))
    known = {(row.vhost_id, row.bucket): row for row in rows}
    seen = set()
    for name, specs in routes.items():
        for spec in specs:
            vhost, pool = vhosts[name], pools[spec.pool]
            seen.add((vhost.id, spec.bucket))
            row = known.get((vhost.id, spec.bucket))
            what = f"route {spec.path_prefix} of vhost {name!r}"
            if row is None:
                session.add(_route_row(vhost.id, pool.id, spec))
                told.append(f"{what}: added, to pool {spec.pool!r}")
            elif row.migration_id is None:
                _assign(row, {"pool_id": pool.id, "enabled": True}, what, told)
    names = {row.id: name for name, row in vhosts.items()}
    for key, row in known.items():
        if row.plain and row.migration_id is None and key not in seen:
            told.append(f"route {row.path_prefix} of vhost {names[row.vhost_id]!r}: deleted")
            await session.delete(row)
    await session.flush()
    return told


async def adopt_plain_descriptions(session: AsyncSession, spec: GatewaySpec) -> None:
    """Plain bucket routes get the descriptions that the sidecars keep; after `adopt_flags`."""
    texts = {vhost.server_name: vhost.plain_descriptions for vhost in spec.vhosts}
    query = select(RouteRow, VhostRow.server_name).join(VhostRow, VhostRow.id == RouteRow.vhost_id)
    for row, name in await session.execute(query.where(RouteRow.plain)):
        text = texts.get(name, {}).get(row.path_prefix)
        if name in texts and (row.description or None) != text:
            row.description = text
    await session.flush()


async def drop_pools(session: AsyncSession, spec: GatewaySpec) -> list[str]:
    """Delete pools that are not on disk, but for those that a route still goes to."""
    on_disk = {pool.name for pool in spec.pools}
    used = set(await session.scalars(select(RouteRow.pool_id)))
    used |= set(await session.scalars(select(VhostRow.default_pool_id)))
    told = []
    for row in await session.scalars(select(PoolRow)):
        if row.name not in on_disk and row.id in used:
            told.append(f"pool {row.name!r}: its files are gone; it stays, a route goes to it")
        elif row.name not in on_disk:
            told.append(f"pool {row.name!r}: deleted")
            await session.delete(row)
    await session.flush()
    return told


async def _pools(
    session: AsyncSession, specs: Iterable[PoolSpec], told: list[str]
) -> dict[str, PoolRow]:
    rows = list(await session.scalars(select(PoolRow)))
    found = _matched(rows, "name", {spec.name: spec.id for spec in specs}, told)
    for spec in specs:
        values: dict[str, Any] = {
            "description": spec.description,
            "type": spec.type,
            "lb_method": spec.lb_method,
            "keepalive": spec.keepalive,
        }
        row = found.get(spec.name)
        if row is None:
            moment = now()
            row = PoolRow(name=spec.name, created_at=moment, updated_at=moment, **values)
            session.add(row)
            found[spec.name] = row
            told.append(f"pool {spec.name!r}: added")
        else:
            _assign(row, values, f"pool {spec.name!r}", told)
    return found


async def _members(session: AsyncSession, pool: PoolRow, spec: PoolSpec, told: list[str]) -> None:
    rows = await session.scalars(select(MemberRow).where(MemberRow.pool_id == pool.id))
    known = {row.address: row for row in rows}
    written = {member.address for member in spec.members}
    moved = {row.id: address for address, row in known.items() if address not in written}
    for member in spec.members:
        what = f"member {member.address} of pool {spec.name!r}"
        row = known.pop(member.address, None) or known.pop(moved.get(member.id or 0, ""), None)
        if row is None:
            moment = now()
            values = _member_values(member)
            session.add(MemberRow(pool_id=pool.id, created_at=moment, updated_at=moment, **values))
            told.append(f"{what}: added")
        else:
            _assign(row, _member_values(member), what, told)
    for address, row in known.items():
        await session.delete(row)
        told.append(f"member {address} of pool {spec.name!r}: deleted")


async def _credentials(
    session: AsyncSession, pool: PoolRow, spec: PoolSpec, told: list[str]
) -> None:
    row = await session.get(CredentialRow, pool.id)
    what = f"credentials of pool {spec.name!r}"
    if not spec.credentials:
        if row is not None:
            await session.delete(row)
            told.append(f"{what}: deleted")
        return
    given = dict(spec.credentials)
    values: dict[str, Any] = {
        "access_key_enc": given.get("access_key_enc") or "",
        "secret_key_enc": given.get("secret_key_enc") or "",
        "endpoint_url": given.get("endpoint_url"),
        "region": given.get("region") or "us-east-1",
    }
    if row is None:
        moment = now()
        session.add(CredentialRow(pool_id=pool.id, created_at=moment, updated_at=moment, **values))
        told.append(f"{what}: added")
    elif any(getattr(row, name) != value for name, value in values.items()):
        for name, value in values.items():
            setattr(row, name, value)
        told.append(f"{what}: changed")


async def _vhosts(
    session: AsyncSession,
    specs: Iterable[VhostSpec],
    pools: Mapping[str, PoolRow],
    told: list[str],
) -> dict[str, VhostRow]:
    rows = list(await session.scalars(select(VhostRow)))
    found = _matched(rows, "server_name", {s.server_name: s.id for s in specs}, told)
    for spec in specs:
        values = _vhost_values(spec, pools)
        row = found.get(spec.server_name)
        if row is None:
            moment = now()
            row = VhostRow(
                server_name=spec.server_name, created_at=moment, updated_at=moment, **values
            )
            session.add(row)
            found[spec.server_name] = row
            told.append(f"vhost {spec.server_name!r}: added")
        else:
            _assign(row, values, f"vhost {spec.server_name!r}", told)
    on_disk = {spec.server_name for spec in specs}
    for row in rows:
        if row.server_name not in on_disk:
            told.append(f"vhost {row.server_name!r}: deleted")
            await session.delete(row)
    return found


async def _routes(
    session: AsyncSession,
    vhost: VhostRow,
    spec: VhostSpec,
    pools: Mapping[str, PoolRow],
    told: list[str],
) -> None:
    """The routes that a file or sidecar names, and the one that follows the default pool."""
    wanted = {same_place(r.path_prefix): r for r in spec.routes if not r.is_plain_bucket}
    if spec.default_pool in pools:
        wanted[ROOT_PREFIX] = RouteSpec(path_prefix=ROOT_PREFIX, pool=spec.default_pool or "")
    rows = await session.scalars(select(RouteRow).where(RouteRow.vhost_id == vhost.id))
    known = {same_place(row.path_prefix): row for row in rows}
    for place, route in wanted.items():
        pool = pools.get(route.pool)
        what = f"route {route.path_prefix} of vhost {spec.server_name!r}"
        row = known.get(place)
        if pool is None:
            told.append(f"{what}: left out, there is no pool {route.pool!r}")
        elif row is None:
            session.add(_route_row(vhost.id, pool.id, route))
            told.append(f"{what}: added, to pool {route.pool!r}")
        elif row.migration_id is None:
            _assign(row, _route_values(route, pool.id, row), what, told)
    for place, row in known.items():
        if place not in wanted and not row.plain:
            await session.delete(row)
            told.append(f"route {row.path_prefix} of vhost {spec.server_name!r}: deleted")


def _matched(
    rows: Sequence[Named], column: str, on_disk: Mapping[str, int | None], told: list[str]
) -> dict[str, Named]:
    """Rows by the name that they have on disk, renamed rows among them."""
    found = {getattr(row, column): row for row in rows if getattr(row, column) in on_disk}
    by_id = {row.id: row for row in rows if getattr(row, column) not in on_disk}
    for name, row_id in on_disk.items():
        row = by_id.get(row_id or 0)
        if name not in found and row is not None:
            told.append(f"{getattr(row, column)!r}: renamed to {name!r}")
            setattr(row, column, name)
            found[name] = row
    return found


def _assign(row: Base, values: Mapping[str, Any], what: str, told: list[str]) -> None:
    """Set what differs, and tell it."""
    for name, value in values.items():
        old = getattr(row, name)
        if (old or None) != (value or None) or (old is False) != (value is False):
            told.append(f"{what}: {name} was {old!r}, is {value!r} on disk")
            setattr(row, name, value)


def _member_values(spec: MemberSpec) -> dict[str, Any]:
    return {
        "address": spec.address,
        "role": spec.role,
        "weight": spec.weight,
        "max_fails": spec.max_fails,
        "fail_timeout_s": spec.fail_timeout_s,
        "enabled": spec.enabled,
        "description": spec.description,
    }


def _vhost_values(spec: VhostSpec, pools: Mapping[str, PoolRow]) -> dict[str, Any]:
    blocks = [{"zone": block.zone, "content": block.content} for block in spec.extra_blocks]
    default = pools.get(spec.default_pool or "")
    return {
        "listen_port": spec.listen_port,
        "ssl": spec.ssl,
        "ssl_cert_path": spec.ssl_cert_path,
        "ssl_key_path": spec.ssl_key_path,
        "extra_directives": spec.extra_directives or None,
        "extra_blocks": json.dumps(blocks) if blocks else None,
        "enabled": spec.enabled,
        "default_pool_id": default.id if default else None,
        "ip_rule_mode": spec.ip_rule_mode,
        "ip_rule_ips": json.dumps(list(spec.ip_rules)) if spec.ip_rules else None,
        "description": spec.description,
    }


def _route_row(vhost_id: int, pool_id: int, spec: RouteSpec) -> RouteRow:
    moment = now()
    return RouteRow(
        vhost_id=vhost_id,
        path_prefix=spec.path_prefix,
        pool_id=pool_id,
        key_prefix=spec.key_prefix,
        extra_directives=spec.extra_directives or None,
        enabled=spec.enabled,
        description=spec.description,
        created_at=moment,
        updated_at=moment,
    )


def _route_values(spec: RouteSpec, pool_id: int, row: RouteRow) -> dict[str, Any]:
    """What the file says; a directive without its ``;`` is kept as it was given."""
    same = as_directives(row.extra_directives) == as_directives(spec.extra_directives)
    return {
        "pool_id": pool_id,
        "key_prefix": spec.key_prefix,
        "extra_directives": row.extra_directives if same else spec.extra_directives or None,
        "enabled": spec.enabled,
        "description": spec.description,
    }

"""From rows to what files are rendered from, in bulk; and from drafts to columns."""

import dataclasses
import json
from collections.abc import Collection, Iterable
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import file_queries, queries
from holdfast.gateway.model import MemberDraft, PoolDraft, RouteDraft, VhostDraft, as_directives
from holdfast.gateway.render_model import (
    BlockSpec,
    MemberSpec,
    PoolSpec,
    PoolType,
    RouteSpec,
    VhostSpec,
)
from holdfast.gateway.tables import CredentialRow, MemberRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.clock import iso_time
from holdfast.kernel.db import Base

PoolNames = dict[int, tuple[str, str]]
"""Name and type of each pool by id."""


async def pool_specs(session: AsyncSession, names: Collection[str]) -> list[PoolSpec]:
    """The pools of these names as the rows have them now; names without a row are left out."""
    pools = await file_queries.pools_for_files(session, names)
    ids = [pool.id for pool in pools]
    members = await file_queries.members_by_pool(session, ids)
    credentials = await file_queries.credentials_by_pool(session, ids)
    known = await queries.pool_names(session) if any(p.source_nanio_pool_id for p in pools) else {}
    return [pool_spec(p, members[p.id], credentials.get(p.id), known) for p in pools]


async def vhost_specs(session: AsyncSession, names: Collection[str]) -> list[VhostSpec]:
    """The vhosts of these server names as the rows have them now, without plain bucket routes."""
    vhosts = await file_queries.vhosts_for_files(session, names)
    ids = [vhost.id for vhost in vhosts]
    routes = await file_queries.file_routes_by_vhost(session, ids)
    plain = await file_queries.plain_descriptions(session, ids)
    known = await queries.pool_names(session) if vhosts else {}
    types = await queries.pool_types_of_vhosts(session, ids)
    specs = [vhost_spec(v, routes[v.id], known, types[v.id]) for v in vhosts]
    return [
        dataclasses.replace(spec, plain_descriptions=plain[vhost.id])
        for vhost, spec in zip(vhosts, specs, strict=True)
    ]


def pool_spec(
    pool: PoolRow,
    members: Iterable[MemberRow],
    credentials: CredentialRow | None,
    known: PoolNames,
) -> PoolSpec:
    """A pool's rows as one value."""
    source = known.get(pool.source_nanio_pool_id or 0)
    return PoolSpec(
        id=pool.id,
        name=pool.name,
        type=cast("Any", pool.type),
        description=pool.description,
        lb_method=cast("Any", pool.lb_method),
        keepalive=pool.keepalive,
        members=tuple(_member_spec(member) for member in members),
        source_pool=source[0] if source else None,
        source_pool_id=pool.source_nanio_pool_id if source else None,
        credentials=_sealed(credentials) if credentials else None,
        updated_at=iso_time(pool.updated_at) or "",
    )


def vhost_spec(
    vhost: VhostRow, routes: Iterable[RouteRow], known: PoolNames, types: Collection[str]
) -> VhostSpec:
    """A vhost's rows as one value; ``types``: of the pools it uses."""
    default = known.get(vhost.default_pool_id or 0)
    used = default[1] if default else next(iter(types), "nanio")
    return VhostSpec(
        id=vhost.id,
        server_name=vhost.server_name,
        listen_port=vhost.listen_port,
        ssl=vhost.ssl,
        ssl_cert_path=vhost.ssl_cert_path,
        ssl_key_path=vhost.ssl_key_path,
        type=cast("PoolType", used),
        extra_directives=vhost.extra_directives or "",
        extra_blocks=stored_blocks(vhost.extra_blocks),
        enabled=vhost.enabled,
        description=vhost.description,
        default_pool=default[0] if default else None,
        default_pool_id=vhost.default_pool_id if default else None,
        ip_rule_mode=cast("Any", vhost.ip_rule_mode),
        ip_rules=stored_ips(vhost.ip_rule_ips),
        routes=tuple(route_spec(route, known[route.pool_id][0]) for route in routes),
        updated_at=iso_time(vhost.updated_at) or "",
    )


def route_spec(route: RouteRow, pool_name: str) -> RouteSpec:
    """A route's row as a value."""
    return RouteSpec(
        id=route.id,
        path_prefix=route.path_prefix,
        pool=pool_name,
        key_prefix=route.key_prefix,
        extra_directives=as_directives(route.extra_directives),
        enabled=route.enabled,
        description=route.description,
    )


def pool_draft(row: PoolRow) -> PoolDraft:
    """A pool as it is, to be changed."""
    return PoolDraft(**_fields(PoolDraft, row))


def member_draft(row: MemberRow) -> MemberDraft:
    """A member as it is, to be changed."""
    return MemberDraft(**_fields(MemberDraft, row))


def vhost_draft(row: VhostRow) -> VhostDraft:
    """A vhost as it is, to be changed."""
    fields = _fields(VhostDraft, row)
    fields["extra_blocks"] = stored_blocks(row.extra_blocks) or None
    fields["ip_rule_ips"] = stored_ips(row.ip_rule_ips) or None
    return VhostDraft(**fields)


def route_draft(row: RouteRow) -> RouteDraft:
    """A route as it is, to be changed."""
    return RouteDraft(**_fields(RouteDraft, row))


def vhost_columns(draft: VhostDraft) -> dict[str, Any]:
    """What is stored of a vhost."""
    columns = {name: getattr(draft, name) for name in VhostDraft.__dataclass_fields__}
    blocks = [{"zone": b.zone, "content": b.content} for b in draft.extra_blocks or ()]
    columns["extra_blocks"] = json.dumps(blocks) if blocks else None
    columns["ip_rule_ips"] = json.dumps(list(draft.ip_rule_ips)) if draft.ip_rule_ips else None
    return columns


def stored_blocks(text: str | None) -> tuple[BlockSpec, ...]:
    """Blocks from their JSON text."""
    return tuple(BlockSpec(**block) for block in json.loads(text or "[]"))


def stored_ips(text: str | None) -> tuple[str, ...]:
    """Addresses from their JSON text."""
    return tuple(json.loads(text or "[]"))


def row_fields(row: Base) -> dict[str, Any]:
    """A row's columns, as the audit shows them. Sealed values are left out."""
    return {
        column.name: getattr(row, column.name)
        for column in row.__table__.columns
        if not column.name.endswith("_enc")
    }


def _fields(kind: type[Any], row: Base) -> dict[str, Any]:
    return {name: getattr(row, name) for name in kind.__dataclass_fields__}


def _member_spec(row: MemberRow) -> MemberSpec:
    return MemberSpec(
        id=row.id,
        address=row.address,
        role=cast("Any", row.role),
        weight=row.weight,
        max_fails=row.max_fails,
        fail_timeout_s=row.fail_timeout_s,
        enabled=row.enabled,
        description=row.description,
    )


def _sealed(row: CredentialRow) -> dict[str, str | None]:
    return {
        "access_key_enc": row.access_key_enc,
        "secret_key_enc": row.secret_key_enc,
        "endpoint_url": row.endpoint_url,
        "region": row.region,
    }

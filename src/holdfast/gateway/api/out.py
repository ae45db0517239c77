"""Rows in the API's words, one function for each."""

import json

from holdfast.gateway.api.schemas import (
    MemberOut,
    NodeConfigRowOut,
    PoolOut,
    RouteCreated,
    RouteOut,
    VhostOut,
)
from holdfast.gateway.tables import MemberRow, NodeConfigRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.clock import row_time


def pool_out(row: PoolRow) -> PoolOut:
    """A pool's row for the API."""
    return PoolOut(
        **{
            name: getattr(row, name)
            for name in PoolOut.model_fields
            if name not in {"created_at", "updated_at"}
        },
        **_times(row),
    )


def member_out(row: MemberRow) -> MemberOut:
    """A member's row for the API."""
    return MemberOut(
        **{
            name: getattr(row, name)
            for name in MemberOut.model_fields
            if name not in {"created_at", "updated_at"}
        },
        **_times(row),
    )


def node_config_out(row: NodeConfigRow) -> NodeConfigRowOut:
    """A generated set-up's row for the API."""
    return NodeConfigRowOut(
        id=row.id,
        member_id=row.member_id,
        node_type=row.node_type,
        config_json=row.config_json,
        generated_at=row_time(row.generated_at),
    )


def vhost_out(row: VhostRow) -> VhostOut:
    """A vhost's row for the API."""
    special = {"created_at", "updated_at", "extra_blocks", "ip_rule_ips"}
    return VhostOut(
        **{name: getattr(row, name) for name in VhostOut.model_fields if name not in special},
        extra_blocks=json.loads(row.extra_blocks) if row.extra_blocks else None,
        ip_rule_ips=json.loads(row.ip_rule_ips) if row.ip_rule_ips else None,
        **_times(row),
    )


def route_out(row: RouteRow, pool_name: str) -> RouteOut:
    """A route's row for the API."""
    special = {"created_at", "updated_at", "pool_name"}
    return RouteOut(
        **{name: getattr(row, name) for name in RouteOut.model_fields if name not in special},
        pool_name=pool_name,
        **_times(row),
    )


def route_created(row: RouteRow, pool_name: str, default_pool_id: int | None) -> RouteCreated:
    """A new route's row for the API."""
    return RouteCreated(
        **route_out(row, pool_name).model_dump(),
        bucket=row.path_prefix.strip("/").partition("/")[0],
        default_pool_id=default_pool_id,
    )


def _times(row: PoolRow | MemberRow | VhostRow | RouteRow) -> dict[str, str | None]:
    return {"created_at": row_time(row.created_at), "updated_at": row_time(row.updated_at)}

"""Read the gateway's files back: ours and those of the older tool, with their sidecars.

A file says what nginx runs with, so it wins; a sidecar adds what a file cannot show (disabled
members and routes, descriptions, sealed credentials).
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.gateway.flags import FlagState, RouteFlags
from holdfast.gateway.parse_values import told_when_unfit
from holdfast.gateway.parse_vhost import newest, parse_vhost, text_of
from holdfast.gateway.render_model import (
    Balancing,
    GatewaySpec,
    MemberSpec,
    PoolSpec,
    PoolType,
    Role,
    RouteSpec,
    VhostSpec,
    pool_alias,
)
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

__all__ = ["flag_routes", "parse_files", "parse_pool", "parse_vhost", "with_flag_pools"]

_PLACEHOLDER = "127.0.0.1:9"
_HEAD = re.compile(
    r"(?:pool_id:(?P<id>\d+) )?name:(?P<name>\S+)(?: type:(?P<type>\S+))? updated:(?P<updated>\S*)"
)


def parse_files(files: Mapping[str, str], flags: RouteFlags | None = None) -> GatewaySpec:
    """Every pool and vhost of a generation, or of the older tool's folder. Paths are relative.

    ``flags`` say where a bucket route goes whose sidecar is gone.
    A file that cannot be read becomes a warning, never an error: what is readable is given back.
    """
    warnings: list[str] = []
    pools = []
    for name in _names(files, "pools/"):
        try:
            pools.append(parse_pool(name, *_pair(files, f"pools/{name}")))
        except Invalid as error:
            warnings.append(f"pools/{name}: {error.message}")
    sources = _source_names(files, pools)
    pools = [replace(p, source_pool=sources.get(p.name, p.source_pool)) for p in pools]
    types = {pool.name: pool.type for pool in pools}
    vhosts = []
    for name in _names(files, "vhosts/"):
        try:
            vhost = parse_vhost(name, *_pair(files, f"vhosts/{name}"))
        except Invalid as error:
            warnings.append(f"vhosts/{name}: {error.message}")
            continue
        if flags is not None:
            vhost = with_flag_pools(vhost, flags, types)
        used = {vhost.default_pool, *(route.pool for route in vhost.routes)}
        warnings += [
            f"vhosts/{name}: there is no pool {pool!r}"
            for pool in sorted(filter(None, used - types.keys()))
        ]
        vhosts.append(replace(vhost, type=_vhost_type(vhost, types)))
    return GatewaySpec(pools=tuple(pools), vhosts=tuple(vhosts), warnings=tuple(warnings))


@told_when_unfit
def parse_pool(name: str, conf: str | None, meta_text: str | None) -> PoolSpec:
    """A pool from its file, its sidecar, or both. Raises `Invalid` when nginx would not read it."""
    meta = load_meta(meta_text)
    nodes = parse(conf) if conf is not None else []
    upstream = next((node for node in nodes if node.name == "upstream"), None)
    head = next((m for node in nodes if node.comment and (m := _HEAD.search(node.name))), None)
    kind: PoolType = "http" if "http" in {meta.get("type"), head and head["type"]} else "nanio"
    known = [_member(entry, kind) for entry in meta.get("members") or []]
    servers = None if upstream is None else _servers(upstream, kind)
    block = (
        {node.name: node.arguments for node in (upstream.block or []) if not node.comment}
        if upstream
        else {}
    )
    return PoolSpec(
        name=str(meta.get("name") or (head["name"] if head else None) or name),
        type=kind,
        description=meta.get("description"),
        lb_method=_balancing(block, meta, has_file=upstream is not None),
        keepalive=_keepalive(block, meta, has_file=upstream is not None),
        members=tuple(known if servers is None else _merge(known, servers)),
        source_pool=meta.get("source_nanio_pool_name"),
        source_pool_id=_int(meta.get("source_nanio_pool_id")),
        credentials=meta.get("credentials"),
        id=_int(meta.get("pool_id")) or (_int(head["id"]) if head else None),
        updated_at=newest(head["updated"] if head else None, meta),
    )


def flag_routes(flags: RouteFlags, vhost: str, pools: Iterable[str]) -> list[RouteSpec]:
    """The bucket routes of a vhost that exist as flags; each names the pool that answers now.

    A flag that names none of ``pools`` is left out.
    """
    names = {pool_alias(name): name for name in pools}
    routes = []
    for _, bucket, flag in flags.list(vhost):
        on_target = flag.state in {FlagState.HOLDD, FlagState.DST}
        alias = flag.target_alias if on_target else flag.pool_alias
        if alias in names:
            routes.append(RouteSpec(path_prefix=f"/{bucket}/", pool=names[alias]))
    return routes


def with_flag_pools(vhost: VhostSpec, flags: RouteFlags, pools: Iterable[str]) -> VhostSpec:
    """Routes whose pool no file tells go where their flag says, or to the default pool."""
    if all(route.pool for route in vhost.routes):
        return vhost
    there = {r.bucket: r.pool for r in flag_routes(flags, vhost.server_name, pools)}
    routes = [
        replace(r, pool=r.pool or there.get(r.bucket) or vhost.default_pool or "")
        for r in vhost.routes
    ]
    return replace(vhost, routes=tuple(routes))


def load_meta(text: str | None) -> dict[str, Any]:
    """A sidecar; empty when there is none. Raises `Invalid` when it is no JSON object."""
    if text is None:
        return {}
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise Invalid(f"the sidecar is no JSON: {error}") from error
    if not isinstance(meta, dict):
        raise Invalid("the sidecar is no JSON object")
    return meta


def _names(files: Mapping[str, str], folder: str) -> list[str]:
    names = set()
    for path in files:
        if path.startswith(folder):
            name = path.removeprefix(folder)
            for ending in (".meta.json", ".conf"):
                if name.endswith(ending):
                    names.add(name.removesuffix(ending))
                    break
    return sorted(names)


def _pair(files: Mapping[str, str], base: str) -> tuple[str | None, str | None]:
    return files.get(f"{base}.conf"), files.get(f"{base}.meta.json")


def _source_names(files: Mapping[str, str], pools: Iterable[PoolSpec]) -> dict[str, str]:
    """The older tool's sidecars name the source pool by its id."""
    by_id = {pool.id: pool.name for pool in pools if pool.id is not None}
    found = {}
    for pool in pools:
        source = load_meta(files.get(f"pools/{pool.name}.meta.json")).get("source_nanio_pool_id")
        if pool.source_pool is None and source in by_id:
            found[pool.name] = by_id[source]
    return found


def _vhost_type(vhost: VhostSpec, types: Mapping[str, PoolType]) -> PoolType:
    used = [vhost.default_pool, *(route.pool for route in vhost.routes)]
    return next((types[name] for name in used if name and name in types), vhost.type)


def _member(entry: Mapping[str, Any], kind: PoolType) -> MemberSpec:
    usual: Role = "active" if kind == "nanio" else "primary"
    role = entry.get("role")
    return MemberSpec(
        address=str(entry["address"]),
        role=role if role in {"active", "primary", "replica"} else usual,
        weight=int(entry.get("weight", 1)),
        max_fails=int(entry.get("max_fails", 3)),
        fail_timeout_s=int(entry.get("fail_timeout_s", 30)),
        enabled=bool(entry.get("enabled", True)),
        description=text_of(entry.get("description")),
        id=_int(entry.get("id")),
    )


def _servers(upstream: Node, kind: PoolType) -> list[MemberSpec]:
    members = []
    for node in upstream.block or []:
        if node.comment or node.name != "server" or not node.arguments:
            continue
        address, *options = node.arguments
        if address == _PLACEHOLDER and "down" in options:
            continue
        values = dict(option.split("=", 1) for option in options if "=" in option)
        usual: Role = "active" if kind == "nanio" else "primary"
        members.append(
            MemberSpec(
                address=address,
                role="replica" if "backup" in options else usual,
                weight=int(values.get("weight", 1)),
                max_fails=int(values.get("max_fails", 3)),
                fail_timeout_s=_seconds(values.get("fail_timeout", "30s")),
                enabled="down" not in options,
            )
        )
    return members


def _merge(known: list[MemberSpec], servers: list[MemberSpec]) -> list[MemberSpec]:
    """Members of the sidecar as the file has them, then those that only the file has."""
    left, merged = list(servers), []
    only_replicas = not any(server.role == "replica" for server in servers)
    for member in known:
        server = next((s for s in left if s.address == member.address), None)
        if not member.enabled:
            merged.append(member)
        elif server is not None:
            left.remove(server)
            keep = server.role != "replica" and (member.role != "replica" or only_replicas)
            role = member.role if keep else server.role
            known_only = replace(server, id=member.id, description=member.description)
            merged.append(replace(known_only, role=role))
    return merged + left


def _balancing(block: Mapping[str, Any], meta: Mapping[str, Any], *, has_file: bool) -> Balancing:
    if not has_file:
        method = meta.get("lb_method")
        return method if method in {"round_robin", "ip_hash"} else "least_conn"
    return (
        "least_conn"
        if "least_conn" in block
        else "ip_hash"
        if "ip_hash" in block
        else "round_robin"
    )


def _keepalive(block: Mapping[str, Any], meta: Mapping[str, Any], *, has_file: bool) -> int:
    if has_file:
        return int(block["keepalive"][0]) if "keepalive" in block else 0
    value = meta.get("keepalive")
    return 32 if value is None else int(value)


def _seconds(text: str) -> int:
    """Nginx's time as seconds: ``90``, ``90s``, ``2m``, ``1h30m``."""
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1, "": 1}
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([dhms]?)(?!s)", text))


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else None

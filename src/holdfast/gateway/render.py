"""The gateway's nginx files: values in, text out. Specified in docs/reference/nginx-files.md."""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from holdfast.gateway.render_model import (
    ZONES,
    MemberSpec,
    PoolSpec,
    RenderContext,
    RouteSpec,
    VhostSpec,
)
from holdfast.gateway.render_text import S3_ANSWERS, environment, quoted_path, word
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

__all__ = [
    "pool_files",
    "pool_paths",
    "render_pool",
    "render_vhost",
    "vhost_files",
    "vhost_paths",
]

_SETTINGS: Mapping[str, str] = {
    "client_max_body_size": "0",
    "proxy_request_buffering": "off",
    "proxy_buffering": "        off",
}
"""Given once for the whole server, unless the operator's own directives give them."""
_HEADERS: Mapping[str, str] = {
    "Host": "$http_host",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$proxy_add_x_forwarded_for",
    "X-Forwarded-Proto": "$scheme",
    "Connection": '""',
}
"""Sent to every pool, unless the operator's own directives set them. The port stays in ``Host``."""
_HOP: Mapping[str, str] = {
    "Host": "holdfast-inner",
    "X-HF-Vhost": "$hf_vhost",
    "X-HF-Counted": "$hf_seen",
    "X-HF-Default": "=$hf_default_pool",
}
"""Sent to the inner server instead of ``Host``, which goes as ``X-HF-Host``."""
_NOT_FOR_THE_HOP = frozenset({"proxy_set_header", "proxy_read_timeout", "proxy_http_version"})
_FIXED = ("open_file_cache off", "recursive_error_pages on", "limit_conn_log_level info")


def render_pool(pool: PoolSpec) -> str:
    """The upstream block. A pool without enabled members is valid and answers 502."""
    enabled = [member for member in pool.members if member.enabled]
    as_backup = any(member.role != "replica" for member in enabled)
    if pool.lb_method == "ip_hash" and as_backup and any(m.role == "replica" for m in enabled):
        raise Invalid(
            f"pool {pool.name!r}: ip_hash cannot have replicas",
            hint="choose round_robin or least_conn, or disable the replicas",
        )
    return (
        environment()
        .get_template("pool.conf.j2")
        .render(pool=pool, servers=enabled, as_backup=as_backup)
    )


def render_vhost(vhost: VhostSpec, ctx: RenderContext, *, names: Collection[str] = ()) -> str:
    """The server block with every route that is not a mere flag.

    ``names``: those of all vhosts that share this block.
    """
    routes = [r for r in by_length(vhost.routes) if r.enabled and not r.is_plain_bucket]
    folder = "$hf_vhost" if names else vhost.server_name
    flags = f"{ctx.nginx_dir}/routes/{folder}/$hf_bucket"
    view = {
        "names": names,
        "s3": vhost.type == "nanio",
        "default_pool": vhost.default_pool or "",
        "flag": quoted_path(f"{flags}/cur"),
        "copied": quoted_path(f"{ctx.nginx_dir}/routes/{folder}/$hf_copied/cur"),
        "ready": quoted_path(f"{ctx.nginx_dir}/routes/.ready"),
        "dirty_log": word(f"{ctx.nginx_dir}/log/dirty.log"),
        "access_logs": _access_logs(_own_text(vhost), ctx),
        "headers": _headers(_own_text(vhost), ""),
    }
    return (
        environment()
        .get_template("vhost.conf.j2")
        .render(
            vhost=vhost,
            ctx=ctx,
            v=view,
            zones={
                zone: [block.content.strip() for block in vhost.extra_blocks if block.zone == zone]
                for zone in ZONES
            },
            settings=_settings(vhost),
            buckets=[(r, _route_view(r, vhost)) for r in routes if r.bucket is not None],
            static=[(r, _route_view(r, vhost)) for r in routes if r.bucket is None],
            plain=_route_view(None, vhost),
            **S3_ANSWERS,
        )
    )


def by_length(routes: Iterable[RouteSpec]) -> list[RouteSpec]:
    """Longest prefix first, as nginx would match; equal lengths by name."""
    return sorted(routes, key=lambda route: (-len(route.path_prefix), route.path_prefix))


def pool_paths(name: str) -> tuple[str, str]:
    """Relative paths of a pool's file and sidecar."""
    return f"pools/{name}.conf", f"pools/{name}.meta.json"


def pool_of(path: str) -> str:
    """The name of the pool whose file this is; else an empty one."""
    name = path.removeprefix("pools/").removesuffix(".conf")
    return name if pool_paths(name)[0] == path else ""


def vhost_paths(server_name: str) -> tuple[str, str]:
    """Relative paths of a vhost's file and sidecar."""
    return f"vhosts/{server_name}.conf", f"vhosts/{server_name}.meta.json"


def pool_files(pool: PoolSpec) -> dict[str, str]:
    """Relative path to text: the upstream and its sidecar."""
    conf, meta = pool_paths(pool.name)
    return {conf: render_pool(pool), meta: _json(_pool_meta(pool))}


def vhost_files(vhost: VhostSpec, ctx: RenderContext) -> dict[str, str]:
    """Relative path to text. A disabled vhost has only its sidecar: nginx does not serve it."""
    conf, meta = vhost_paths(vhost.server_name)
    files = {meta: _json(_vhost_meta(vhost))}
    return {conf: render_vhost(vhost, ctx), **files} if vhost.enabled else files


def _pool_meta(pool: PoolSpec) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "pool_id": pool.id,
        "name": pool.name,
        "type": pool.type,
        "description": pool.description,
        "updated_at": pool.updated_at,
        "lb_method": pool.lb_method,
        "keepalive": pool.keepalive,
        "source_nanio_pool_name": pool.source_pool,
        "members": [_member_meta(member) for member in pool.members],
        "format": 2,
    }
    if pool.source_pool_id is not None:
        meta["source_nanio_pool_id"] = pool.source_pool_id
    return {**meta, "credentials": dict(pool.credentials)} if pool.credentials else meta


def _member_meta(member: MemberSpec) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "id": member.id,
        "address": member.address,
        "role": member.role,
        "weight": member.weight,
        "max_fails": member.max_fails,
        "fail_timeout_s": member.fail_timeout_s,
        "enabled": member.enabled,
    }
    return meta | _description(member.description)


def _description(text: str | None) -> dict[str, str]:
    """Only where there is one: files of before descriptions stay as they are."""
    return {"description": text} if text else {}


def _vhost_meta(vhost: VhostSpec) -> dict[str, Any]:
    blocks = [{"zone": block.zone, "content": block.content} for block in vhost.extra_blocks]
    plain = dict(sorted(vhost.plain_descriptions.items()))
    meta: dict[str, Any] = {
        "vhost_id": vhost.id,
        "server_name": vhost.server_name,
        "default_pool_id": vhost.default_pool_id,
        "default_pool_name": vhost.default_pool,
        "extra_blocks_json": json.dumps(blocks) if blocks else None,
        "ip_rule_mode": vhost.ip_rule_mode,
        "ip_rule_ips_json": json.dumps(list(vhost.ip_rules)) if vhost.ip_rules else None,
        "updated_at": vhost.updated_at,
        "listen_port": vhost.listen_port,
        "ssl": vhost.ssl,
        "ssl_cert_path": vhost.ssl_cert_path,
        "ssl_key_path": vhost.ssl_key_path,
        "type": vhost.type,
        "extra_directives": vhost.extra_directives,
        "enabled": vhost.enabled,
        "routes": [_route_meta(r) for r in by_length(vhost.routes) if not r.is_plain_bucket],
        "format": 2,
    }
    meta |= _description(vhost.description)
    return meta | ({"plain_descriptions": plain} if plain else {})


def _route_meta(route: RouteSpec) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "id": route.id,
        "path_prefix": route.path_prefix,
        "pool": route.pool,
        "key_prefix": route.key_prefix,
        "extra_directives": route.extra_directives,
        "enabled": route.enabled,
    }
    return meta | _description(route.description)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _settings(vhost: VhostSpec) -> list[str]:
    """Our settings of the server block, without those that the operator gives himself."""
    given = directive_names(_own_text(vhost))
    settings = [f"{name} {value}" for name, value in _SETTINGS.items() if name not in given]
    settings += _FIXED
    if vhost.type == "nanio":
        settings.append("default_type application/xml")
    return settings


def _own_text(vhost: VhostSpec) -> str:
    return "\n".join([vhost.extra_directives, *(block.content for block in vhost.extra_blocks)])


def _route_view(route: RouteSpec | None, vhost: VhostSpec) -> dict[str, Any]:
    """The raw text of a route, and what nginx would no longer inherit because of it."""
    server, own = _own_text(vhost), route.extra_directives.strip() if route else ""
    kept = [n for n in parse(own) if not n.comment and n.name not in _NOT_FOR_THE_HOP]
    return {
        "own": own,
        # nginx sends on what the client sent; only a rewrite of the operator's could change that.
        # Each variable in a proxy_pass costs a TLS context: a tenth of a millisecond a reload.
        "uri": "$request_uri" if own or server.strip() else "",
        "headers": _headers(server, own, repeat=True) if own else [],
        "hop_own": [own[node.start : node.end] for node in kept],
        "hop_headers": _hop_headers(server, own),
    }


def _hop_headers(server: str, location: str) -> list[str]:
    """All headers, for the way through the inner server, and the ``Host`` that the pool gets."""
    every = _headers(server, location, repeat=True)
    every += [_text(location, node) for node in _named(location, "proxy_set_header")]
    hosts = [line.split(None, 2)[2] for line in every if line.split()[1].lower() == "host"]
    lines = [line for line in every if line.split()[1].lower() != "host"]
    lines += [f"proxy_set_header X-HF-Host {host}" for host in hosts[-1:]]
    return lines + [f"proxy_set_header {name} {value}" for name, value in _HOP.items()]


def _text(source: str, node: Node) -> str:
    return source[node.start : node.end].rstrip(";").rstrip()


def _headers(server: str, location: str, *, repeat: bool = False) -> list[str]:
    """Our header lines but those that the operator sets; with ``repeat`` also his of the server.

    A location with a header of its own inherits none, therefore they are repeated there.
    """
    inner = {node.arguments[0].lower() for node in _named(location, "proxy_set_header")}
    outer = _named(server, "proxy_set_header")
    taken = inner | {node.arguments[0].lower() for node in outer}
    lines = [f"proxy_set_header {n} {v}" for n, v in _HEADERS.items() if n.lower() not in taken]
    if "proxy_http_version" not in directive_names(f"{server}\n{location}"):
        lines.insert(0, "proxy_http_version 1.1")
    if repeat:
        kept = [node for node in outer if node.arguments[0].lower() not in inner]
        lines += [_text(server, node) for node in kept]
    return lines


def _access_logs(server: str, ctx: RenderContext) -> tuple[str, ...]:
    """Arguments of the access logs that a write goes to beside the dirty log."""
    own = [
        server[node.start : node.end].rstrip(";").split(None, 1)[1]
        for node in _named(server, "access_log")
    ]
    # "off" beside the dirty log would silence that too.
    return tuple(log for log in own or ctx.access_logs if log.split()[0] != "off")


def _named(text: str, name: str) -> list[Node]:
    return [n for n in parse(text) if not n.comment and n.name == name and n.arguments]


def directive_names(text: str) -> frozenset[str]:
    """Names of the top-level directives in raw nginx text."""
    return frozenset(node.name for node in parse(text) if not node.comment)

"""Read a vhost's file back."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from holdfast.gateway.parse_values import told_when_unfit
from holdfast.gateway.render import by_length
from holdfast.gateway.render_model import ZONES, BlockSpec, PoolType, RouteSpec, VhostSpec, Zone
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

_HEAD = re.compile(r"(?:vhost_id:(?P<id>\d+) )?name:(?P<name>\S+) updated:(?P<updated>\S*)")
_ROUTE = re.compile(r"(?:route_id:(?P<id>\d+) )?prefix:(?P<prefix>/\S*)")
_RAW = re.compile(r"# holdfast: (directives|block (?P<zone>top|ssl|proxy|end))")
_RAW_END = "# holdfast: end"
_OLDER = frozenset(
    {
        "listen", "http2", "server_name", "ssl_certificate", "ssl_certificate_key",
        "client_max_body_size", "proxy_request_buffering", "proxy_buffering", "allow", "deny",
    }
)  # fmt: skip
_OLDER_IN_LOCATION = frozenset(
    {
        "rewrite", "proxy_pass", "proxy_http_version", "error_page", "if", "proxy_intercept_errors",
    }
)  # fmt: skip
_OLDER_HEADERS = frozenset({"Host", "X-Real-IP", "X-Forwarded-For", "Connection"})


@dataclass(slots=True)
class _Read:
    """What was found in a server block, before the sidecar."""

    plain: list[Node] = field(default_factory=list)
    """Directives outside of raw text and locations."""
    blocks: list[BlockSpec] = field(default_factory=list)
    directives: str = ""
    routes: list[RouteSpec] = field(default_factory=list)
    default_pool: str | None = None


@told_when_unfit
def parse_vhost(name: str, conf: str | None, meta_text: str | None) -> VhostSpec:
    """A vhost from its file, its sidecar, or both; routing flags are not part of it.

    The pool of a bucket route with directives is only in the sidecar (and in the flag): without
    that it is "", see `parse.with_flag_pools`.
    Raises `Invalid` for text that nginx would not read.
    """
    meta = _meta(meta_text)
    if conf is None:
        return _from_meta(name, meta)
    nodes = parse(conf)
    server = next(
        (node for node in nodes if node.name == "server" and node.block is not None), None
    )
    if server is None or server.block is None:
        raise Invalid("there is no server block in it")
    head = next((m for n in nodes if n.comment and (m := _HEAD.search(n.name))), None)
    ours = any(node.comment and "managed by holdfast" in node.name for node in nodes)
    read = _read_ours(conf, server.block) if ours else _read_older(conf, server.block, meta)
    return _merge(name, read, meta, head)


def _meta(text: str | None) -> dict[str, Any]:
    try:
        meta = json.loads(text or "{}")
    except ValueError as error:
        raise Invalid(f"the sidecar is no JSON: {error}") from error
    if not isinstance(meta, dict):
        raise Invalid("the sidecar is no JSON object")
    return meta


def _merge(
    name: str, read: _Read, meta: Mapping[str, Any], head: re.Match[str] | None
) -> VhostSpec:
    listen = _arguments(read.plain, "listen") or ("443", "ssl")
    mode, rules = _ip_rules(read.plain)
    kind: PoolType = "http" if meta.get("type") == "http" else "nanio"
    ssl = "ssl" in listen
    known = _meta_routes(meta)
    disabled = [route for route in known if not route.enabled]
    told = {route.path_prefix: route.description for route in known}
    pools = {route.path_prefix: route.pool for route in known}
    served = [
        replace(
            route,
            pool=route.pool or pools.get(route.path_prefix, ""),
            description=told.get(route.path_prefix),
        )
        for route in read.routes
    ]
    return VhostSpec(
        server_name=(_arguments(read.plain, "server_name") or (name,))[0],
        listen_port=int(listen[0].rpartition(":")[2]),
        ssl=ssl,
        ssl_cert_path=_first(read.plain, "ssl_certificate") if ssl else meta.get("ssl_cert_path"),
        ssl_key_path=_first(read.plain, "ssl_certificate_key") if ssl else meta.get("ssl_key_path"),
        type=kind,
        extra_directives=read.directives,
        extra_blocks=_in_order(read.blocks, _meta_blocks(meta)),
        enabled=bool(meta.get("enabled", True)),
        default_pool=read.default_pool,
        default_pool_id=_int(meta.get("default_pool_id")) if read.default_pool else None,
        ip_rule_mode=cast("Any", mode),
        ip_rules=rules if mode else _meta_rules(meta),
        routes=tuple(by_length([*served, *disabled])),
        id=_int(meta.get("vhost_id")) or (_int(head["id"]) if head else None),
        updated_at=newest(head["updated"] if head else None, meta),
        description=text_of(meta.get("description")),
        plain_descriptions=_plain_descriptions(meta),
    )


def _from_meta(name: str, meta: Mapping[str, Any]) -> VhostSpec:
    kind: PoolType = "http" if meta.get("type") == "http" else "nanio"
    mode = meta.get("ip_rule_mode")
    return VhostSpec(
        server_name=str(meta.get("server_name") or name),
        listen_port=int(meta.get("listen_port") or 443),
        ssl=bool(meta.get("ssl", True)),
        ssl_cert_path=meta.get("ssl_cert_path"),
        ssl_key_path=meta.get("ssl_key_path"),
        type=kind,
        extra_directives=str(meta.get("extra_directives") or "").strip(),
        extra_blocks=tuple(_meta_blocks(meta)),
        enabled=bool(meta.get("enabled", True)),
        default_pool=meta.get("default_pool_name"),
        default_pool_id=_int(meta.get("default_pool_id")),
        ip_rule_mode=mode if mode in {"allow", "deny"} else None,
        ip_rules=_meta_rules(meta),
        routes=tuple(by_length(_meta_routes(meta))),
        id=_int(meta.get("vhost_id")),
        updated_at=str(meta.get("updated_at") or ""),
        description=text_of(meta.get("description")),
        plain_descriptions=_plain_descriptions(meta),
    )


def text_of(value: object) -> str | None:
    """A text of a sidecar; None for anything else."""
    return value if value and isinstance(value, str) else None


def newest(head: str | None, meta: Mapping[str, Any]) -> str:
    """When it was changed: a change of words that nginx does not read is only in the sidecar."""
    return max(head or "", str(meta.get("updated_at") or ""))


def _plain_descriptions(meta: Mapping[str, Any]) -> dict[str, str]:
    found = meta.get("plain_descriptions")
    entries = found.items() if isinstance(found, dict) else ()
    return {prefix: text for prefix, value in entries if (text := text_of(value))}


def _read_ours(conf: str, nodes: Sequence[Node]) -> _Read:
    read, at = _Read(), 0
    route: re.Match[str] | None = None
    while at < len(nodes):
        node = nodes[at]
        raw = _RAW.fullmatch(node.name) if node.comment else None
        if raw:
            text, at = _raw_text(conf, nodes, at)
            if raw["zone"]:
                read.blocks.append(BlockSpec(zone=cast("Zone", raw["zone"]), content=text))
            else:
                read.directives = text
        elif node.comment:
            route = _ROUTE.search(node.name)
        elif node.name == "location" and route and route["prefix"] != "/":
            read.routes.append(_our_route(conf, route, node, read.default_pool))
            route = None
        elif node.name == "set" and node.arguments[:1] == ("$hf_default_pool",):
            read.default_pool = node.arguments[1] or None
        elif node.name != "location":
            read.plain.append(node)
        at += 1
    return read


def _our_route(conf: str, comment: re.Match[str], node: Node, default: str | None) -> RouteSpec:
    block = node.block or []
    fields = dict(part.split(":", 1) for part in comment.string.split() if ":" in part)
    directives = ""
    for at, child in enumerate(block):
        if child.comment and _RAW.fullmatch(child.name):
            directives, _ = _raw_text(conf, block, at)
            break
    sets = [
        c.arguments[1] for c in block if c.name == "set" and c.arguments[0] == "$hf_default_pool"
    ]
    target = (_first(block, "proxy_pass") or "").removeprefix("http://")
    pool = target.partition("/")[0]
    if pool == "$hf_pool":  # the flag says it; files of before named the pool, too
        named = default or fields["pool"] if "pool" in fields else ""
        pool = sets[0] if sets else named
    return RouteSpec(
        path_prefix=comment["prefix"],
        pool=pool,
        key_prefix=fields.get("key_prefix"),
        extra_directives=directives,
        id=_int(comment["id"]),
    )


def _raw_text(conf: str, nodes: Sequence[Node], at: int) -> tuple[str, int]:
    """The raw text after the marker at ``at``, and the index of the marker that ends it."""
    for end in range(at + 1, len(nodes)):
        if nodes[end].comment and nodes[end].name == _RAW_END:
            return conf[nodes[at].end : nodes[end].start].strip(), end
    raise Invalid(f"the marker {nodes[at].name!r} has no end")


def _read_older(conf: str, nodes: Sequence[Node], meta: Mapping[str, Any]) -> _Read:
    read = _Read(blocks=_meta_blocks(meta))
    in_blocks = Counter(_key(n) for b in read.blocks for n in parse(b.content) if not n.comment)
    comment: re.Match[str] | None = None
    extra = []
    for node in nodes:
        if node.comment:
            comment = _ROUTE.search(node.name) or comment
        elif in_blocks[_key(node)]:
            in_blocks[_key(node)] -= 1
        elif node.name == "location" and comment and node.arguments[-1] == comment["prefix"]:
            _older_route(conf, read, comment, node)
            comment = None
        elif node.name in _OLDER:
            read.plain.append(node)
        elif not (node.name == "location" and node.arguments[0].startswith("@nanio_mig_")):
            extra.append(conf[node.start : node.end])
    read.directives = "\n".join(extra)
    read.default_pool = read.default_pool or meta.get("default_pool_name")
    return read


def _older_route(conf: str, read: _Read, comment: re.Match[str], node: Node) -> None:
    block = [child for child in node.block or [] if not child.comment]
    pool = (_first(block, "proxy_pass") or "").removeprefix("http://").partition("/")[0]
    if comment["prefix"] == "/":
        read.default_pool = pool
        return
    rewritten = _arguments(block, "rewrite")
    target = rewritten[1] if rewritten else ""
    key_prefix = target.removesuffix("$1").strip("/")
    extra = [conf[child.start : child.end] for child in block if not _usual_in_older(child)]
    read.routes.append(
        RouteSpec(
            path_prefix=comment["prefix"],
            pool=pool,
            key_prefix=key_prefix or None,
            extra_directives="\n".join(extra),
            id=_int(comment["id"]),
        )
    )


def _usual_in_older(node: Node) -> bool:
    if node.name == "proxy_set_header":
        return bool(node.arguments) and node.arguments[0] in _OLDER_HEADERS
    return node.name in _OLDER_IN_LOCATION


def _key(node: Node) -> tuple[Any, ...]:
    block = tuple(_key(child) for child in node.block or [] if not child.comment)
    return (*node.words, block)


def _ip_rules(nodes: Iterable[Node]) -> tuple[str | None, tuple[str, ...]]:
    rules = [(node.name, node.arguments[0]) for node in nodes if node.name in {"allow", "deny"}]
    allowed = tuple(address for name, address in rules if name == "allow")
    if allowed:
        return "allow", allowed
    denied = tuple(address for name, address in rules if address != "all")
    return ("deny", denied) if denied else (None, ())


def _in_order(found: list[BlockSpec], known: list[BlockSpec]) -> tuple[BlockSpec, ...]:
    """The order in which they were given, when the file has the same ones."""
    plain = [BlockSpec(zone=block.zone, content=block.content.strip()) for block in known]
    return tuple(plain if Counter(plain) == Counter(found) else found)


def _meta_blocks(meta: Mapping[str, Any]) -> list[BlockSpec]:
    entries = meta.get("extra_blocks_json")
    if isinstance(entries, str):
        entries = json.loads(entries or "[]")
    return [
        BlockSpec(zone=entry["zone"], content=str(entry["content"]))
        for entry in entries or []
        if entry.get("zone") in ZONES
    ]


def _meta_rules(meta: Mapping[str, Any]) -> tuple[str, ...]:
    rules = meta.get("ip_rule_ips_json")
    if isinstance(rules, str):
        rules = json.loads(rules or "[]")
    return tuple(str(rule) for rule in rules or [])


def _meta_routes(meta: Mapping[str, Any]) -> list[RouteSpec]:
    return [
        RouteSpec(
            path_prefix=entry["path_prefix"],
            pool=entry["pool"],
            key_prefix=entry.get("key_prefix"),
            extra_directives=str(entry.get("extra_directives") or "").strip(),
            enabled=bool(entry.get("enabled", True)),
            description=text_of(entry.get("description")),
            id=_int(entry.get("id")),
        )
        for entry in meta.get("routes") or []
    ]


def _arguments(nodes: Iterable[Node], name: str) -> tuple[str, ...]:
    return next((n.arguments for n in nodes if n.name == name and not n.comment), ())


def _first(nodes: Iterable[Node], name: str) -> str | None:
    return next(iter(_arguments(nodes, name)), None)


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else None

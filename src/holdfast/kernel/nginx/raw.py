"""Raw nginx text: its words, and whether it stays inside the block that it is put in."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

Place = Literal["server", "location"]

MARKER = "# holdfast:"
"""Begins the comments that tell our reader where raw text starts and ends."""

_HINT = "see the list of directives that are not accepted in docs/reference/nginx-files.md"
_CODE = ("lua_", "perl", "js_", "content_by_", "access_by_", "rewrite_by_", "header_filter_by_")
_CODE_BLOCKS = ("_by_lua", "_by_lua_block", "_by_lua_file")
_REFUSED: Mapping[str, str] = {
    "include": "it reads files that Holdfast does not know of",
    "load_module": "modules are loaded in the operator's own file",
    "server": "it would begin another server",
    "upstream": "servers belong to pools",
    "http": "it stands outside of every server",
    "events": "it stands outside of every server",
    "stream": "it stands outside of every server",
    "mail": "it stands outside of every server",
    "map": "it stands outside of every server",
    "geo": "it stands outside of every server",
    "split_clients": "it stands outside of every server",
    "limit_conn_zone": "it stands outside of every server",
    "limit_req_zone": "it stands outside of every server",
    "proxy_cache_path": "it stands outside of every server",
    "log_format": "it stands outside of every server",
    "user": "it stands outside of every server",
    "daemon": "it stands outside of every server",
    "pid": "it stands outside of every server",
    "master_process": "it stands outside of every server",
    "worker_processes": "it stands outside of every server",
    "env": "it stands outside of every server",
    "thread_pool": "it stands outside of every server",
    "ssl_engine": "it loads code",
    "recursive_error_pages": "the routing of buckets stands on it",
    "open_file_cache": "the routing of buckets stands on it",
    "disable_symlinks": "the routing of buckets stands on it",
    "proxy_next_upstream_non_idempotent": "a write could be applied twice",
    "listen": "the port is a field of the vhost",
    "server_name": "the name is a field of the vhost",
    "dav_methods": "it would write files of this machine",
    "create_full_put_path": "it would write files of this machine",
    "client_body_in_file_only": "it would keep the bodies of requests",
    "client_body_temp_path": "it writes files with the rights of nginx",
    "proxy_temp_path": "it writes files with the rights of nginx",
    "proxy_store": "it writes files with the rights of nginx",
}
_REFUSED_ON_THE_WAY: Mapping[str, str] = {
    "proxy_pass": "where a request goes is said by routes",
    "fastcgi_pass": "where a request goes is said by routes",
    "uwsgi_pass": "where a request goes is said by routes",
    "scgi_pass": "where a request goes is said by routes",
    "grpc_pass": "where a request goes is said by routes",
    "memcached_pass": "where a request goes is said by routes",
    "auth_request": "the gate of live migrations stands on it",
    "auth_request_set": "the gate of live migrations stands on it",
    "limit_conn": "the counters of live migrations stand on it",
    "limit_conn_dry_run": "the counters of live migrations stand on it",
    "limit_conn_status": "the counters of live migrations stand on it",
    "root": "the routing of buckets stands on it",
    "alias": "the routing of buckets stands on it",
    "index": "the routing of buckets stands on it",
    "try_files": "where a request goes is said by routes",
    "rewrite": "where a request goes is said by routes",
    "proxy_next_upstream": "a write could be applied twice",
    "proxy_method": "it would change what a request does",
    "proxy_intercept_errors": "the answers of the pool go to the client as they are",
    "proxy_cache": "a cached answer could be older than a write",
    "proxy_set_body": "it would change what a request does",
    "proxy_pass_request_body": "it would change what a request does",
    "proxy_ignore_client_abort": "the dirty log stands on it",
    "internal": "it would close the vhost",
    "satisfy": "the gate of live migrations stands on it",
    "default_type": "the answers of the gateway stand on it",
}
"""Refused where it acts on the gateway's own locations; fine in a location of the operator."""


_LOG = re.compile(r"off|(?:/var/log/|logs/)(?!.*\.\.)[A-Za-z0-9._/-]+", re.ASCII)


def check_raw(field: str, text: str, place: Place) -> None:
    """Refuse raw text that leaves its block, or that does what raw text may not.

    ``place``: put into a server block, or into the location of a route. Raises `Invalid` that names
    the field, what was found, and what to do.
    """
    if MARKER in text or re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text.replace("\r\n", "\n")):
        raise Invalid(f"{field}: control characters and the comment {MARKER!r} are not accepted")
    try:
        nodes = parse(text)
    except Invalid as error:
        raise Invalid(
            f"{field}: {error.message}",
            hint="end each directive with ';', close each block and quote in the same field",
        ) from error
    _check(field, nodes, place, inside=False)


def _check(field: str, nodes: Sequence[Node], place: Place, *, inside: bool) -> None:
    for node in nodes:
        if node.comment:
            continue
        reason = _why_not(node, place, inside=inside)
        if reason:
            raise Invalid(
                f"{field}: the directive {node.name!r} is not accepted: {reason}", hint=_HINT
            )
        _check(field, node.block or (), place, inside=inside or node.name == "location")


def _why_not(node: Node, place: Place, *, inside: bool) -> str:
    name = node.name
    if any("$hf_" in word or "${hf_" in word for word in node.words):
        return "variables that begin with hf_ belong to the gateway"
    if name.startswith(_CODE) or name.endswith(_CODE_BLOCKS):
        return "it runs code inside nginx"
    if name == "access_log" and place == "location" and node.arguments[:1] == ("off",):
        return "it would silence the log by which buckets are moved"
    if name in {"access_log", "error_log"}:
        allowed = not node.arguments or _LOG.fullmatch(node.arguments[0])
        return "" if allowed else "logs go to /var/log, or to logs/ below nginx's prefix"
    if name == "location":
        return _why_no_location(node, place)
    return _REFUSED.get(name, "") or ("" if inside else _REFUSED_ON_THE_WAY.get(name, ""))


def _why_no_location(node: Node, place: Place) -> str:
    if place == "location":
        return "a route is one location"
    if any("_hf/" in word or "@hf_" in word for word in node.arguments):
        return "the name belongs to the gateway"
    return ""

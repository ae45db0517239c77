"""``http.conf``: what the operator's main file includes. docs/reference/nginx-files.md."""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from holdfast.gateway.render import render_vhost, vhost_paths
from holdfast.gateway.render_model import (
    DEFAULT_POOL,
    RenderContext,
    ServedVhost,
    VhostSpec,
    pool_alias,
)
from holdfast.gateway.render_text import environment, quoted_path, word

_AUTH = r"x-id=[^&]*|X-Amz-[A-Za-z0-9-]+=[^&]*|AWSAccessKeyId=[^&]*|Signature=[^&]*|Expires=[^&]*"
_UPLOAD = r"[A-Za-z0-9_~%=+.-]{1,255}"


def http_conf(
    ctx: RenderContext,
    *,
    generation: int,
    directory: str,
    pools: Iterable[str],
    vhosts: Collection[ServedVhost] = (),
    extra: Collection[str] = (),
    former: Mapping[str, str] = MappingProxyType({}),
    shared: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, str]:
    """Relative path to text of what the operator's file includes.

    ``directory``: this generation's own, absolute. ``vhosts``: all that are enabled. ``extra``:
    paths of files that somebody put there. ``former``: aliases that flags still name, of pools
    that are no more, and the pools instead. ``shared``: pools with a server of others, each with
    the pool that stands for all of these.
    """
    flags = f"{ctx.nginx_dir}/routes/$hf_inner_vhost/$hf_bucket"
    named = [(name, pool_alias(name)) for name in sorted(pools)]
    named += [(name, alias) for alias, name in sorted(former.items())]
    text = (
        environment()
        .get_template("http.conf.j2")
        .render(
            ctx=ctx,
            generation=generation,
            directory=directory,
            aliases=[
                (name if name == DEFAULT_POOL else word(name), alias)
                for name, alias in named
                if name != alias
            ],
            servers=_servers(vhosts, extra, ctx, directory),
            shared=sorted(shared.items()),
            copied=quoted_path(f"{ctx.nginx_dir}/routes/$hf_inner_vhost/$hf_copied/cur"),
            auth=_AUTH,
            upload=_UPLOAD,
            flag=quoted_path(f"{flags}/cur"),
            pins=quoted_path(f"{flags}/pins/$hf_upload"),
            dirty_log=word(f"{ctx.nginx_dir}/log/dirty.log"),
        )
    )
    return {"http.conf": text}


def _servers(
    vhosts: Collection[ServedVhost], extra: Collection[str], ctx: RenderContext, directory: str
) -> list[str]:
    """Includes and shared blocks, sorted by (first) name.

    The first vhost of a port has its own block, so that ``$host`` in a shared one is always one of
    its names.
    """
    found: dict[str, str] = {}
    shared: dict[tuple[int, str], list[str]] = {}
    ports: set[int] = set()
    for vhost in sorted(vhosts, key=lambda vhost: vhost.server_name):
        is_first = vhost.listen_port not in ports
        ports.add(vhost.listen_port)
        if vhost.is_plain and vhost.default_pool and not is_first:
            shared.setdefault((vhost.listen_port, vhost.default_pool), []).append(vhost.server_name)
        else:
            found[vhost.server_name] = _include(directory, vhost_paths(vhost.server_name)[0])
    for (port, pool), names in shared.items():
        one = VhostSpec(server_name=names[0], listen_port=port, ssl=False, default_pool=pool)
        found[names[0]] = render_vhost(one, ctx, names=names)
    added = [path for path in sorted(extra) if re.fullmatch(r"vhosts/[^/]+\.conf", path)]
    return [found[name] for name in sorted(found)] + [_include(directory, path) for path in added]


def reads_vhost_file(main: str, path: str) -> bool:
    """Whether ``http.conf`` includes this vhost's file; else a shared block stands for it."""
    return _only(f"/{path}") in main


def _include(directory: str, path: str) -> str:
    """By a pattern that matches this one file: nginx lets it be missing."""
    return f"include {word(_only(f'{directory}/{path}'))};"


def _only(path: str) -> str:
    escaped = re.sub(r"([*?\[\]])", r"[\1]", path)
    return f"{escaped[:-1]}[f]"

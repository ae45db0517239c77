"""What one pool's or vhost's files on disk say, and what of them would be lost in the rows."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import render
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import MemberDraft, PoolDraft, RouteDraft, VhostDraft, role_for
from holdfast.gateway.parse import load_meta, parse_pool, parse_vhost
from holdfast.gateway.render_model import GatewaySpec, PoolSpec, RenderContext, VhostSpec
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_member, check_pool, check_route, check_vhost
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.clock import now, parse_time
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx.syntax import Node, parse

Line = tuple[str, str]
"""Where a directive stands, and the directive."""
_USUAL = frozenset({"weight=1", "max_fails=3", "fail_timeout=30s"})
"""Said or left out, a member is the same."""
FOLLOWS = frozenset(
    {
        "updated_at",
        "pool_id",
        "vhost_id",
        "id",
        "format",
        "source_nanio_pool_id",
        "default_pool_id",
    }
)
"""Fields of a sidecar that are not the operator's to change."""


async def stored(session: AsyncSession) -> GatewaySpec:
    """Everything that the rows say."""
    pools = list(await session.scalars(select(PoolRow.name)))
    vhosts = list(await session.scalars(select(VhostRow.server_name)))
    return GatewaySpec(
        pools=tuple(await rows.pool_specs(session, pools)),
        vhosts=tuple(await rows.vhost_specs(session, vhosts)),
    )


async def keep_times(session: AsyncSession, spec: GatewaySpec) -> None:
    """Rows get the times that their files have, so that the files are as they would be written."""
    pools = {pool.name: pool for pool in spec.pools}
    for pool in await session.scalars(select(PoolRow)):
        if pool.name in pools:
            pool.updated_at = moment_of(pools[pool.name])
    vhosts = {vhost.server_name: vhost for vhost in spec.vhosts}
    for vhost in await session.scalars(select(VhostRow)):
        if vhost.server_name in vhosts:
            vhost.updated_at = moment_of(vhosts[vhost.server_name])
    await session.flush()


def moment_of(spec: PoolSpec | VhostSpec) -> datetime:
    """When its file says that it was changed; now when it says nothing."""
    try:
        return parse_time(spec.updated_at) or now()
    except ValueError:
        return now()


def read_pool(gateway: Gateway, name: str) -> PoolSpec:
    """A pool as its files are now. Raises ``Invalid`` naming what the rows could not keep."""
    conf_path, meta_path = render.pool_paths(name)
    conf, meta = gateway.generations.read(conf_path), gateway.generations.read(meta_path)
    spec = parse_pool(name, conf, meta)
    _check_name(spec.name, name, conf_path)
    check_pool_spec(spec)
    if conf is not None:
        _check_lost(gateway, conf_path, conf, render.render_pool(spec))
    _check_meta(gateway, meta_path, meta, render.pool_files(spec)[meta_path])
    return spec


def read_vhost(gateway: Gateway, name: str, context: RenderContext) -> VhostSpec:
    """A vhost as its files are now. Raises ``Invalid`` naming what the rows could not keep.

    Directives of the server block that are none of ours become its own directives.
    """
    conf_path, meta_path = render.vhost_paths(name)
    conf, meta = gateway.generations.read(conf_path), gateway.generations.read(meta_path)
    spec = parse_vhost(name, conf, meta)
    spec = dataclasses.replace(spec, type=load_meta(meta).get("type", spec.type))
    if conf is not None:
        spec = _with_new_directives(spec, conf, context)
    _check_name(spec.server_name, name, conf_path)
    check_vhost_spec(spec)
    if conf is not None:
        _check_lost(gateway, conf_path, conf, render.render_vhost(spec, context))
    _check_meta(gateway, meta_path, meta, render.vhost_files(spec, context)[meta_path])
    return spec


def check_pool_spec(spec: PoolSpec) -> None:
    """The same rules as by the API. Raises ``Invalid`` and ``BadRequest``."""
    check_pool(PoolDraft(name=spec.name, type=spec.type))
    for member in spec.members:
        check_member(MemberDraft(address=member.address))
        role_for(spec.type, member.role)


def check_vhost_spec(spec: VhostSpec) -> None:
    """The same rules as by the API. Raises ``Invalid``."""
    check_vhost(
        VhostDraft(
            server_name=spec.server_name,
            ssl_cert_path=spec.ssl_cert_path,
            ssl_key_path=spec.ssl_key_path,
            extra_directives=spec.extra_directives or None,
            extra_blocks=spec.extra_blocks or None,
            ip_rule_mode=spec.ip_rule_mode,
            ip_rule_ips=spec.ip_rules or None,
        )
    )
    for route in spec.routes:
        check_route(
            RouteDraft(
                vhost_id=0,
                pool_id=0,
                path_prefix=route.path_prefix,
                key_prefix=route.key_prefix,
                extra_directives=route.extra_directives or None,
            )
        )


def _with_new_directives(spec: VhostSpec, conf: str, context: RenderContext) -> VhostSpec:
    """Plain directives that somebody added to the server block, kept as the vhost's own."""
    server = next((n for n in parse(conf) if n.name == "server" and n.block is not None), None)
    ours = _lines(parse(render.render_vhost(spec, context)))
    added = []
    for node in (server.block or []) if server else []:
        line = ("server", " ".join(node.words))
        if node.comment or node.block is not None:
            continue
        if ours[line]:
            ours[line] -= 1
        else:
            added.append(conf[node.start : node.end])
    text = "\n".join([spec.extra_directives, *added]).strip()
    return dataclasses.replace(spec, extra_directives=text)


def _check_name(found: str, name: str, path: str) -> None:
    if found != name:
        raise Invalid(
            f"{path} says that it is {found!r}", hint="rename by the API, not in the file"
        )


def _check_lost(gateway: Gateway, path: str, there: str, rendered: str) -> None:
    """Raises ``Invalid`` with the edited lines that would go, or come back."""
    written = gateway.generations.written(path)
    now, then = _lines(parse(there)), _lines(parse(rendered))
    before = _lines(parse(written)) if written is not None else Counter(())
    lost = list(((now - then) & (now - before)).elements())
    back = list(((then - now) & (before - now)).elements())
    if lost or back:
        words = [f"would be lost: {_shown(lost)}"] if lost else []
        words += [f"would come back: {_shown(back)}"] if back else []
        raise Invalid(
            f"{path} says what cannot be stored; {'; '.join(words)}",
            hint="say it by the API (extra_directives, extra_blocks), then rewrite the file",
            details={"lost": [line for _, line in lost], "back": [line for _, line in back]},
        )


def _check_meta(gateway: Gateway, path: str, there: str | None, rendered: str) -> None:
    """The same for the edited fields of a sidecar."""
    if there is None:
        return
    now, then = _plain(load_meta(there)), _plain(load_meta(rendered))
    before = _plain(load_meta(gateway.generations.written(path)))
    lost = [key for key in now if now[key] != before.get(key) and now[key] != then.get(key)]
    if lost:
        raise Invalid(
            f"{path} says what cannot be stored; would be lost: {', '.join(sorted(lost))}",
            hint="change it by the API, then rewrite the file",
            details={"lost": sorted(lost), "back": []},
        )


def _plain(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Without the fields that follow, and with all that means nothing alike."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in FOLLOWS}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value or None


def _lines(nodes: Iterable[Node]) -> Counter[Line]:
    return Counter(_walk(nodes, ""))


def _walk(nodes: Iterable[Node], where: str) -> Iterator[Line]:
    for node in nodes:
        if node.comment:
            continue
        words = [node.name, *sorted(node.arguments)] if node.name == "server" else node.words
        line = " ".join(word for word in words if node.name != "server" or word not in _USUAL)
        yield where, line
        yield from _walk(node.block or [], f"{where} {line}".strip())


def _shown(lines: list[Line]) -> str:
    return ", ".join(f"{line!r} in {where or 'the file'}" for where, line in lines[:5])

"""The files of nginx's that a transaction changes."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import render
from holdfast.gateway.context import Gateway
from holdfast.gateway.render_model import RenderContext
from holdfast.gateway.service import rows
from holdfast.kernel.errors import AppError

GATE_MARGIN_SECONDS = 2
"""For the driver to step back in when a hold took too long."""
_UPDATED = re.compile(r"^(# .* updated:)\S*$", re.MULTILINE)


async def render_context(gateway: Gateway) -> RenderContext:
    """What files depend on beside the rows. Without an nginx program: its usual values."""
    nginx, root = gateway.nginx, gateway.settings.nginx_root
    longest_wait = ceil(gateway.settings.migration_max_hold_seconds) + GATE_MARGIN_SECONDS
    try:
        build, main = await nginx.build(), await nginx.main_file()
    except AppError:
        return RenderContext(
            nginx_dir=root, control_port=nginx.control_port, gate_timeout_seconds=longest_wait
        )
    return RenderContext(
        nginx_dir=root,
        control_port=nginx.control_port,
        gate_timeout_seconds=longest_wait,
        http2="directive" if build.http2 == "directive" else "listen",
        counts_requests=build.counts_requests,
        access_logs=main.access_logs,
        hash_sizes=not main.hash_sizes,
    )


@dataclass(frozen=True, slots=True)
class Files:
    """Texts by path, and paths that must go."""

    changed: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    new_vhosts: frozenset[str] = frozenset()
    """No generation knows them yet: their flags can be set before the switch."""
    gone_vhosts: frozenset[str] = frozenset()
    """No row knows them any more: their flags serve until the switch."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)

    @property
    def only_sidecars(self) -> bool:
        """True when nginx reads none of them."""
        return not any(path.endswith(".conf") for path in (*self.changed, *self.removed))


async def changed_files(
    session: AsyncSession, gateway: Gateway, pools: Collection[str], vhosts: Collection[str]
) -> Files:
    """The files of these pools and vhosts that are not on disk as they should be."""
    if not (pools or vhosts):
        return Files()
    generations = gateway.generations
    wanted: dict[str, str] = {}
    possible: set[str] = set()
    for name in pools:
        possible.update(render.pool_paths(name))
    for name in vhosts:
        possible.update(render.vhost_paths(name))
    for pool in await rows.pool_specs(session, pools):
        wanted |= render.pool_files(pool)
    specs = await rows.vhost_specs(session, vhosts)
    context = await render_context(gateway)
    for vhost in specs:
        wanted |= render.vhost_files(vhost, context)
    on_disk = {path: generations.read(path) for path in possible}
    known = {name for name in vhosts if on_disk[render.vhost_paths(name)[0]] is not None}
    # An edit by hand may be what we would write: the record must say it too.
    written = generations.record().files
    digests = {path: sha256(text.encode()).hexdigest() for path, text in wanted.items()}
    return Files(
        {
            path: text
            for path, text in wanted.items()
            if (on_disk[path] != text or written.get(path) != digests[path])
            and not _only_younger(text, on_disk[path], written.get(path))
        },
        {p for p in possible - wanted.keys() if on_disk[p] is not None or p in written},
        frozenset(set(vhosts) - known),
        frozenset(set(vhosts) - {vhost.server_name for vhost in specs}),
    )


def _only_younger(text: str, there: str | None, written: str | None) -> bool:
    """True for a file of nginx's that would only get another time: that is worth no reload.

    The sidecar has the time of the last change.
    """
    if there is None or there == text or sha256(there.encode()).hexdigest() != written:
        return False
    return _UPDATED.sub(r"\1", text, count=1) == _UPDATED.sub(r"\1", there, count=1)

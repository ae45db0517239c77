"""What is desired, what lies on disk, and what nginx runs with, each by its own name."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.render_main import reads_vhost_file
from holdfast.gateway.service import drift
from holdfast.gateway.service.drift import Drifted
from holdfast.gateway.tables import PublishedRow
from holdfast.kernel.nginx import Generation, NginxStatus
from holdfast.kernel.nginx.generations import MAIN

_COMPARED = (".conf", ".json")
_FLAG_PARTS = 4
"""``routes``, vhost, bucket, ``cur``."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs, what that means for clients now, and what can be done about it."""

    found: Drifted
    effect: str
    can_absorb: bool
    can_restore: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is not compared, and why."""

    path: str
    reason: str
    href: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The three states of the configuration."""

    published: PublishedRow
    """What the database wants: the generation it wrote last, and how the last reload went."""
    live: Generation | None
    """What lies on disk under ``live``."""
    nginx: NginxStatus
    """What nginx runs with."""
    drifted: int

    @property
    def reload_waits(self) -> bool:
        """Whether nginx runs with another generation than the one on disk."""
        is_old = self.live is not None and self.nginx.loaded_generation != self.live.number
        return self.nginx.live and (self.published.reload_pending or is_old)


async def standing(session: AsyncSession, gateway: Gateway) -> Standing:
    """Look now."""
    published = await queries.published(session)
    found = await drift.find(session, gateway)
    number = gateway.generations.current()
    live = await asyncio.to_thread(gateway.generations.record) if number else None
    return Standing(published, live, await gateway.nginx.status(), len(found))


async def differences(session: AsyncSession, gateway: Gateway) -> list[Difference]:
    """Everything that drifted."""
    found = await drift.find(session, gateway)
    main = await asyncio.to_thread(gateway.generations.read, MAIN) or ""
    return [_difference(item, main) for item in found]


async def ignored(session: AsyncSession, gateway: Gateway, *, limit: int) -> list[Ignored]:
    """What drift leaves out: flags that a migration sets, and files that nginx does not include."""
    moving = [
        Ignored(
            drift.flag_path(route.vhost, route.bucket),
            f"the move of bucket {route.bucket} sets this flag",
            f"/web/migrations/{route.migration_id}",
        )
        for route in await queries.routed_buckets(session)
        if route.migration_id is not None
    ]
    others = await asyncio.to_thread(_not_compared, gateway.generations.live, limit)
    reason = "not named .conf or .json: nginx does not include it, and the next generation drops it"
    return [*moving, *(Ignored(path, reason) for path in others)][:limit]


def _not_compared(live: Path, limit: int) -> list[str]:
    if not live.is_dir():
        return []
    base = live.resolve()
    found: list[str] = []
    for path in sorted(base.rglob("*")):
        if path.is_file() and not path.name.endswith(_COMPARED) and len(found) < limit:
            found.append(path.relative_to(base).as_posix())
    return found


def _difference(item: Drifted, main: str) -> Difference:
    is_flag = item.path.startswith(f"{drift.ROUTES}/")
    is_known = not is_flag or len(item.path.split("/")) == _FLAG_PARTS
    can_absorb = item.kind != "missing" and item.path != MAIN and is_known
    return Difference(item, _effect(item, main), can_absorb, is_known)


def _effect(item: Drifted, main: str) -> str:
    """What the difference means for clients now."""
    path = item.path
    if path.startswith(f"{drift.ROUTES}/"):
        return "nginx reads routing flags at each request: this has an effect now."
    if path.endswith(".json"):
        return "nginx does not read it; a rebuild of the database from disk does."
    if path == MAIN:
        return (
            "It follows from the pools and vhosts, so it can only be restored. "
            "nginx reads it at its next reload."
        )
    return _effect_of_kind(item, main)


def _effect_of_kind(item: Drifted, main: str) -> str:
    is_vhost = item.path.startswith("vhosts/")
    if item.kind == "extra" and is_vhost:
        return "nginx reads it from the next change on, not by a plain reload."
    if is_vhost and not reads_vhost_file(main, item.path):
        return (
            "This plain vhost shares a server block in http.conf: a reload does not read its file. "
            "What you edited is live only once absorbed."
        )
    if item.kind == "missing":
        return "nginx goes on with what it has loaded; its next reload goes without this file."
    return "nginx runs with it from its next reload."

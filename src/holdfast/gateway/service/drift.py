"""Drift: the disk against what was written and what the rows say. Shown, never corrected."""

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.flags import READY, Flag, FlagState
from holdfast.gateway.render_model import pool_alias
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM

Kind = Literal["changed", "missing", "extra"]
ROUTES = "routes"


@dataclass(frozen=True, slots=True)
class Drifted:
    """A file, or a routing flag, that is not as Holdfast left it; ``diff`` is unified."""

    path: str
    kind: Kind
    diff: str


LOOKED_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class DriftWatch:
    """What the last look found, for health and metrics."""

    told: int = 0
    """How many differences were last told as an event."""
    alerts: int = 0
    looked_at: float = float("-inf")


async def find(session: AsyncSession, gateway: Gateway) -> list[Drifted]:
    """Every difference now: files of the live generation, then routing flags."""
    files = await asyncio.to_thread(gateway.generations.drift)
    found = [Drifted(drift.path, drift.kind, drift.diff) for drift in files]
    routed = await queries.routed_buckets(session)
    return found + await asyncio.to_thread(_flags, gateway, routed)


async def watch(services: Services) -> None:
    """Look now; tell when the number of differences is another one than the last time."""
    seen = _seen(services)
    async with services.database.read() as session:
        found = await _look(services, session)
    if len(found) == seen.told:
        return
    seen.told = len(found)
    async with services.database.write(SYSTEM) as work:
        paths = [drifted.path for drifted in found[:20]]
        work.emit("gateway", "drift", {"alerts": len(found), "paths": paths})


async def alerts(services: Services, session: AsyncSession) -> int:
    """How many differences there are; looked at anew after ``LOOKED_AGAIN_SECONDS``."""
    seen = _seen(services)
    if time.monotonic() - seen.looked_at > LOOKED_AGAIN_SECONDS:
        await _look(services, session)
    return seen.alerts


async def _look(services: Services, session: AsyncSession) -> list[Drifted]:
    seen = _seen(services)
    found = await find(session, services.get(Gateway))
    seen.alerts, seen.looked_at = len(found), time.monotonic()
    return found


def _seen(services: Services) -> DriftWatch:
    return services.find(DriftWatch) or services.add(DriftWatch())


def flag_path(vhost: str, bucket: str) -> str:
    """How a routing flag is called where files are listed."""
    return f"{ROUTES}/{vhost}/{bucket}/cur"


def _flags(gateway: Gateway, routed: list[queries.RoutedBucket]) -> list[Drifted]:
    on_disk = {(vhost, bucket): flag for vhost, bucket, flag in gateway.flags.list()}
    found = []
    for route in routed:
        flag = on_disk.pop((route.vhost, route.bucket), None)
        path = flag_path(route.vhost, route.bucket)
        if flag is None:
            found.append(_flag_drift(path, "missing", f"static.{route.pool}", ""))
        elif route.migration_id is None and not _agrees(flag, route.pool):
            found.append(_flag_drift(path, "changed", f"static.{route.pool}", flag.name))
    found += [
        _flag_drift(flag_path(vhost, bucket), "extra", "", flag.name)
        for (vhost, bucket), flag in on_disk.items()
    ]
    if gateway.flags.lost:
        found.append(_flag_drift(f"{ROUTES}/{READY}", "missing", "the marker of the folder", ""))
    root = gateway.settings.nginx_root
    for link, why in gateway.flags.strange():
        found.append(_flag_drift(str(link.relative_to(root)), "changed", "a routing flag", why))
    return found


def _agrees(flag: Flag, pool: str) -> bool:
    return flag.state is FlagState.STATIC and flag.pool_alias == pool_alias(pool)


def _flag_drift(path: str, kind: Kind, written: str, there: str) -> Drifted:
    lines = [f"--- {path}", f"+++ {path}", "@@ -1 +1 @@"]
    lines += [f"-{written}"] if written else []
    lines += [f"+{there}"] if there else []
    return Drifted(path, kind, "\n".join(lines) + "\n")

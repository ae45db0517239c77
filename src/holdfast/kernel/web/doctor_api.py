"""``POST /api/doctor``: the checks of ``holdfast doctor``, from within the serving process."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holdfast.kernel.clock import iso_time, now
from holdfast.kernel.contributors import Finding
from holdfast.kernel.doctor import examine_server
from holdfast.kernel.services import Services
from holdfast.kernel.web.deps import OPERATOR, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(tags=["system"])


@dataclass(slots=True)
class Examination:
    """The last one of this process; the lock lets one run after the other."""

    findings: Sequence[Finding] = ()
    at: datetime | None = None
    took_seconds: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def last_examination(services: Services) -> Examination:
    """What this process found when it was last asked."""
    return services.find(Examination) or services.add(Examination())


async def examine_now(services: Services) -> Examination:
    """Run all checks; some seconds."""
    last = last_examination(services)
    async with last.lock:
        began = time.monotonic()
        last.findings = await examine_server(services)
        last.at, last.took_seconds = now(), time.monotonic() - began
    return last


@router.post("/api/doctor", dependencies=[OPERATOR])
async def doctor(services: ServicesDep) -> dict[str, Any]:
    """Run all checks now: rights, nginx, rclone, disk, schema, clock, drift, keys."""
    last = await examine_now(services)
    findings = [
        {"check": f.check, "verdict": f.verdict.value, "detail": f.detail, "remedy": f.remedy}
        for f in last.findings
    ]
    return {
        "checked_at": iso_time(last.at),
        "took_seconds": last.took_seconds,
        "findings": findings,
    }

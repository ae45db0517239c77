"""Health: ``/web/health``: what ``holdfast doctor`` finds, from within the serving process."""

import asyncio
import shutil
import time
from dataclasses import dataclass

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast import __version__
from holdfast.kernel.contributors import Verdict
from holdfast.kernel.doctor import clock_findings, disk_findings
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import NOTHING, size
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import OPERATOR, ServicesDep
from holdfast.kernel.web.doctor_api import examine_now, last_examination
from holdfast.kernel.web.metrics import RequestFigures
from holdfast.kernel.web.router import Router
from holdfast.kernel.web.system_api import readiness
from holdfast.kernel.work import Role

router = Router(include_in_schema=False)
PATH = "/web/health"
WORST_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.OK)
TITLES = {Verdict.FAIL: "Broken", Verdict.WARN: "Needs a look", Verdict.OK: "In order"}
SHORTEST_SAMPLE_SECONDS = 10.0
OWN_ANSWERS = ("/metrics", "/api/events", "/api/health", "/api/ready")
"""What monitoring asks all the time says nothing about use."""


@dataclass(slots=True)
class Pace:
    """Requests and failures of this process, as they were when somebody looked."""

    moment: float
    requests: float
    rate: float | None = None
    """Requests a second between the last two looks that were far enough apart."""


def contribute(services: Services) -> None:
    """Navigation, actions, what needs the operator, figures."""
    parts = console_parts(services)
    parts.nav.append(NavItem(title="Health", href=PATH, icon="health", group="System", order=86))
    parts.actions.append(Hit(title="Run the checks", href=PATH, kind="action", role=Role.OPERATOR))
    parts.needs.append(_needs)
    parts.figures.append(_figures)


@router.get(PATH)
async def health(request: Request, services: ServicesDep) -> Response:
    """Whether requests can be served, and what the last run of the checks found."""
    return await _page(request, services)


@router.post(PATH, dependencies=[OPERATOR])
async def run_checks(request: Request, services: ServicesDep) -> Response:
    """Run all checks; the answer shows them."""
    await examine_now(services)
    return await _page(request, services)


async def _page(request: Request, services: Services) -> Response:
    last = last_examination(services)
    groups = [
        (verdict, TITLES[verdict], [f for f in last.findings if f.verdict is verdict])
        for verdict in WORST_FIRST
    ]
    return await page(
        request,
        "console/health.html.j2",
        ready=await readiness(services),
        last=last,
        groups=[group for group in groups if group[2]],
    )


async def _needs(services: Services, _: AsyncSession) -> list[Need]:
    found = await asyncio.to_thread(disk_findings, services.settings)
    found += await clock_findings(services)
    return [
        Need(
            title=f"{finding.check.capitalize()}: {finding.detail}",
            detail=finding.remedy,
            href=PATH,
            action="Look at the health",
            level="bad" if finding.verdict is Verdict.FAIL else "warn",
        )
        for finding in found
        if finding.verdict is not Verdict.OK
    ]


async def _figures(services: Services, _: AsyncSession) -> list[Figure]:
    free, total = await asyncio.to_thread(_room, services)
    requests, failed = _counted(services)
    rate = _rate(services, requests)
    return [
        Figure(title="Disk free", value=size(free), href=PATH, detail=f"of {size(total)}"),
        Figure(
            title="Requests to Holdfast",
            value=NOTHING if rate is None else f"{rate:.1f}/s",
            detail=f"{failed:.0f} failed (5xx) since the start",
        ),
        Figure(title="Version", value=__version__, href=PATH),
    ]


def _room(services: Services) -> tuple[int, int]:
    usage = shutil.disk_usage(services.settings.data_dir)
    return usage.free, usage.total


def _counted(services: Services) -> tuple[float, float]:
    """Requests and server errors since the start of this process."""
    figures = services.find(RequestFigures)
    if figures is None:
        return 0.0, 0.0
    requests = failed = 0.0
    for metric in figures.requests.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total") and sample.labels["route"] not in OWN_ANSWERS:
                requests += sample.value
                failed += sample.value if sample.labels["status"].startswith("5") else 0
    return requests, failed


def _rate(services: Services, requests: float) -> float | None:
    moment = time.monotonic()
    pace = services.find(Pace)
    if pace is None:
        services.add(Pace(moment, requests))
        return None
    passed = moment - pace.moment
    if passed >= SHORTEST_SAMPLE_SECONDS:
        pace.rate = (requests - pace.requests) / passed
        pace.moment, pace.requests = moment, requests
    return pace.rate

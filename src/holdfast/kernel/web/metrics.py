"""Figures for Prometheus: requests by route, jobs by state, and what slices contribute."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast import __version__
from holdfast.kernel.contributors import Gauge, contributors
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
NO_ROUTE = "(none)"


class RequestFigures:
    """Counts of this process's requests; found by ``services.get(RequestFigures)``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "holdfast_http_requests",
            "Requests answered, by route template and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "holdfast_http_request_seconds",
            "Seconds until a request was answered in full.",
            ("method", "route"),
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )


class CountRequests:
    """ASGI middleware: counts by route template, not by path: names make no new series."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and remember its status and how long it took."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = "500"

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        began = time.perf_counter()
        try:
            await self._app(scope, receive, watch)
        finally:
            figures = _figures(scope["app"].state.services)
            route = str(getattr(scope.get("route"), "path", NO_ROUTE))
            method = str(scope["method"]) if route != NO_ROUTE else NO_ROUTE
            figures.requests.labels(method, route, status).inc()
            figures.seconds.labels(method, route).observe(time.perf_counter() - began)


async def exposition(services: Services, session: AsyncSession) -> bytes:
    """The page for Prometheus."""
    registry = CollectorRegistry()
    gauges = [
        Gauge(name="holdfast_info", help="This server.", value=1, labels={"version": __version__})
    ]
    gauges += await _job_gauges(session)
    told = contributors(services)
    if told.drift_alerts:
        alerts = sum([await count() for count in told.drift_alerts])
        gauges.append(Gauge(name="holdfast_drift_alerts", help="Drifted files.", value=alerts))
    for contribute in told.gauges:
        gauges += await contribute(session)
    registry.register(_Gauges(gauges))
    return generate_latest(_figures(services).registry) + generate_latest(registry)


class _Gauges:
    """Hands figures that were read from the database to the client library."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for gauge in self._gauges:
            family = families.setdefault(
                gauge.name, GaugeMetricFamily(gauge.name, gauge.help, labels=tuple(gauge.labels))
            )
            family.add_metric(tuple(gauge.labels.values()), gauge.value)
        return families.values()


async def _job_gauges(session: AsyncSession) -> list[Gauge]:
    query = select(JobRow.state, func.count()).group_by(JobRow.state)
    found = {JobState(state): count for state, count in await session.execute(query)}
    counts = dict.fromkeys(JobState, 0) | found
    return [
        Gauge(
            name="holdfast_jobs",
            help="Jobs kept, by state.",
            value=count,
            labels={"state": state.value},
        )
        for state, count in counts.items()
    ]


def _figures(services: Services) -> RequestFigures:
    return services.find(RequestFigures) or services.add(RequestFigures())

"""Lists of 10,000 rows: the server's time for a page, a search and a sort, one by one."""

import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from fastapi import FastAPI
from sqlalchemy import insert

from benchmarks.result import Result, counted
from holdfast.assembly import assemble, routers
from holdfast.gateway.tables import BucketRow, PoolRow, RouteRow, VhostRow
from holdfast.kernel.audit import AuditRow
from holdfast.kernel.clock import now
from holdfast.kernel.config import load_settings
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from holdfast.kernel.work import SYSTEM

if TYPE_CHECKING:
    from holdfast.kernel.db import Base

ROWS = 10_000
REPEATS = 30
REACH_MS = 100.0
KEY = "the benchmark's own key"
FAR = ROWS - 60
LISTS: dict[str, tuple[str, ...]] = {
    "pools": (
        "/api/pools?limit=50",
        f"/api/pools?limit=50&offset={FAR}",
        "/web/pools",
        "/web/pools?page=190",
        "/web/pools?q=name-77",
        "/web/pools?sort=-name",
    ),
    "vhosts": (
        "/api/vhosts?limit=50",
        f"/api/vhosts?limit=50&offset={FAR}",
        "/web/vhosts",
        "/web/vhosts?page=190",
        "/web/vhosts?q=name-77",
        "/web/vhosts?sort=-name",
    ),
    "routes": (
        "/api/vhosts/1/routes?limit=50",
        f"/api/vhosts/1/routes?limit=50&offset={FAR}",
        "/web/vhosts/1",
        "/web/vhosts/1?q=name-77",
    ),
    "buckets": (
        "/web/buckets",
        "/web/buckets?page=190",
        "/web/buckets?q=name-77",
    ),
    "jobs": (
        "/api/jobs?limit=50",
        f"/api/jobs?limit=50&offset={FAR}",
        "/api/jobs?limit=50&state=failed&kind=migrations",
        "/web/jobs",
        "/web/jobs?page=190",
        "/web/jobs?q=name-77",
        "/web/jobs?sort=-started",
        "/web/jobs?sort=by",
    ),
    "audit": (
        "/api/audit?per_page=50",
        "/api/audit?per_page=50&page=190",
        "/api/audit?per_page=50&entity_type=pool&entity_id=77",
        "/web/audit",
        "/web/audit?page=190",
        "/web/audit?q=name-77",
        "/web/audit?sort=who",
    ),
    "everything": ("/", "/web/search?q=name-77"),
}
"""What is asked for. An address that is not there is told, and left out.

Not here: the API's list of a vhost's buckets, which always answers with all of them (0.35 s).
"""


async def run(directory: Path) -> list[Result]:
    """The application without a socket: what is measured is its own time."""
    flags = {"data_dir": directory / "data", "api_key": KEY}
    services = assemble(load_settings(flags))
    try:
        await services.database.upgrade()
        await _fill(services)
        app = build_app(services, routers(), _nothing)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {KEY}", "Accept": "text/html, */*"}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://holdfast", headers=headers
        ) as client:
            return [r for name, paths in LISTS.items() for r in await _timed(client, name, paths)]
    finally:
        await services.database.close()


@contextlib.asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


async def _timed(client: httpx.AsyncClient, name: str, paths: tuple[str, ...]) -> list[Result]:
    results = []
    for path in paths:
        first = await client.get(path)
        if first.is_error:
            results.append(_left_out(name, path, first.status_code))
            continue
        spent = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            await client.get(path)
            spent.append(1000 * (time.perf_counter() - began))
        p95 = statistics.quantiles(spent, n=20)[-1]
        against = f"median {statistics.median(spent):.3g} ms"
        what = f"{name} of {ROWS}: {path}, p95"
        results.append(counted(what, p95, at_most=REACH_MS, unit="ms", against=against))
    return results


def _left_out(name: str, path: str, status: int) -> Result:
    return Result(
        what=f"{name}: {path}",
        ours=f"answers {status}",
        against="",
        ratio="",
        reach="",
        reached=None,
    )


async def _fill(services: Services) -> None:
    moment = now() - timedelta(days=1)
    stamps = {"created_at": moment, "updated_at": moment}
    numbers = range(1, ROWS + 1)
    many: dict[type[Base], list[dict[str, object]]] = {
        PoolRow: [{"name": f"name-{n}", **stamps} for n in numbers],
        VhostRow: [
            {"server_name": f"name-{n}.example.org", "default_pool_id": n, **stamps}
            for n in numbers
        ],
        RouteRow: [
            {
                "vhost_id": 1,
                "path_prefix": f"/name-{n}",
                "pool_id": n,
                "bucket": f"name-{n}",
                "plain": True,
                **stamps,
            }
            for n in numbers
        ],
        BucketRow: [
            {
                "vhost_id": 1,
                "name": f"name-{n}",
                "status": "routed" if n % 3 else "unrouted",
                "discovered_at": moment,
            }
            for n in numbers
        ],
        JobRow: [
            {
                "id": f"job-{n}",
                "kind": "migrations.move" if n % 2 else "gateway.sync",
                "title": f"move name-{n}",
                "args": "{}",
                "locks": f'["buckets/name-{n}"]',
                "priority": 100,
                "created_by": "bench",
                "created_at": moment,
                "state": "failed" if n % 10 == 0 else "done",
                "finished_at": moment,
            }
            for n in numbers
        ],
        AuditRow: [
            {
                "actor": "bench",
                "action": "update",
                "entity_type": "pool" if n % 2 else "vhost",
                "entity_id": str(n),
                "before_json": '{"a": 1}',
                "after_json": f'{{"a": "name-{n}"}}',
                "created_at": moment,
            }
            for n in numbers
        ],
    }
    async with services.database.write(SYSTEM) as work:
        for table, rows in many.items():
            await work.session.execute(insert(table), rows)

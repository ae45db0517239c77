"""Pages of jobs, of schedules and of who changed what, asked as each role; no worker runs."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs import pages, service
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.service import NewSchedule
from holdfast.kernel.jobs.tables import JobRow, JobStepRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console import pages as console
from holdfast.kernel.work import SYSTEM
from tests.gateway.pages.web import Web, column, words
from tests.kernel.api import services_for
from tests.kernel.jobs import sample_jobs
from tests.kernel.web_pages import open_pages

assert sample_jobs  # kinds to choose among
NIGHTLY: dict[str, Any] = {
    "name": "nightly",
    "kind": "sample.tick",
    "cron": "15 3 * * 1",
    "timezone": "Europe/Prague",
    "enabled": "true",
    "args": '{"evidence": "none"}',
}


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.fixture
async def web(services: Services) -> AsyncIterator[Web]:
    pages.contribute(services)
    async with open_pages(services, console.router, pages.router) as opened:
        yield opened


async def a_job(services: Services, state: JobState, **fields: object) -> str:
    async with services.database.write(SYSTEM) as work:
        job_id = service.submit(work, "sample.tick", {}, title="move photos")
    async with services.database.write(SYSTEM) as work:
        values = {"state": state, **fields}
        await work.session.execute(update(JobRow).where(JobRow.id == job_id).values(values))
    return job_id


async def state_of(services: Services, job_id: str) -> str:
    async with services.database.read() as session:
        return (await service.show_job(session, job_id)).state


async def test_a_job_is_stopped_from_the_pane_its_list_and_its_page(
    services: Services, web: Web
) -> None:
    job_id = await a_job(services, JobState.WAITING)
    stop = f'action="/web/jobs/{job_id}/cancel"'
    pane = (await web.get("/web/account", who="operator")).partition('<aside id="jobs"')[2]
    assert "move photos" in pane
    for path in ("/web/account", "/web/jobs", f"/web/jobs/{job_id}"):
        assert stop in await web.get(path, who="operator")
        assert stop not in await web.get(path, who="viewer")
    await web.post(f"/web/jobs/{job_id}/cancel", who="viewer", status=403)
    assert await state_of(services, job_id) == JobState.WAITING
    await web.post(f"/web/jobs/{job_id}/cancel", who="operator")
    assert await state_of(services, job_id) == JobState.CANCELLED
    assert stop not in await web.get(f"/web/jobs/{job_id}", who="operator")


async def test_what_failed_is_told_first_and_runs_again(services: Services, web: Web) -> None:
    job_id = await a_job(
        services, JobState.FAILED, error="no room on the disk", error_code="full", finished_at=now()
    )
    began = now() - timedelta(minutes=5)
    steps = [("prepare", "done", None), ("copy", "failed", "no room on the disk")]
    async with services.database.write(SYSTEM) as work:
        for number, (name, state, error) in enumerate(steps, 1):
            step = JobStepRow(
                job_id=job_id,
                number=number,
                name=name,
                state=state,
                attempts=2,
                started_at=began,
                finished_at=now(),
                error=error,
            )
            work.session.add(step)
    shown = await web.get(f"/web/jobs/{job_id}", who="operator")
    assert words(shown).index("no room on the disk") < words(shown).index("Steps")
    assert column(shown, 0) == ["2. copy", "1. prepare"]
    assert column(shown, 2) == ["2", "2"]
    again = f"/web/jobs/{job_id}/retry"
    assert f'action="{again}"' in shown
    assert f'action="{again}"' not in await web.get(f"/web/jobs/{job_id}", who="viewer")
    await web.post(again, who="viewer", status=403)
    await web.post(again, who="operator")
    assert await state_of(services, job_id) == JobState.WAITING


async def test_a_schedule_is_tried_made_paused_run_and_deleted(
    services: Services, web: Web
) -> None:
    new = "/web/schedules/new"
    await web.post(new, who="operator", status=403, **NIGHTLY)
    assert "Nothing runs by itself yet" in await web.get("/web/schedules")
    wrong = await web.post(new, status=422, **NIGHTLY | {"cron": "never"})
    assert "never" in words(wrong.text)
    tried = (await web.post(new, status=200, do="preview", **NIGHTLY)).text
    assert "Nothing was saved" in tried
    assert "Nothing runs by itself yet" in await web.get("/web/schedules")
    await web.post(new, **NIGHTLY)
    listed = await web.get("/web/schedules")
    assert "At 03:15 on Monday" in words(tried)
    assert "At 03:15 on Monday" in words(listed)
    for shown in (tried, listed):
        runs = [
            datetime.fromisoformat(unescape(text)).astimezone(ZoneInfo("Europe/Prague"))
            for text in re.findall(r'<(?:li|div)><time datetime="([^"]+)"', shown)
        ]
        assert [(run.weekday(), run.hour, run.minute) for run in runs] == [(0, 3, 15)] * 5
        assert [later - run for run, later in pairwise(runs)] == [timedelta(days=7)] * 4

    ran = await web.post("/web/schedules/nightly/trigger", who="operator")
    assert await state_of(services, ran.headers["location"].rpartition("/")[2]) == JobState.WAITING
    await web.post("/web/schedules/nightly/toggle", who="operator", status=403)
    await web.post("/web/schedules/nightly/toggle")
    assert "none while paused" in words(await web.get("/web/schedules"))
    await web.post("/web/schedules/nightly/toggle")
    assert "none while paused" not in words(await web.get("/web/schedules"))
    await web.post("/web/schedules/nightly/delete", status=422, confirm="night")
    assert "nightly" in await web.get("/web/schedules")
    await web.post("/web/schedules/nightly/delete", confirm="nightly")
    assert "Nothing runs by itself yet" in await web.get("/web/schedules")


async def test_schedules_are_searched_sorted_and_in_pages(services: Services, web: Web) -> None:
    hour = (now().hour + 2) % 24  # all in one hour that is not this one: in their order
    async with services.database.write(SYSTEM) as work:
        for number in range(60):
            await service.create_schedule(
                work,
                NewSchedule(
                    name=f"s{number:02}",
                    kind="sample.tick",
                    cron=f"{59 - number} {hour} * * *",
                    args={"evidence": "none"},
                ),
            )
    names = [f"s{number:02}" for number in range(60)]
    wanted = {
        "": names[:50],
        "?page=2": names[50:],
        "?sort=-name": names[:9:-1],
        "?sort=next": names[:9:-1],
        "?q=S42": ["s42"],
        "?q=none+such": [],
    }
    for query, found in wanted.items():
        shown = column(await web.get(f"/web/schedules{query}"), 0)
        assert [one.split()[0] for one in shown] == found, query


async def test_a_change_is_shown_with_what_was_before_and_after(
    services: Services, web: Web
) -> None:
    async with services.database.write(SYSTEM) as work:
        old, new = {"weight": 1, "address": "one:80"}, {"weight": 7, "address": "one:80"}
        work.audit("update", "pool_member", 3, before=old, after=new)
    listed = await web.get("/web/audit?entity_type=pool_member")
    assert column(listed, 3) == ["weight"]
    async with services.database.write(SYSTEM) as work:
        work.audit("create", "pool", 1)
    for sort in ("what", "-what"):
        whats = [what.split()[0] for what in column(await web.get(f"/web/audit?sort={sort}"), 2)]
        assert {"create", "update"} <= set(whats)
        assert whats == sorted(whats, reverse=sort == "-what")
    found = re.search(r'href="(/web/audit/\d+)"', listed)
    assert found
    shown = await web.get(found[1], who="viewer")
    assert '<span class="del">-  &#34;weight&#34;: 1' in shown
    assert '<span class="add">+  &#34;weight&#34;: 7' in shown
    assert '   "address": "one:80"' in unescape(shown)

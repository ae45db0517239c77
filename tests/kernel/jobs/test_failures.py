"""Failed jobs wait for somebody: until they run again, the same succeeds, or they are dismissed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.jobs import api, overview, pages, tables
from holdfast.kernel.jobs.ending import record_end
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.services import Services
from holdfast.kernel.web.console import pages as console
from holdfast.kernel.work import SYSTEM
from tests.gateway.pages.web import Web, words
from tests.kernel.api import services_for
from tests.kernel.web_pages import open_pages


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.fixture
async def web(services: Services) -> AsyncIterator[Web]:
    """The overview and the pages and API of jobs."""
    pages.contribute(services)
    async with open_pages(services, console.router, pages.router, api.router) as opened:
        yield opened


async def ended(services: Services, title: str, state: JobState, **fields: object) -> str:
    async with services.database.write(SYSTEM) as work:
        locks = [f"pools/{title.replace(' ', '-')}"]
        job_id = submit(work, "sample.tick", {}, title=title, locks=locks)
        await work.session.flush()
        row = await tables.job_by_id(work.session, job_id)
        assert row
        await record_end(work, row, state, error="no room" if state == JobState.FAILED else None)
    return job_id


async def waiting(services: Services) -> list[str]:
    async with services.database.read() as session:
        return [need.title for need in await overview.failures(services, session)]


async def test_a_failure_waits_until_the_same_job_succeeds(services: Services) -> None:
    for title in ("move a", "move b"):
        await ended(services, title, JobState.FAILED)
    for _ in range(overview.SHOWN + 1):
        await ended(services, "move c", JobState.DONE)
    assert await waiting(services) == ["move b failed", "move a failed"]
    await ended(services, "move a", JobState.DONE)
    assert await waiting(services) == ["move b failed"]


async def test_the_one_that_failed_last_comes_first_whenever_it_was_submitted(
    services: Services,
) -> None:
    async with services.database.write(SYSTEM) as work:
        slow = submit(work, "sample.tick", {}, title="slow")
    for number in range(overview.SHOWN + 2):
        await ended(services, f"quick {number}", JobState.FAILED)
    async with services.database.write(SYSTEM) as work:
        row = await tables.job_by_id(work.session, slow)
        assert row
        await record_end(work, row, JobState.FAILED, error="late")
    shown = await waiting(services)
    assert shown[0] == "slow failed"
    assert shown[-1] == "3 more jobs failed"


async def test_a_failure_is_run_again_or_dismissed_from_the_overview(
    web: Web, services: Services
) -> None:
    again = await ended(services, "move a", JobState.FAILED)
    enough = await ended(services, "move b", JobState.FAILED)
    shown = await web.get("/", who="operator")
    assert f'action="/web/jobs/{again}/retry"' in shown
    assert f"holdfast job dismiss {enough}" in shown
    assert "Dismiss" not in words(await web.get("/", who="viewer"))
    answer = await web.post(f"/web/jobs/{enough}/dismiss", who="operator")
    assert answer.headers["location"] == "/"
    await web.post(f"/web/jobs/{again}/retry", who="operator")
    assert await waiting(services) == []
    refused = await web.clients["operator"].post(f"/api/jobs/{again}/dismiss")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_overviews_that_are_asked_for_at_once_ask_the_database_together(
    web: Web, services: Services
) -> None:
    await ended(services, "move a", JobState.FAILED)
    with web.statements() as sent:
        pages = await asyncio.gather(*(web.get("/") for _ in range(10)))
    assert all("move a failed" in words(page) for page in pages)
    assert len([text for text in sent if "settled_at IS NULL" in text]) < len(pages)


async def test_all_failures_are_dismissed_at_once(web: Web, services: Services) -> None:
    for number in range(overview.SHOWN + 2):
        await ended(services, f"move {number}", JobState.FAILED)
    assert 'action="/web/jobs/dismiss"' in await web.get("/", who="operator")
    answer = await web.clients["operator"].post("/api/jobs/dismiss")
    assert answer.json() == {"jobs": overview.SHOWN + 2}
    assert await waiting(services) == []
    assert "2 more" not in words(await web.get("/"))

"""What the frame around every page shows, and the search that it opens."""

import re
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.db import Database
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.pages import MOST_OF_A_KIND
from holdfast.kernel.web.console.registry import Hit, console_parts
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import client_of, services_for
from tests.kernel.jobs import sample_jobs


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


async def some_jobs(services: Services, **states: JobState) -> None:
    assert sample_jobs
    for title, state in states.items():
        async with services.database.write(SYSTEM) as work:
            job_id = service.submit(work, "sample.copy", {}, title=title)
        async with services.database.write(SYSTEM) as work:
            change = update(JobRow).where(JobRow.id == job_id).values(state=state)
            await work.session.execute(change)


async def some_hits(_: Services, __: AsyncSession, words: str) -> list[Hit]:
    return [Hit(title=f"{words} {at}", href=f"/web/pools/{at}", kind="pool") for at in range(40)]


async def a_late_hit(_: Services, __: AsyncSession, words: str) -> list[Hit]:
    return [Hit(title=f"{words} job", href="/web/jobs/7", kind="job")] if words != "zzz" else []


async def test_a_search_shows_some_of_each_kind(services: Services) -> None:
    console_parts(services).searchers += [some_hits, a_late_hit]
    async with client_of(services) as client:
        found = (await client.get("/web/search?q=silver")).text
    assert found.count('<span class="kind">pool</span>') == MOST_OF_A_KIND
    assert "silver job" in found


async def test_a_search_without_hits_says_so_to_the_palette_too(services: Services) -> None:
    console_parts(services).searchers.append(a_late_hit)
    async with client_of(services) as client:
        found = (await client.get("/web/search?q=zzz")).text
    assert 'data-none="Nothing has “zzz” in its name."' in found


async def test_a_search_in_a_list_keeps_what_narrows_the_list(services: Services) -> None:
    async with client_of(services) as client:
        shown = (await client.get("/web/audit?entity_type=pool&entity_id=7&q=a")).text
    filters = shown.partition('<form class="filters"')[2].partition("</form>")[0]
    assert '<input type="hidden" name="entity_id" value="7">' in filters
    assert filters.count('name="entity_type"') == 1


async def test_what_runs_is_in_the_pane_however_much_waits_after_it(services: Services) -> None:
    await some_jobs(services, oldest=JobState.RUNNING, ending=JobState.CANCELLING)
    await some_jobs(services, **{f"waits-{at}": JobState.WAITING for at in range(30)})
    await some_jobs(services, over=JobState.DONE)
    async with client_of(services) as client:
        pane = (await client.get("/web/account")).text.partition('<aside id="jobs"')[2]
    titles = re.findall(r'<a href="/web/jobs/[^"]+">([^<]+)</a>', pane)
    assert titles[:3] == ["oldest", "ending", "waits-0"]
    assert "over" not in titles
    assert re.search(r'<span class="badge" data-tone="run">32</span>', pane)
    assert f"{32 - len(titles)} more" in pane
    assert pane.count('data-open="stop-') == len(titles) - 1, "what is being ended has no Stop"

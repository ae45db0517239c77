"""What the frame around every page shows, and the search that it opens."""

import re
from pathlib import Path

import pytest
from sqlalchemy import update

from holdfast.kernel.db import Database
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.services import Services
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

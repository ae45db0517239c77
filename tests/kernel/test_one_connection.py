"""A request holds one connection: with two, a crowd of them would wait for each other for ever."""

import functools
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from holdfast.assembly import assemble, routers
from holdfast.kernel import db
from holdfast.kernel.config import load_settings
from holdfast.kernel.jobs.service import NewSchedule, create_schedule
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.console.registry import console_parts
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import API_KEY
from tests.kernel.jobs.test_api import nothing_beside

LIMIT_SECONDS = 2.0
"""For a connection: whoever waits so long waits for what the same request holds."""


@pytest.fixture
async def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    """All of a process, with a single connection to its database."""
    one = functools.partial(
        create_async_engine, pool_size=1, max_overflow=0, pool_timeout=LIMIT_SECONDS
    )
    monkeypatch.setattr(db, "create_async_engine", one)
    flags = {"data_dir": tmp_path / "data", "api_key": API_KEY}
    made = assemble(load_settings(flags))
    await made.database.upgrade()
    yield made
    await made.database.close()


@pytest.fixture
async def browser(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    app = build_app(services, routers(), nothing_beside)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {API_KEY}", "Accept": "text/html"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://holdfast", headers=headers
    ) as client:
        yield client


async def test_every_page_of_the_navigation_needs_one_connection(
    services: Services, browser: httpx.AsyncClient
) -> None:
    addresses = [item.href for item in console_parts(services).nav]
    answers = {path: (await browser.get(path)).status_code for path in [*addresses, "/web/none"]}
    assert answers == dict.fromkeys(addresses, 200) | {"/web/none": 404}


async def test_a_form_is_saved_by_a_request_that_reads_with_the_same_connection(
    services: Services, browser: httpx.AsyncClient
) -> None:
    async with services.database.write(SYSTEM) as work:
        new = NewSchedule(name="nightly", kind="tiers.report", cron="0 3 * * *")
        await create_schedule(work, new)
    form = {"cron": "0 4 * * *", "timezone": "UTC", "enabled": "true"}
    refused = await browser.post("/web/schedules/nightly/edit", data=form | {"cron": "never"})
    saved = await browser.post("/web/schedules/nightly/edit", data=form)
    assert (refused.status_code, saved.status_code) == (422, 303)

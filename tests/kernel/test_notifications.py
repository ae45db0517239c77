"""Messages as people see them: listed, tried again, forgotten, and never with an address."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.notify import api, outbox, pages
from holdfast.kernel.notify.outbox import News, seal_addresses, unseal_addresses
from holdfast.kernel.notify.tables import NotificationRow
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.web.console import pages as console
from holdfast.kernel.work import SYSTEM
from tests.gateway.pages.web import Web, words
from tests.kernel.api import services_for
from tests.kernel.web_pages import open_pages

ADDRESS = "nowhere://user:s3cret@example.org"
"""Of no scheme that there is: it is given up at once."""


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.fixture
async def web(services: Services) -> AsyncIterator[Web]:
    """The overview and the pages and API of messages."""
    pages.contribute(services)
    async with open_pages(services, console.router, pages.router, api.router) as opened:
        yield opened


async def given_up(services: Services, subject: str = "pull of photos failed") -> str:
    """A message that nobody could be told of."""
    news = News(job_id="a-job", subject=subject, text="", page="/web/jobs/a-job", bad=True)
    async with services.database.write(SYSTEM) as work:
        outbox.put(work, news, addresses=seal_addresses(services.sealer, [ADDRESS]))
    await outbox.send_due(services)
    return (await the_row(services)).id


async def the_row(services: Services) -> NotificationRow:
    async with services.database.read() as session:
        return (await session.scalars(select(NotificationRow))).one()


async def test_what_was_given_up_waits_for_somebody_and_is_tried_again(
    web: Web, services: Services
) -> None:
    number = await given_up(services)
    assert "1 message was given up" in words(await web.get("/"))
    shown = await web.get("/web/notifications?state=given+up")
    for part in ("pull of photos failed", "it is no address", "Try again", "Forget"):
        assert part in words(shown)
    assert f"holdfast notification retry {number}" in shown
    await web.post(f"/web/notifications/{number}/retry", who="operator")
    row = await the_row(services)
    assert (row.state, row.attempts) == ("waiting", 0)
    assert unseal_addresses(services.sealer, row.addresses) == [ADDRESS]
    assert "given up" not in words(await web.get("/"))
    await outbox.send_due(services)
    assert (await the_row(services)).state == "given up"


async def test_a_message_shows_no_address_and_a_viewer_no_button(
    web: Web, services: Services
) -> None:
    await given_up(services)
    page = await web.get("/web/notifications", who="viewer")
    told = (await web.clients["viewer"].get("/api/notifications")).text
    assert "pull of photos failed" in page
    assert "/retry" not in page
    for text in (page, told, await web.get("/"), (await the_row(services)).problem):
        assert "s3cret" not in text
        assert "example.org" not in text


async def test_a_message_is_forgotten_by_a_person_or_after_its_time(
    web: Web, services: Services
) -> None:
    number = await given_up(services)
    await web.post(f"/web/notifications/{number}/delete", who="operator")
    again = await web.clients["operator"].post(f"/api/notifications/{number}/retry")
    assert (again.status_code, again.json()["code"]) == (404, "not_found")
    await given_up(services)
    await outbox.forget_ended(services)
    long_ago = now() - timedelta(days=services.settings.job_retention_days + 1)
    async with services.database.write(SYSTEM) as work:
        _ = await work.session.execute(update(NotificationRow).values(ended_at=long_ago))
    assert (await web.clients["viewer"].get("/api/notifications")).headers["X-Total-Count"] == "1"
    await outbox.forget_ended(services)
    assert (await web.clients["viewer"].get("/api/notifications")).json() == []
    assert "Nobody was told of anything yet" in words(await web.get("/web/notifications"))


async def test_addresses_of_another_secret_are_given_up_and_said_so(services: Services) -> None:
    news = News(job_id="a-job", subject="done", text="", page="/", bad=False)
    async with services.database.write(SYSTEM) as work:
        sealed = seal_addresses(Sealer("another secret"), [ADDRESS])
        outbox.put(work, news, addresses=sealed)
    await outbox.send_due(services)
    row = await the_row(services)
    assert (row.state, row.given_up) == ("given up", sealed)
    assert row.problem

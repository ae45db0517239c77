"""Parts of pages that are there from the beginning, so that what comes later has a place."""

import asyncio
import json
import re
from html import unescape

import httpx
import pytest

from docs.console_pages import PAGES
from holdfast.demo.fleet import Fleet

PATIENCE_SECONDS = 60
WAITING = {
    "migration-running": ["holds", "move-now", "move-figures"],
    "config-drift": ["ignored"],
    "config": ["said", "standing"],
    "schedules": ["schedules-list"],
    "audit": ["changes-list"],
    "migrations-orphaned": ["left-behind"],
    "generation": ["generation-head"],
}


def reader(fleet: Fleet) -> httpx.AsyncClient:
    """An admin's browser without scripts."""
    headers = {"Authorization": f"Bearer {fleet.token}", "Accept": "text/html"}
    return httpx.AsyncClient(base_url=fleet.api_url, headers=headers, timeout=30)


@pytest.mark.parametrize("name", WAITING)
async def test_a_part_that_may_get_something_is_live_before_it_has_it(
    fleet: Fleet, names: dict[str, str], name: str
) -> None:
    async with reader(fleet) as client:
        shown = (await client.get(PAGES[name].format(**names))).text
    tags = re.findall(r"<[a-z]+ [^>]*data-live=[^>]*>", shown)
    live = {found[1] for tag in tags if (found := re.search(r' id="([^"]+)"', tag))}
    assert set(WAITING[name]) <= live


async def test_no_two_parts_of_a_page_have_the_same_id(fleet: Fleet, names: dict[str, str]) -> None:
    doubled = {}
    async with reader(fleet) as client:
        for path in PAGES.values():
            shown = (await client.get(path.format(**names))).text
            ids = re.findall(r'\sid="([^"]+)"', shown)
            if twice := {one for one in ids if ids.count(one) > 1}:
                doubled[path] = twice
    assert not doubled


async def test_a_move_that_is_looked_at_later_has_its_curve_from_the_beginning(
    fleet: Fleet, names: dict[str, str]
) -> None:
    seconds: list[float] = []
    rates: list[float] = []
    async with reader(fleet) as client, asyncio.timeout(PATIENCE_SECONDS):
        while len(rates) < 3:
            shown = (await client.get(PAGES["migration-running"].format(**names))).text
            found = re.search(r"data-chart='([^']+)'", shown)
            assert found
            seconds, rates = json.loads(unescape(found[1]))
            await asyncio.sleep(0.2)
    assert seconds == sorted(seconds)
    assert len(seconds) == len(rates)
    assert max(rates) > 0


async def test_the_overview_tells_requests_and_throughput_at_the_first_look(
    fleet: Fleet, names: dict[str, str]
) -> None:
    async with reader(fleet) as client, asyncio.timeout(PATIENCE_SECONDS):
        shown = (await client.get("/")).text
        assert re.search(r"Requests through nginx</dt><dd>[\d.]+/s", shown), shown
        bound = f'data-bind="migration/{names["moving"]}:bytes_per_second" data-format="size">'
        while not re.search(rf"{bound}[1-9]", shown):
            await asyncio.sleep(0.2)
            shown = (await client.get("/")).text

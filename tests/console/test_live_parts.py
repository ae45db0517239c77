"""Live parts while somebody works in them, and when answers are lost or come late."""

import re

import httpx
from playwright.async_api import Page, Route, expect

from holdfast.demo.fleet import Fleet
from tests.console.browser import Console
from tests.console.test_live import make_pool

FOCUSED_FORM = "() => document.activeElement.form?.getAttribute('action')"


class Room:
    """A pool of the shared fleet, and what others do to it."""

    def __init__(self, api: httpx.AsyncClient, pool: int, members: list[int]) -> None:
        self.api, self.pool, self.members = api, pool, members
        self.path = f"/web/pools/{pool}"

    async def add(self, address: str) -> None:
        """Somebody adds a member."""
        answer = await self.api.post(f"/api/pools/{self.pool}/members", json={"address": address})
        assert answer.is_success, answer.text
        self.members.append(answer.json()["id"])

    async def comment(self, at: int, text: str) -> None:
        """Somebody changes one."""
        address = f"/api/pools/{self.pool}/members/{self.members[at]}"
        answer = await self.api.put(address, json={"description": text})
        assert answer.is_success, answer.text


async def a_room(api: httpx.AsyncClient, name: str) -> Room:
    made = await api.post("/api/pools", json={"name": name})
    room = Room(api, made.json()["id"], [])
    for port in (9021, 9022, 9023):
        await room.add(f"127.0.0.1:{port}")
    return room


async def test_the_focus_stays_on_the_button_of_its_row(console: Console, fleet: Fleet) -> None:
    page = console.page
    async with fleet.api() as api:
        room = await a_room(api, "focused")
        await console.go(room.path)
        await expect(page.locator("#live")).to_have_text("live")
        disable = page.locator("#member-rows").get_by_role("button", name="Disable", exact=True)
        await disable.nth(2).focus()
        third = await page.evaluate(FOCUSED_FORM)
        for text in ("once", "again"):
            await room.comment(0, text)
            await expect(page.locator("#member-rows")).to_contain_text(text)
            assert await page.evaluate(FOCUSED_FORM) == third
        await expect(page.locator("#news")).to_have_text("member 127.0.0.1:9021 updated")


async def test_what_was_ticked_stays_until_it_is_no_more(console: Console, fleet: Fleet) -> None:
    page = console.page
    async with fleet.api() as api:
        room = await a_room(api, "ticked")
        await console.go(room.path)
        await expect(page.locator("#live")).to_have_text("live")
        tick = page.get_by_label("Select 127.0.0.1:9022")
        await tick.check()
        await page.locator("#main h1").focus()
        added: list[str] = []
        while not added or not await is_told(page, f"member {added[-1]} created"):
            assert len(added) < 5, added
            added.append(f"127.0.0.1:{9024 + len(added)}")
            await room.add(added[-1])
        await expect(tick).to_be_checked()
        await tick.uncheck()
        await page.locator("#main h1").focus()
        await expect(page.locator("#member-rows")).to_contain_text(added[-1])


async def is_told(page: Page, words: str) -> bool:
    """Whether the page says so; it may be that it says at once what was looked at meanwhile."""
    try:
        await expect(page.locator("#news")).to_have_text(words, timeout=4000)
    except AssertionError:
        return False
    return True


async def test_nothing_is_lost_before_the_stream_is_open_or_when_a_fetch_fails(
    console: Console, fleet: Fleet
) -> None:
    page = console.page
    console.watch.allow("^503")
    streams = fetches = 0

    async def stream(route: Route) -> None:
        nonlocal streams
        streams += 1
        if streams == 1:  # the browser gives up after such an answer
            await route.fulfill(status=503)
            return
        await make_pool(fleet.api_url, fleet.token, "before-the-stream")
        await route.continue_()

    async def fetched(route: Route) -> None:
        nonlocal fetches
        fetches += 1
        await (route.fulfill(status=503) if fetches == 2 else route.continue_())

    await page.route(re.compile("/api/events"), stream)
    await page.route(re.compile("/web/pools$"), fetched)
    await console.go("/web/pools")
    await expect(page.locator("#rows")).to_contain_text("before-the-stream")
    assert (streams, fetches) == (2, 3)


async def test_a_page_that_was_loaded_is_not_fetched_again(console: Console) -> None:
    page, seen = console.page, list[str]()
    await console.go("/web/pools")
    page.on("request", lambda one: seen.append(one.url))
    await expect(page.locator("#live")).to_have_text("live")
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Vhosts").click()
    await expect(page.get_by_role("heading", level=1, name="Vhosts")).to_be_focused()
    await console.faults()
    assert [url for url in seen if "/web/" in url] == [f"{console.url}/web/vhosts"]


async def test_what_cost_much_to_count_is_not_counted_at_each_event(
    console: Console, fleet: Fleet
) -> None:
    page, seen = console.page, list[str]()
    async with fleet.api() as api:
        room = await a_room(api, "counted")
        await console.go(f"{room.path}?check=true")
        await expect(page.locator("#live")).to_have_text("live")
        page.on("request", lambda one: seen.append(one.url))
        await room.comment(0, "not shown")
        await expect(page.locator("#news")).to_have_text("member 127.0.0.1:9021 updated")
    await console.faults()
    assert not [url for url in seen if "check=true" in url]


async def test_the_progress_of_a_job_moves_by_its_events(
    console: Console, names: dict[str, str], fleet: Fleet
) -> None:
    page = console.page
    async with fleet.api() as api:
        move = (await api.get(f"/api/migrations/{names['moving']}")).json()
    await console.go("/")
    await page.route("**/*", lambda route: route.abort())  # from here on only the stream tells
    bar = page.locator(f"#jobs [data-progress='job/{move['job_id']}']")
    await bar.evaluate("bar => { bar.querySelector('[data-percent]').textContent = '?'; }")
    await expect(bar.locator("[data-percent]")).to_have_text(re.compile(r"^\d+ %$"))

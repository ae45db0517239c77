"""Pages that hear of what happens: soon, after a crash of the server, and from another server."""

import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest_asyncio
from playwright.async_api import Page, expect

from holdfast.demo.fleet import Fleet
from tests.console.browser import Console, Look
from tests.console.conftest import OpenConsole
from tests.servers import postgres
from tests.servers.holdfast import API_KEY, Machine

AFTER_RESTART = re.compile("after=restart")


async def make_pool(url: str, token: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as api:
        answer = await api.post("/api/pools", json={"name": name})
        assert answer.status_code == 201, answer.text


async def log_in_by_key(console: Console, path: str) -> None:
    """By the page, so that a cookie and not a header lets the browser in."""
    page = console.page
    await console.go(f"/login?next={path}")
    await page.get_by_text("With a token or API key").click()
    await page.get_by_label("Key").fill(API_KEY)
    await page.get_by_role("button", name="Log in with the key").click()
    await expect(page).to_have_url(console.url + path)
    await expect(page.locator("#live")).to_have_text("live")


async def is_shown(page: Page, name: str) -> None:
    """In the list, without the page being loaded again (how soon: benchmarks/live.py)."""
    await expect(page.locator("#rows").get_by_role("link", name=name, exact=True)).to_be_visible()
    assert await page.evaluate("() => window.testNotReloaded")


async def restart_and_come_back(console: Console) -> None:
    """By its button; for as long as the page that waits is looked at, it hears of no server."""
    page = console.page
    await page.route(AFTER_RESTART, lambda route: route.abort())
    await console.go("/web/settings")
    await page.get_by_role("button", name="Restart", exact=True).click()
    await page.get_by_role("button", name="Restart now").click()
    await expect(page.get_by_role("heading", level=1, name="Restarting")).to_be_visible()
    await console.check_in_every_look()
    await expect(page.locator("#flash")).to_be_empty()
    await page.unroute(AFTER_RESTART)
    await expect(page.get_by_role("heading", level=1, name="Settings")).to_be_visible()
    await expect(page.locator("#live")).to_have_text("live")


async def test_a_change_is_on_an_open_page(console: Console, fleet: Fleet) -> None:
    page = console.page
    await console.go("/web/pools")
    await expect(page.locator("#live")).to_have_text("live")
    await page.evaluate("() => { window.testNotReloaded = true; }")
    for name in ("live-0", "live-1"):
        await make_pool(fleet.api_url, fleet.token, name)
        await is_shown(page, name)


async def test_a_killed_server_takes_nothing_from_a_form_that_is_half_typed(
    open_console: OpenConsole, tmp_path: Path
) -> None:
    machine = Machine(tmp_path)
    with machine.serving("--no-worker") as process:
        console = await open_console(url=machine.url, token="")
        page, badge = console.page, console.page.locator("#live")
        console.watch.allow(r"console: htmx:(afterRequest|sendError)")  # nobody answers
        await log_in_by_key(console, "/web/pools/new")
        await page.get_by_label("Name", exact=True).fill("survivor")
        await page.get_by_label("Comment").fill("half of a senten")
        process.kill()
        process.wait()
        await expect(badge).to_have_text("reconnecting")
        await page.get_by_role("button", name="Create pool").click()
        await expect(page.locator("#flash")).to_contain_text("What you typed is still here")
        await expect(page.get_by_label("Comment")).to_have_value("half of a senten")
        await console.check_in_every_look()
        await console.look_like(Look())
    with machine.serving("--no-worker"):
        await expect(badge).to_have_text("live", timeout=20_000)
        await expect(page.get_by_label("Name", exact=True)).to_have_value("survivor")
        await page.get_by_label("Comment").press_sequentially("ce")
        await page.get_by_role("button", name="Create pool").click()
        await expect(page.get_by_role("heading", level=1, name="survivor")).to_be_focused()
        await expect(page.get_by_text("half of a sentence")).to_be_visible()
        await page.get_by_role("link", name="Pools", exact=True).first.click()
        await expect(page.locator("#rows")).to_contain_text("survivor")
        await make_pool(machine.url, API_KEY, "after-the-crash")
        await expect(page.locator("#rows")).to_contain_text("after-the-crash")
        await restart_and_come_back(console)


@pytest_asyncio.fixture(loop_scope="session")
async def two_servers(
    tmp_path: Path, postgres_cluster: postgres.Cluster
) -> AsyncIterator[list[Machine]]:
    """Two processes with one PostgreSQL and one directory of nginx's files."""
    url = postgres_cluster.create(postgres.TEMPLATE)
    settings = {"HOLDFAST_DATABASE_URL": url}
    with ExitStack() as stack:
        machines = [Machine(tmp_path, settings) for _ in range(2)]
        for machine in machines:
            stack.enter_context(machine.serving())
        yield machines
    postgres_cluster.drop(url)


async def test_two_servers_are_one_to_the_browser(
    open_console: OpenConsole, two_servers: list[Machine]
) -> None:
    first, second = two_servers
    one = await open_console(url=first.url, token="")
    await log_in_by_key(one, "/web/pools")
    # Cookies do not tell ports apart: the login at the first is sent to the second.
    other = await one.page.context.new_page()
    one.watch.allow(f"foreign request: {second.url}")
    await other.goto(f"{second.url}/web/pools")
    await expect(other).to_have_url(f"{second.url}/web/pools")
    await expect(other.locator("#live")).to_have_text("live")
    await make_pool(first.url, API_KEY, "seed")
    await expect(other.locator("#rows")).to_contain_text("seed")
    await other.evaluate("() => { window.testNotReloaded = true; }")
    await make_pool(first.url, API_KEY, "from-the-first")
    await is_shown(other, "from-the-first")
    await one.page.evaluate("() => { window.testNotReloaded = true; }")
    await other.get_by_role("link", name="New pool").click()
    name, comment = other.get_by_label("Name", exact=True), other.get_by_label("Comment")
    await name.fill("half-typed")
    await comment.fill("half of a senten")
    await make_pool(first.url, API_KEY, "while-somebody-types")
    await expect(other.locator("#news")).to_contain_text("while-somebody-types")
    await expect(name).to_have_value("half-typed")
    await comment.press_sequentially("ce")
    await expect(comment).to_have_value("half of a sentence")
    await other.get_by_role("button", name="Create pool").click()
    await is_shown(one.page, "half-typed")
    assert await other.evaluate("() => window.testNotReloaded")

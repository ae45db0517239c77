"""The first hour of an operator, by the pages alone: real nginx, real S3 servers, busy clients."""

import asyncio
import dataclasses
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from playwright.async_api import Page, expect

from holdfast.demo.fleet import BUCKET, NEW, OLD, VHOST, Fleet, running_programs
from holdfast.demo.traffic import Traffic
from holdfast.demo.wire import Wire
from holdfast.kernel.stores.s3.client import S3Client
from tests.console.browser import Console, Look
from tests.console.conftest import OpenConsole
from tests.journeys.stage import LIGHT

LINK = re.compile(r"http://\S+(/setup/\S+)")
PASSWORD = "four random words here"
OBJECTS, OBJECT_BYTES = 60, 60_000
LOAD = dataclasses.replace(LIGHT, uploaders=0, pause_seconds=0.2)
PATIENCE_MS = 60_000
SETTINGS = {
    "HOLDFAST_S3_ACCESS_KEY": "",
    "HOLDFAST_S3_SECRET_KEY": "",
    "HOLDFAST_MIGRATION_BANDWIDTH_LIMIT": "1M",
    "HOLDFAST_MIGRATION_PROBATION_SECONDS": "3",
}
"""Each pool has keys of its own, and a move takes long enough to be watched."""
REMEMBER = """() => {
  window.notReloaded = true;
  window.stages = new Set();
  window.copied = new Set();
  const look = () => {
    const stage = document.querySelector(".stages [aria-current=step] strong");
    if (stage) window.stages.add(stage.textContent);
    const done = document.querySelector("[data-bind$=':objects_done']");
    if (done) window.copied.add(done.textContent);
  };
  look();
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, characterData: true });
}"""
OFFERED = """() => [...document.querySelectorAll("main form[method=post], main dialog form")]
  .map((form) => new URL(form.action).pathname)"""
POST = """(path) => fetch(path, { method: "POST",
  body: new URLSearchParams({ name: "forged", confirm: "forged" }) }).then((a) => a.status)"""
LISTS = ["/", "/web/pools", "/web/vhosts", "/web/buckets", "/web/migrations", "/web/config"]
LISTS += ["/web/config/drift", "/web/config/history", "/web/jobs", "/web/schedules"]


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def follow(page: Page, name: str) -> None:
    """By a link in the page's own part."""
    await page.locator("main").get_by_role("link", name=name, exact=True).first.click()


async def heading(page: Page, name: str) -> None:
    """A new page is there."""
    found = page.get_by_role("heading", level=1, name=name)
    await expect(found).to_be_visible(timeout=PATIENCE_MS)


async def told(page: Page, words: str) -> None:
    await expect(page.locator("#flash")).to_contain_text(words, timeout=PATIENCE_MS)


async def set_password(console: Console, path: str) -> None:
    page = console.page
    await console.go(path)
    await page.get_by_label("New password").fill(PASSWORD)
    await page.get_by_label("Again").fill(PASSWORD)
    await press(page, "Set the password and log in")
    await heading(page, "Overview")
    await expect(page.locator("#live")).to_have_text("live", timeout=PATIENCE_MS)


async def make_pools(page: Page, fleet: Fleet) -> None:
    for name, port in fleet.pools.items():
        await page.get_by_role("link", name="Pools", exact=True).first.click()
        await page.get_by_role("link", name=re.compile("New pool|first pool")).first.click()
        await page.get_by_label("Name", exact=True).fill(name)
        await press(page, "Create pool")
        await heading(page, name)
        await follow(page, "Add a member")
        await page.get_by_label("Address").fill(f"127.0.0.1:{port}")
        await press(page, "Add the member")
        await expect(page.locator("#member-rows")).to_contain_text(str(port))
        await follow(page, "Set keys of its own")
        await page.get_by_label("Access key").fill(fleet.access_key)
        await page.get_by_label("Secret key").fill(fleet.secret_key)
        await press(page, "Store the keys")
        await expect(page.locator("#keys")).to_contain_text("the pool's own")
        assert fleet.secret_key not in await page.content()


async def make_vhost(page: Page, fleet: Fleet) -> None:
    await page.get_by_role("link", name="Vhosts", exact=True).first.click()
    await page.get_by_role("link", name="Make the first vhost").click()
    await page.get_by_label("Server name").fill(VHOST)
    await page.get_by_label("Port").fill(str(fleet.gateway_port))
    await page.get_by_label("Speaks TLS").uncheck()
    await page.get_by_label("Default pool").select_option(label=OLD)
    await press(page, "Preview and test")
    await expect(page.locator("#trial")).to_contain_text(VHOST, timeout=PATIENCE_MS)
    await press(page, "Create vhost")
    await heading(page, VHOST)


async def promote(page: Page) -> None:
    await follow(page, "Buckets")
    await heading(page, f"Buckets of {VHOST}")
    await page.locator("main").get_by_role("button", name="Sync now").first.click()
    await expect(page.locator("#rows")).to_contain_text(BUCKET, timeout=PATIENCE_MS)
    await follow(page, "Route")
    await page.get_by_label("Pool", exact=True).select_option(label=NEW)
    await press(page, "Route it")
    await expect(page.locator("#conflict")).to_contain_text(f"has objects on {OLD}")


async def move_and_watch(page: Page, fleet: Fleet) -> None:
    """Nothing is loaded again: what changes on the page, changes by events."""
    await press(page, f"Move them to {NEW}, then route")
    await heading(page, f"Move of {BUCKET}")
    await page.evaluate(REMEMBER)
    await expect(page.locator("#move-head .badge")).to_have_text("done", timeout=PATIENCE_MS)
    assert await page.evaluate("() => window.notReloaded")
    stages = await page.evaluate("() => [...window.stages]")
    copied = await page.evaluate("() => [...window.copied]")
    assert len(stages) >= 3, stages
    assert len(copied) >= 3, copied
    async with S3Client(fleet.pool_url(NEW), fleet.access_key, fleet.secret_key) as s3:
        found = [one async for part in s3.list_objects(BUCKET, by_folder=True) for one in part]
    assert len(found) >= OBJECTS


def edit_by_hand(fleet: Fleet, fails: int) -> Path:
    path = fleet.directory / "nginx/live/pools" / f"{OLD}.conf"
    text = re.sub(r"max_fails=\d+", f"max_fails={fails}", path.read_text())
    path.unlink()  # other generations have the same file by a hard link
    path.write_text(text)
    return path


async def see_drift(page: Page) -> None:
    await page.get_by_role("link", name="Overview", exact=True).first.click()
    await expect(page.locator("#needs")).to_contain_text("1 file differs")
    await page.get_by_role("link", name="Configuration", exact=True).first.click()
    await expect(page.locator("#standing")).to_contain_text("1 file differs")
    await follow(page, "Look at the difference")
    await heading(page, "Drift")


async def drift_and_back(page: Page, fleet: Fleet) -> None:
    path = edit_by_hand(fleet, 7)
    await see_drift(page)
    await expect(page.locator("#drift")).to_contain_text("max_fails=7")
    await press(page, "Absorb")
    await press(page, "Absorb it")
    await told(page, "is absorbed")
    assert "max_fails=7" in path.read_text()
    edit_by_hand(fleet, 9)
    await restore(page)
    assert "max_fails=7" in path.read_text()


async def roll_back(console: Console, fleet: Fleet) -> None:
    page = console.page
    await page.get_by_role("link", name="Configuration", exact=True).first.click()
    await follow(page, "History")
    await heading(page, "History")
    before = (fleet.directory / "nginx/live").readlink().name
    await follow(page, "Go back to it")
    await press(page, "Rehearse the way back")
    await expect(page.locator("main [role=status]")).to_contain_text("The way back works")
    await console.check_in_every_look()
    await console.look_like(Look())
    await press(page, "Go back to it")
    typed = page.get_by_label("to confirm")
    await typed.fill(await typed.get_attribute("data-must-be") or "")
    await press(page, "Make it live")
    await heading(page, "History")
    assert (fleet.directory / "nginx/live").readlink().name != before


async def make_token(page: Page, fleet: Fleet) -> None:
    await page.get_by_role("link", name="Users and tokens").first.click()
    await follow(page, "Tokens")
    await follow(page, "Make the first token")
    await page.get_by_label("Name", exact=True).fill("robot")
    await press(page, "Create token")
    await heading(page, "Token robot is made")
    token = (await page.locator("figure.code pre").text_content() or "").strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=fleet.api_url, headers=headers) as api:
        assert (await api.get("/api/pools")).status_code == 200
        assert (await api.post("/api/pools", json={"name": "x"})).status_code == 403
    await follow(page, "Back to the tokens")
    await expect(page.locator("#tokens")).to_contain_text("robot")
    assert token not in await page.content()


async def invite_viewer(page: Page) -> str:
    await page.get_by_role("link", name="Users and tokens").first.click()
    await follow(page, "New user")
    await heading(page, "New user")
    await page.get_by_label("Name", exact=True).fill("vera")
    await press(page, "Create user and link")
    await heading(page, "User vera is made")
    found = LINK.search(await page.locator("figure.code pre").text_content() or "")
    assert found
    return found[1]


async def what_is_offered(console: Console) -> set[str]:
    offered: set[str] = set()
    for path in LISTS:
        await console.go(path)
        offered |= set(await console.page.evaluate(OFFERED))
    return offered


async def viewer_is_offered_nothing(viewer: Console, offered: set[str]) -> None:
    assert len(offered) >= 3, offered
    assert await what_is_offered(viewer) == set()
    page = viewer.page
    forged = offered | {"/web/pools/new", "/web/vhosts/new", "/web/migrations/new"}
    answers = {path: await page.evaluate(POST, path) for path in sorted(forged)}
    assert set(answers.values()) == {403}, answers
    for path in ("/web/pools/new", "/web/users", "/web/tokens/new"):
        await viewer.go(path, status=403)
    await viewer.check_in_every_look()


@asynccontextmanager
async def busy_clients(fleet: Fleet) -> AsyncIterator[None]:
    """Clients that write and read all the while; in the end none of them saw a fault."""
    async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:
        traffic = Traffic(wire, BUCKET, LOAD)
        clients = asyncio.create_task(traffic.run())
        try:
            yield
        finally:
            traffic.stop()
            await clients
        await traffic.audit({})
        assert traffic.tally.clean, traffic.tally.examples
        assert traffic.tally.total > 0


async def fill(fleet: Fleet) -> None:
    async with S3Client(fleet.pool_url(OLD), fleet.access_key, fleet.secret_key) as s3:
        await s3.create_bucket(BUCKET)
        for number in range(OBJECTS):
            await s3.put(BUCKET, f"{number:04d}", os.urandom(OBJECT_BYTES))


async def restore(page: Page) -> None:
    await see_drift(page)
    await press(page, "Restore")
    await press(page, "Restore it")
    await told(page, "is restored")


async def test_the_first_hour(open_console: OpenConsole, tmp_path: Path) -> None:
    async with running_programs(tmp_path, SETTINGS) as fleet:
        await fill(fleet)
        link = LINK.search((tmp_path / "holdfast.log").read_text())
        assert link
        console = await open_console(url=fleet.api_url, token="")
        page = console.page
        await set_password(console, link[1])
        await make_pools(page, fleet)
        await make_vhost(page, fleet)
        await promote(page)
        async with busy_clients(fleet):
            await move_and_watch(page, fleet)
        await drift_and_back(page, fleet)
        await make_token(page, fleet)
        invitation = await invite_viewer(page)
        edit_by_hand(fleet, 11)
        offered = await what_is_offered(console)
        viewer = await open_console(url=fleet.api_url, token="")
        await set_password(viewer, invitation)
        await viewer_is_offered_nothing(viewer, offered)
        await restore(page)
        await roll_back(console, fleet)
        await page.locator("details.user summary").click()
        await press(page, "Log out")
        await heading(page, "Log in")
        await console.go("/web/pools")
        await heading(page, "Log in")

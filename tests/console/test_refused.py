"""A button that the server refuses: the page says why and can be used on."""

import httpx
from playwright.async_api import expect

from holdfast.demo.fleet import Fleet
from tests.console.browser import Console, Look


async def a_pool(fleet: Fleet, name: str, *addresses: str) -> int:
    async with fleet.api() as api:
        made = await api.post("/api/pools", json={"name": name})
        pool_id: int = _checked(made).json()["id"]
        for address in addresses:
            _checked(await api.post(f"/api/pools/{pool_id}/members", json={"address": address}))
    return pool_id


def _checked(answer: httpx.Response) -> httpx.Response:
    assert answer.is_success, answer.text
    return answer


async def test_a_refused_button_says_why_and_leaves_a_page(console: Console, fleet: Fleet) -> None:
    page = console.page
    number = await a_pool(fleet, "refusing", "127.0.0.1:9011", "127.0.0.1:9012")
    await console.go(f"/web/pools/{number}")
    await page.evaluate("() => { window.sameDocument = true }")
    await page.get_by_label("Select all shown").check()
    await page.locator("#members-chosen").get_by_role("button", name="Disable").click()
    await expect(page.locator("#main")).to_contain_text("No enabled member would be left")
    await expect(page).to_have_url(f"{console.url}/web/pools/{number}")
    await console.check_in_every_look()
    await console.look_like(Look())
    await page.get_by_role("link", name="Back to where you were").click()
    await expect(page.locator("#member-rows")).to_contain_text("127.0.0.1:9012")
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Jobs").click()
    await expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_focused()
    assert await page.evaluate("() => window.sameDocument")

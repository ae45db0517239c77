"""Every dialog that a page has, open, in every look: no finding of axe, nothing too wide."""

import pytest
from playwright.async_api import expect

from docs.console_pages import PAGES
from docs.console_site import edit_by_hand
from holdfast.demo.fleet import Fleet
from tests.console.browser import Console

WITH_DIALOGS = {
    "pool-off": "Delete",
    "pool": "Disable",
    "vhost": "Delete",
    "bucket": "Take the route away",
    "migration-running": "Cancel",
    "migration-done": "Delete the old copy",
}


@pytest.mark.parametrize("name", WITH_DIALOGS)
async def test_a_dialog_is_good(console: Console, names: dict[str, str], name: str) -> None:
    page = console.page
    await console.go(PAGES[name].format(**names))
    words = WITH_DIALOGS[name]
    button = page.locator("main").get_by_role("button", name=words, exact=True).first
    await button.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await console.check_in_every_look()


async def test_drift_is_good_as_one_and_side_by_side(
    console: Console, names: dict[str, str], fleet: Fleet
) -> None:
    assert names
    edit_by_hand(fleet)
    page = console.page
    for path in ("/web/config/drift", "/web/config/drift?diff=sides"):
        await console.go(path)
        await expect(page.locator("#drift")).to_contain_text("quieter during the rebuild")
        await console.check_in_every_look()
    await page.get_by_role("button", name="Restore", exact=True).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await console.check_in_every_look()
    await page.get_by_role("button", name="Restore it").click()
    await expect(page.locator("#flash")).to_contain_text("is restored")

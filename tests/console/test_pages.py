"""Every page of the console, lived in and empty, in every look: no fault and no finding of axe."""

import pytest
from playwright.async_api import expect

from docs.console_pages import PAGES, PRESSED
from tests.console.browser import Console


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_of_a_lived_in_site_is_good(
    console: Console, names: dict[str, str], name: str
) -> None:
    await console.go(PAGES[name].format(**names))
    if name in PRESSED:
        await console.press(PRESSED[name])
    await expect(console.page.locator("h1").first).to_be_visible()
    await console.check_in_every_look()
    await console.check_dialogs()


@pytest.mark.parametrize("name", [name for name, path in PAGES.items() if "{" not in path])
async def test_a_page_of_an_empty_site_is_good(empty_console: Console, name: str) -> None:
    await empty_console.go(PAGES[name])
    await expect(empty_console.page.locator("h1").first).to_be_visible()
    await empty_console.check_in_every_look()


async def test_a_page_that_is_not_there_says_so(console: Console) -> None:
    await console.go("/web/nothing-like-that", status=404)
    await console.check_in_every_look()


AFTER = {
    "health": ("Run the checks", "In order"),
    "config-validate": ("Test the files", "What came of it"),
    "node-setup": ("Make the files", "Copy"),
}
"""What is pressed, and a word of the answer."""


@pytest.mark.parametrize("name", AFTER)
async def test_what_a_button_answers_is_good(
    console: Console, names: dict[str, str], name: str
) -> None:
    page = console.page
    await console.go(PAGES[name].format(**names))
    button, words = AFTER[name]
    await page.locator("main").get_by_role("button", name=button, exact=True).first.click()
    await expect(page.locator("main")).to_contain_text(words)
    await console.check_in_every_look()


async def test_a_token_that_is_shown_once_is_good(console: Console) -> None:
    page = console.page
    await console.go(PAGES["token-new"])
    await page.get_by_label("Name").fill("looked-at-once")
    await page.get_by_label("For", exact=False).first.fill("jobs tiers")
    await page.get_by_role("button", name="Create token").click()
    await expect(page.locator("main")).to_contain_text("holdfast_")
    await console.check_in_every_look()


async def test_a_backup_that_was_checked_is_good(console: Console) -> None:
    page = console.page
    await console.go(PAGES["backup-new"])
    await page.get_by_role("button", name="Write the backup").click()
    await expect(page.locator("h1").first).not_to_have_text("Write a backup")
    await page.locator("main a[href^='/web/backups/']:not([href$='/new'])").first.click()
    await page.get_by_role("button", name="Check it", exact=True).click()
    await expect(page.locator("main [role=status], main [role=alert]").first).to_be_visible()
    await console.check_in_every_look()

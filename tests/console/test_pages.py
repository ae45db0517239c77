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
    await console.press(*PRESSED.get(name, ("", "")))
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

"""The search over everything, by keyboard."""

import re

from playwright.async_api import expect

from tests.console.browser import Console


async def test_ctrl_k_finds_by_words_and_enter_goes_there(console: Console) -> None:
    page = console.page
    await console.go("/")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name=re.compile("Pools, vhosts|Search")).fill("migrations")
    await expect(page.get_by_role("option", selected=True)).to_contain_text("Migrations")
    await console.check_in_every_look()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{console.url}/web/migrations")
    await expect(page.get_by_role("dialog")).to_be_hidden()

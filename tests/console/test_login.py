"""The first login, logout, the account: in a browser, by cookie alone."""

import re
from pathlib import Path

from playwright.async_api import expect

from tests.console.conftest import OpenConsole
from tests.servers.holdfast import Machine

LINK = re.compile(r"http://\S+(/setup/\S+)")
PASSWORD = "four random words here"


async def test_the_first_admin_sets_a_password_logs_out_and_in_and_ends_a_session(
    open_console: OpenConsole, tmp_path: Path
) -> None:
    machine = Machine(tmp_path)
    with machine.serving("--no-worker"):
        found = LINK.search((tmp_path / "out").read_text())
        assert found
        console = await open_console(url=machine.url, token="")
        page = console.page

        await console.go(found[1])
        await console.check_in_every_look()
        await page.get_by_label("New password").fill("short")
        await page.get_by_label("Again").fill("short and other")
        await page.locator("form.form").evaluate("form => { form.noValidate = true }")
        await page.get_by_role("button", name="Set the password").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await console.check_in_every_look()
        await page.get_by_label("New password").fill(PASSWORD)
        await page.get_by_label("Again").fill(PASSWORD)
        await page.get_by_role("button", name="Set the password").click()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()

        await page.get_by_text("admin", exact=True).first.click()
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        await console.check_in_every_look()

        await console.go("/web/account")
        await expect(page).to_have_url(f"{machine.url}/login?next=/web/account")
        await page.get_by_label("Name").fill("admin")
        await page.get_by_label("Password").fill("wrong")
        await page.get_by_role("button", name="Log in", exact=True).click()
        await expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong")
        await console.check_in_every_look()
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in", exact=True).click()
        await expect(page).to_have_url(f"{machine.url}/web/account")
        await expect(page.get_by_text("this browser")).to_be_visible()
        await console.check_in_every_look()

        await page.get_by_role("button", name="End", exact=True).click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await console.check_in_every_look()
        await page.get_by_role("button", name="End it").click()
        await expect(page).to_have_url(f"{machine.url}/login")
        await expect(page.get_by_role("navigation", name="Main")).to_have_count(0)

"""What the frame does on every page: theme, times, the way back, errors, a login that ended."""

import asyncio
import re

from playwright.async_api import Route, expect

from tests.console.browser import Console
from tests.console.conftest import OpenConsole
from tests.servers.holdfast import API_KEY, Machine

BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


async def test_the_theme_that_was_chosen_stays(console: Console) -> None:
    page = console.page
    await console.go("/")
    light = await page.evaluate(BACKGROUND)
    await page.get_by_role("button", name="Change between dark and light").click()
    await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = await page.evaluate(BACKGROUND)
    assert dark != light
    await page.get_by_role("link", name="Pools", exact=True).first.click()
    await expect(page.get_by_role("heading", level=1, name="Pools")).to_be_focused()
    assert await page.evaluate(BACKGROUND) == dark
    await console.go("/web/jobs")
    assert await page.evaluate(BACKGROUND) == dark
    await console.check()


async def test_times_are_the_viewers_and_utc_is_on_hover(console: Console) -> None:
    await console.go("/web/pools")
    time = console.page.locator("#rows time").first
    moment = await time.get_attribute("datetime")
    hover = await time.get_attribute("title") or ""
    assert moment
    expected = await console.page.evaluate(
        """(moment) => new Intl.DateTimeFormat("en-GB", { timeZone: "Europe/Prague",
             dateStyle: "medium", timeStyle: "medium" }).format(new Date(moment))""",
        moment,
    )
    await expect(time).to_have_text(expected)
    assert "UTC" in hover
    assert moment[11:16] in hover, (moment, hover)


async def test_back_and_forward_after_links_show_the_page_they_name(console: Console) -> None:
    page = console.page
    await console.go("/web/pools")
    await page.evaluate("() => { window.sameDocument = true }")
    for name in ("Jobs", "Audit"):
        await page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()
        await expect(page.get_by_role("heading", level=1, name=name)).to_be_focused()
        await expect(page).to_have_title(re.compile(name))
    assert await page.evaluate("() => window.sameDocument"), "a link loaded the page as a whole"
    for name in ("Jobs", "Pools"):
        await page.go_back()
        await expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        await expect(page.locator("nav [aria-current=page]").first).to_have_text(name)
        await expect(page.locator("#main")).to_have_count(1)
        await expect(page.locator("#live")).to_have_text("live")
        await expect(page.get_by_role("heading", level=1, name=name)).to_be_focused()
    await page.go_forward()
    await expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_focused()
    await console.check()


async def test_the_last_of_two_quick_clicks_is_where_one_goes(console: Console) -> None:
    page, came = console.page, asyncio.Event()

    async def late(route: Route) -> None:
        await came.wait()
        await route.continue_()

    await page.route(re.compile("/web/jobs$"), late)
    await console.go("/web/pools")
    menu = page.get_by_role("navigation", name="Main")
    async with page.expect_event("requestfinished", lambda one: one.url.endswith("/web/audit")):
        await menu.get_by_role("link", name="Audit").click()
        await menu.get_by_role("link", name="Jobs").click()
    await console.faults()  # what comes first is not where the person wants to go
    came.set()
    await expect(page.get_by_role("heading", level=1, name="Jobs")).to_be_focused()
    await expect(page).to_have_url(f"{console.url}/web/jobs")


async def test_what_was_refused_is_said_at_the_field_in_every_look(console: Console) -> None:
    page = console.page
    await console.go("/web/vhosts/new")
    await page.evaluate("() => { window.sameDocument = true }")
    await page.get_by_label("Server name").fill("not a name;")
    await page.get_by_label("Comment").fill("kept <b>as it is</b>")
    await page.locator("form.form").evaluate("form => { form.noValidate = true }")
    await page.get_by_role("button", name="Create vhost").click()
    field = page.get_by_label("Server name")
    await expect(field).to_have_attribute("aria-invalid", "true")
    await expect(field).to_be_focused()
    described = await field.get_attribute("aria-describedby") or ""
    assert any(part.endswith("-error") for part in described.split()), described
    await expect(page.get_by_label("Comment")).to_have_value("kept <b>as it is</b>")
    assert await page.evaluate("() => window.sameDocument")
    await console.check_in_every_look()


async def test_a_login_that_ended_leads_to_the_login_and_back(
    open_console: OpenConsole, empty_machine: Machine
) -> None:
    console = await open_console(url=empty_machine.url, token="")
    page = console.page
    await console.go("/login?next=/web/pools")
    await page.get_by_text("With a token or API key").click()
    await page.get_by_label("Key").fill(API_KEY)
    await page.get_by_role("button", name="Log in with the key").click()
    await expect(page).to_have_url(f"{console.url}/web/pools")
    await page.context.clear_cookies()
    await page.get_by_role("link", name="Jobs", exact=True).first.click()
    await expect(page).to_have_url(f"{console.url}/login?next=/web/pools")
    await expect(page.get_by_role("heading", name=re.compile("Log in"))).to_be_visible()
    await expect(page.get_by_role("navigation", name="Main")).to_have_count(0)
    await page.get_by_text("With a token or API key").click()
    await page.get_by_label("Key").fill(API_KEY)
    await page.get_by_role("button", name="Log in with the key").click()
    await expect(page).to_have_url(f"{console.url}/web/pools")

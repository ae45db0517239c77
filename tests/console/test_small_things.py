"""What the console's own script does by itself: copying, dialogs, colours, search, logs."""

import asyncio
import re
from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

from playwright.async_api import Route, expect

from docs.console_pages import PAGES
from holdfast.demo.fleet import Fleet
from tests.console.browser import Console

PAD_LINES = 20_000
DRAWN_AS_THE_PAGE = """() => {
  const pixels = (canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer));
  };
  const one = document.createElement("canvas").getContext("2d");
  const probe = document.querySelector(".plot").appendChild(document.createElement("i"));
  probe.className = "ink-line";
  one.fillStyle = getComputedStyle(probe).color;
  one.fillRect(0, 0, one.canvas.width, one.canvas.height);
  probe.remove();
  const drawn = document.querySelector(".plot canvas");
  return drawn !== null && pixels(drawn).has([...pixels(one.canvas)][0]);
}"""
"""Whether a chart's lines have the colour that the page's lines have now."""
AT_ITS_END = "(pre) => pre.scrollHeight - pre.scrollTop - pre.clientHeight < 2"


def in_the_viewers_zone(text: str) -> str:
    """A log as the tests' browser shows it."""

    def zoned(found: re.Match[str]) -> str:
        moment = datetime.fromisoformat(found[0]).astimezone(ZoneInfo("Europe/Prague"))
        return moment.isoformat(sep=" ", timespec="milliseconds")[: len("2026-01-31 12:00:00.000")]

    return re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z", zoned, text, flags=re.MULTILINE)


async def test_copying_works_without_the_clipboard_of_https(console: Console) -> None:
    page = console.page
    script = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
    await page.add_init_script(script)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await console.go("/web/pools/new")
    await page.get_by_label("Name", exact=True).fill("copied")
    await page.locator("form.form details.menu summary").first.click()
    await page.get_by_role("button", name="Copy as CLI").click()
    await expect(page.locator("#flash")).to_contain_text("Copied")
    await page.get_by_label("Comment").focus()
    await page.keyboard.press("Control+v")
    await expect(page.get_by_label("Comment")).to_have_value(re.compile("^holdfast pool create"))
    await page.evaluate("() => { document.execCommand = () => false; }")
    await page.get_by_role("button", name="Copy as CLI").click()
    await expect(page.locator("#flash")).to_contain_text("By hand: holdfast pool create")


async def test_a_click_in_a_dialogs_margin_keeps_it_open(
    console: Console, names: dict[str, str]
) -> None:
    page = console.page
    await console.go(f"/web/pools/{names['off_pool']}")
    await page.locator("main .page-head").get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    await dialog.click(position={"x": 5, "y": 5})
    await expect(dialog).to_be_visible()
    await page.mouse.click(5, 400)
    await expect(dialog).to_be_hidden()


async def test_the_colours_go_back_to_the_systems(console: Console) -> None:
    page, root = console.page, console.page.locator("html")
    await console.go("/")
    button = page.get_by_role("button", name="Change between dark and light")
    for expected in ("dark", "light"):
        await button.click()
        await expect(root).to_have_attribute("data-theme", expected)
    await button.click()
    await expect(root).not_to_have_attribute("data-theme", re.compile("."))
    assert not [c for c in await page.context.cookies() if c.get("name") == "holdfast_theme"]


async def test_a_chart_is_drawn_in_the_colours_of_the_page(
    console: Console, names: dict[str, str]
) -> None:
    """As it was drawn first, its lines would be black on white, or not be seen."""
    page = console.page
    await page.emulate_media(color_scheme="dark")
    await console.go(PAGES["migration-running"].format(**names))
    for scheme in ("dark", "light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        await page.wait_for_function(DRAWN_AS_THE_PAGE)


async def test_a_late_answer_does_not_replace_what_was_found_since(console: Console) -> None:
    page, held = console.page, asyncio.Event()

    async def hold_the_first(route: Route) -> None:
        if route.request.url.endswith("q=mig"):
            await held.wait()
        await route.continue_()

    await page.route(re.compile("/web/search"), hold_the_first)
    await console.go("/")
    await page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search everything")
    async with page.expect_request(re.compile("q=mig$")):
        await field.fill("mig")
    async with page.expect_response(re.compile("q=nothing-like-that$")):
        await field.fill("nothing-like-that")
    await expect(page.locator("#palette-none")).to_contain_text("nothing-like-that")
    async with page.expect_response(re.compile("q=mig$")):
        held.set()
    await console.faults()
    await expect(page.locator("#palette-none")).to_contain_text("nothing-like-that")
    await expect(page.get_by_role("option")).to_have_count(0)
    await console.check()


async def test_a_log_is_read_back_to_its_beginning_and_no_more_once_it_ended(
    console: Console, names: dict[str, str], fleet: Fleet
) -> None:
    page, asked = console.page, Counter[str]()
    async with fleet.api() as api:
        move = (await api.get(f"/api/migrations/{names['moved']}")).json()
    path = next(fleet.directory.rglob(f"{move['job_id']}.log"))
    beginning = path.read_text()
    path.write_text(beginning + "".join(f"line {at}\n" for at in range(PAD_LINES)))
    page.on("request", lambda one: asked.update([one.url.rpartition("?")[2]]))
    await console.go(f"/web/jobs/{move['job_id']}")
    log, earlier = page.locator(".log pre"), page.get_by_role("button", name="Load earlier lines")
    await expect(log).to_contain_text(f"line {PAD_LINES - 1}\n")
    await console.check()
    needle, note = page.get_by_label("Search the log"), page.locator("[data-log-note]")
    await needle.fill("line 19999")
    await expect(note).to_have_text(
        "Only the lines that were loaded are searched: load earlier ones."
    )
    await needle.fill("in no line")
    await expect(note).to_contain_text("No line has it. Only the lines")
    await needle.fill("")
    await earlier.click()
    await expect(earlier).to_be_hidden()
    whole = path.read_text()
    assert await log.text_content() == in_the_viewers_zone(whole) != whole
    await needle.fill("line 19999")
    await expect(log).to_have_text("line 19999")
    await expect(note).to_be_empty()
    path.write_text(beginning)
    assert asked[f"before={len(whole) - 65536}"] <= 1
    assert sum(asked[one] for one in asked if one.startswith("offset=")) == 1


async def test_a_log_is_followed_as_it_grows_until_somebody_stays(
    console: Console, names: dict[str, str], fleet: Fleet
) -> None:
    page = console.page
    async with fleet.api() as api:
        move = (await api.get(f"/api/migrations/{names['moving']}")).json()
    path = next(fleet.directory.rglob(f"{move['job_id']}.log"))

    def grow(word: str) -> None:
        with path.open("a") as file:
            file.write("".join(f"{word} {at}\n" for at in range(500)))

    await console.go(f"/web/jobs/{move['job_id']}")
    log = page.locator(".log pre")
    await expect(log).to_contain_text("copying")
    grow("more")
    await expect(log).to_contain_text("more 499\n")
    assert await log.evaluate(AT_ITS_END)
    await page.get_by_label("Follow").uncheck()
    grow("yet more")
    await expect(log).to_contain_text("yet more 499\n")
    assert not await log.evaluate(AT_ITS_END)

"""The console without a mouse, and what a screen reader is told."""

import re

from playwright.async_api import Page, expect

from tests.console.browser import Console, Look

MOST_STEPS = 120
NAME = """() => {
  const at = document.activeElement;
  if (at === document.body) return "";
  window.seen ??= [];
  let number = window.seen.indexOf(at);
  if (number < 0) number = window.seen.push(at) - 1;
  return `${number} ${at.localName} ${at.textContent.trim().slice(0, 30)}`;
}"""
OUT_OF_REACH = """() => {
  const wanted = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  return [...document.querySelectorAll(wanted)]
    .filter((one) => one.checkVisibility() && !one.disabled && !(window.seen ?? []).includes(one))
    .map((one) => one.outerHTML.slice(0, 120));
}"""
OUTLINE = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle !== "none" || style.boxShadow !== "none";
}"""


async def walk(page: Page) -> list[str]:
    """Tab until the focus leaves the page: what had it."""
    names: list[str] = []
    for _ in range(MOST_STEPS):
        await page.keyboard.press("Tab")
        name = await page.evaluate(NAME)
        if not name or name in names:
            return names
        assert await page.evaluate(OUTLINE), f"nothing shows that {name} has the focus"
        names.append(name)
    raise AssertionError(f"no end: {names[-5:]}")


async def test_tab_reaches_everything_and_the_skip_link_is_first(console: Console) -> None:
    page = console.page
    await page.route("**/api/events*", lambda route: route.abort())  # it stays as it is meanwhile
    for path in ("/", "/web/pools", "/web/pools/new"):
        await console.go(path)
        await page.evaluate("() => document.activeElement.blur()")
        names = await walk(page)
        assert "Skip to content" in names[0], names[:3]
        assert await page.evaluate(OUT_OF_REACH) == []
    await console.go("/web/pools")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("() => document.activeElement.id") == "main"


async def test_the_menu_of_a_narrow_window_opens_by_keyboard(console: Console) -> None:
    page = console.page
    await console.look_like(Look("light", 380))
    await console.go("/")
    pools = page.get_by_role("link", name="Pools", exact=True).first
    await expect(pools).to_be_hidden()
    button = page.get_by_role("button", name="Navigation")
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(button).to_have_attribute("aria-expanded", "true")
    await pools.focus()
    await console.check()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Pools")).to_be_focused()
    await expect(button).to_have_attribute("aria-expanded", "false")


async def test_the_palette_goes_by_arrows_and_gives_the_focus_back(console: Console) -> None:
    page = console.page
    await console.go("/web/pools")
    new = page.locator("main").get_by_role("link", name="New pool").first
    await new.focus()
    await page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Search everything")
    await expect(field).to_be_focused()
    await page.keyboard.type("pool")
    hits = page.locator("#palette-hits")
    chosen = hits.get_by_role("option", selected=True)
    await expect(chosen).to_have_count(1)
    await expect(hits.get_by_role("option", name=re.compile("New pool"))).to_be_visible()
    first = await chosen.text_content()
    await page.keyboard.press("ArrowDown")
    await expect(chosen).not_to_have_text(first or "")
    await page.keyboard.press("ArrowUp")
    await expect(chosen).to_have_text(first or "")
    await page.keyboard.press("Escape")
    if await page.get_by_role("dialog").is_visible():  # the first Escape empties a search field
        await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(new).to_be_focused()


async def test_a_dialog_keeps_the_focus_and_gives_it_back(
    console: Console, names: dict[str, str]
) -> None:
    page = console.page
    await console.go(f"/web/pools/{names['off_pool']}")
    button = page.locator("main .page-head").get_by_role("button", name="Delete", exact=True).first
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_be_visible()
    inside = "() => document.activeElement.matches('dialog, dialog *, body')"
    for _ in range(8):  # the browser's own frame is on the way round
        await page.keyboard.press("Tab")
        assert await page.evaluate(inside), await page.evaluate(NAME)
    await console.check_in_every_look()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()


async def test_only_changes_of_state_are_read_aloud(
    console: Console, names: dict[str, str]
) -> None:
    page = console.page
    await console.go(f"/web/migrations/{names['moving']}")
    loud = "[aria-live=polite], [aria-live=assertive], [role=status], [role=alert]"
    figures = page.locator("[data-bind], progress, .plot, [role=log]:not([aria-live=off])")
    assert await figures.count() > 0
    for at in range(await figures.count()):
        inside = await figures.nth(at).evaluate("(one, loud) => !!one.closest(loud)", loud)
        assert not inside, await figures.nth(at).evaluate("one => one.outerHTML")
    await expect(page.locator("#live")).to_have_role("status")
    await expect(page.locator("#flash")).to_have_attribute("aria-live", "polite")

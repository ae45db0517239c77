"""Stores and tiers in a browser: contrast of the map, dialogs, what is copied, what is live."""

from playwright.async_api import expect

from docs.console_pages import PAGES
from holdfast.demo.fleet import Fleet
from tests.console.browser import LOOKS, Console

LEAST_CONTRAST = 4.5
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const light = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const parts = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  const text = document.querySelector(".treemap text");
  return [...document.querySelectorAll(".key span")].map((shade) => ratio(
    light(getComputedStyle(text).fill), light(getComputedStyle(shade).backgroundColor)));
}"""
COPIED = """() => {
  window.copied = [];
  Object.defineProperty(navigator, "clipboard",
    { value: { writeText: async (text) => { window.copied.push(text); } }, configurable: true });
}"""


async def test_names_in_the_map_can_be_read_on_every_shade(
    console: Console, names: dict[str, str]
) -> None:
    await console.go(PAGES["tier-report"].format(**names))
    for look in LOOKS:
        await console.look_like(look)
        found = await console.page.evaluate(CONTRASTS)
        assert len(found) == 5
        assert min(found) >= LEAST_CONTRAST, (look, found)
    await expect(console.page.locator(".treemap rect")).not_to_have_count(0)


async def test_a_box_of_the_map_leads_to_its_folder_by_keyboard(
    console: Console, names: dict[str, str]
) -> None:
    await console.go(PAGES["tier-report"].format(**names))
    box = console.page.get_by_role("link", name="raw/2020: ")
    await box.focus()
    await box.press("Enter")
    await expect(console.page.locator("h1")).to_have_text("2020")
    await expect(console.page.locator("tbody tr")).to_have_count(16)


async def test_a_freeze_beyond_the_limit_asks_for_the_name(
    console: Console, names: dict[str, str]
) -> None:
    await console.go(PAGES["tier-stopped"].format(**names))
    await console.page.get_by_role("button", name="Freeze all the same").click()
    dialog = console.page.locator("#beyond")
    await expect(dialog).to_be_visible()
    await console.check_in_every_look()
    go = dialog.get_by_role("button", name="Freeze", exact=True)
    await expect(go).to_be_disabled()
    await dialog.get_by_label("to confirm").fill("lab-data")
    await expect(go).to_be_enabled()


async def test_secrets_of_a_store_are_not_in_what_its_form_copies(console: Console) -> None:
    page = console.page
    await console.go(PAGES["store-sftp"])
    await page.evaluate(COPIED)
    for label, text in (("Name", "far"), ("Host", "far.example.org"), ("User", "lab")):
        await page.get_by_label(label, exact=True).fill(text)
    await page.locator("#f-pass").fill("a secret word")
    await page.locator("#f-key_pem").fill("a secret key")
    await page.locator("main form summary", has_text="Copy as").click()
    await page.get_by_role("button", name="Copy as CLI").click()
    await page.locator("main form summary", has_text="Copy as").click()
    await page.locator("main form summary", has_text="Copy as").click()
    await page.get_by_role("button", name="Copy as curl").click()
    cli, curl = await page.evaluate("() => window.copied")
    assert cli == (
        "holdfast store create far --kind sftp --set 'host=far.example.org' --set 'user=lab' "
        "--secret pass --secret key_pem"
    )
    assert '"options":{"host":"far.example.org","user":"lab","pass":"<pass>"' in curl
    assert "a secret" not in cli + curl


async def test_a_tier_tells_of_a_run_that_somebody_else_asked_for(
    console: Console, fleet: Fleet, names: dict[str, str]
) -> None:
    page = console.page
    await console.go(PAGES["tier"].format(**names))
    await expect(page.locator("#live[data-state=on]")).to_be_visible()
    runs = page.locator("#tier-runs tbody tr")
    before = await runs.count()
    async with fleet.api() as api:
        answer = await api.post(f"/api/tiers/{names['tier']}/verify")
        assert answer.is_success
    job = answer.json()["job_id"]
    await expect(runs).to_have_count(before + 1)
    last = page.locator(f'#tier-runs tr:has(a[href="/web/tiers/runs/{job}"])')
    await expect(last).to_contain_text("done")

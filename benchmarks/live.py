"""A change on an open page: from the moment that it is asked for to its being shown."""

import time
from pathlib import Path

from playwright.async_api import Page, expect

from benchmarks.result import Result, counted, tell
from holdfast.demo.fleet import running_fleet
from tests.console.browser import opened, running_browser

CHANGES = 20
REACH_SECONDS = 1.0
WATCH = """() => {
  window.benchShown = {};
  new MutationObserver(() => {
    for (const link of document.querySelectorAll("#rows td a")) {
      window.benchShown[link.textContent] ??= Date.now();
    }
  }).observe(document.body, { childList: true, subtree: true });
}"""


async def run(directory: Path) -> list[Result]:
    """Make pools, one after the other, while a browser has the list of pools open."""
    took = []
    async with (
        running_fleet(directory) as fleet,
        fleet.api() as api,
        running_browser() as browser,
        opened(browser, fleet.api_url, token=fleet.token) as console,
    ):
        await console.go("/web/pools")
        await expect(console.page.locator("#live")).to_have_text("live")
        await console.page.evaluate(WATCH)
        for number in range(CHANGES):
            asked = time.time()
            answer = await api.post("/api/pools", json={"name": f"live-{number}"})
            answer.raise_for_status()
            took.append(await _shown_at(console.page, f"live-{number}") - asked)
    took.sort()
    tell(f"{CHANGES} changes: {took[0]:.2f} to {took[-1]:.2f} s")
    return [
        counted(
            "a live change is visible, worst but one",
            took[-2],
            at_most=REACH_SECONDS,
            unit="s",
            against=f"median {took[CHANGES // 2]:.2f} s",
        )
    ]


async def _shown_at(page: Page, name: str) -> float:
    await expect(page.locator("#rows").get_by_role("link", name=name, exact=True)).to_be_visible()
    milliseconds: float = await page.evaluate("name => window.benchShown[name]", name)
    return milliseconds / 1000

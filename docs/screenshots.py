"""Take the documentation's pictures of the console: ``python -m docs.screenshots [name ...]``.

Starts the demo's fleet, fills it (`docs.console_site`), and takes every page of
`docs.console_pages`, dark and light, wide and narrow, into ``docs/assets/console/``. Status 1 when
a page did what no page may do (`tests.console.browser.Watch`); its picture is taken all the same.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from playwright.async_api import expect

from docs.console_pages import PAGES, PRESSED, TESTED_ONLY
from docs.console_site import edit_by_hand, furnish
from holdfast.demo.fleet import running_fleet
from tests.console.browser import LOOKS, Console, opened, running_browser

PICTURES = Path(__file__).parent / "assets" / "console"


async def main(wanted: Sequence[str]) -> int:
    """Take the pictures of these pages; of all when none is named."""
    names = wanted or [name for name in PAGES if name not in TESTED_ONLY]
    unknown = set(names) - set(PAGES)
    if unknown:
        sys.stderr.write(f"no such page: {', '.join(sorted(unknown))}; see docs/console_pages.py\n")
        return 2
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-pictures-") as directory:
        async with running_fleet(Path(directory)) as fleet, running_browser() as browser:
            site = await furnish(fleet)
            edit_by_hand(fleet)
            async with opened(browser, fleet.api_url, token=fleet.token) as console:
                faults = [fault for name in names for fault in await _take(console, name, site)]
    sys.stderr.write("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


async def _take(console: Console, name: str, site: Mapping[str, str]) -> list[str]:
    """The pictures of one page; gives what went wrong on it."""
    path = PAGES[name].format(**site)
    answer = await console.page.goto(console.url + path)
    if name in PRESSED:
        await console.press(PRESSED[name])
    await expect(console.page.locator("#live:not([data-state=on])")).to_have_count(0)
    for look in LOOKS:
        await console.look_like(look)
        await console.page.screenshot(path=PICTURES / f"{name}-{look}.png", animations="disabled")
    sys.stdout.write(f"{name}: {path}\n")
    status = answer.status if answer else 0
    faults = await console.faults() + ([] if status < 400 else [f"answered {status}"])  # noqa: PLR2004 - HTTP
    console.watch.faults.clear()
    return [f"{name}: {fault}" for fault in faults]


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

"""A page of the console in the system's Chromium, and a watch over everything it does."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Request,
    Response,
    async_playwright,
    expect,
)

from docs.console_pages import Press

HEIGHT = 800
PATIENCE_MS = 30_000
"""A machine that does much else is slow; a test that passes waits no longer than it must."""
expect.set_options(timeout=PATIENCE_MS)
NETWORK = ("http", "https", "ws", "wss")
EXPECTED_WORDS = re.compile(r"^(Failed to load resource|Response Status Error Code 4\d\d)")
"""What Chromium and htmx write about an answer that says no: the answer itself is looked at."""

DIALOGS = """() => {
  const drawn = (id) => [...document.getElementById(id).querySelectorAll("*")]
    .map((one) => `${one.tagName}.${one.className}`).join(" ");
  const ids = [...document.querySelectorAll("main [data-open]")].map((one) => one.dataset.open);
  return ids.filter((id) => document.getElementById(id)).map((id) => [drawn(id), id]);
}"""
"""The dialogs of a page's content, and of what elements each is drawn."""
VIOLATIONS = """async (within) => {
  const found = await axe.run(within ?? document, {resultTypes: ["violations"]});
  return found.violations;
}"""
LOOKED_AT: set[str] = set()
"""Dialogs that axe has looked at in this process."""


@dataclass(frozen=True, slots=True)
class Look:
    """How the page is looked at."""

    scheme: Literal["light", "dark"] = "light"
    width: int = 1280

    def __str__(self) -> str:
        """Its name in a test's."""
        return f"{self.scheme}-{self.width}"


LOOKS = [Look(scheme, width) for scheme in ("light", "dark") for width in (1280, 380)]
"""``@pytest.mark.parametrize("look", LOOKS, ids=str)``."""
AXE_LOOKS = (Look("light", 1280), Look("dark", 380))


@dataclass  # Playwright puts attributes of its own on the object whose methods it calls
class Watch:
    """What no page may do. Faults are kept as words; the fixture fails the test on any of them."""

    url: str
    faults: list[str] = field(default_factory=list)
    allowed: list[re.Pattern[str]] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Faults with these words are what this test is about."""
        self.allowed.append(re.compile(pattern))

    def found(self) -> list[str]:
        """The faults that nobody allowed."""
        return [f for f in self.faults if not any(known.search(f) for known in self.allowed)]

    def over(self, context: BrowserContext) -> None:
        """Look at every page of a context."""
        context.on("request", self._request)
        context.on("response", self._response)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"page error: {error.error}"))

    async def policy(self, page: Page) -> CDPSession:
        """Look at what the page's content security policy refuses, caught by a script or not."""
        session = await page.context.new_cdp_session(page)
        session.on("Audits.issueAdded", self._issue)
        await session.send("Audits.enable")
        return session

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in NETWORK and address.netloc != urlsplit(self.url).netloc:
            self.faults.append(f"foreign request: {request.url}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.faults.append(f"{response.status}: {response.request.method} {response.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED_WORDS.match(message.text):
            self.faults.append(f"console: {message.text}")

    def _issue(self, event: dict[str, Any]) -> None:
        issue = event["issue"]
        if issue["code"] == "ContentSecurityPolicyIssue":
            details = issue["details"]["contentSecurityPolicyIssueDetails"]
            what = details.get("blockedURL") or details.get("sourceCodeLocation", {}).get("url", "")
            kind = details["contentSecurityPolicyViolationType"]
            self.faults.append(f"policy: {kind} of {details['violatedDirective']}: {what}")


@dataclass(slots=True)
class Console:
    """One page, signed in at one server."""

    page: Page
    url: str
    look: Look
    watch: Watch
    session: CDPSession

    async def go(self, path: str, *, status: int = 200) -> None:
        """Open a path of the console, and expect this status."""
        answer = await self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == status, f"{path} answered {answer.status}"

    async def press(self, press: Press) -> None:
        """Fill in the page's form, press its button, and wait for what it shows."""
        main = self.page.locator("main")
        for label, value in press.chosen.items():
            await main.get_by_label(label).select_option(value)
        for label, text in press.typed.items():
            await main.get_by_label(label).fill(text)
        if press.button:
            await main.get_by_role("button", name=press.button, exact=True).click()
        await expect(self.page.locator(press.shown)).to_be_visible()

    async def look_like(self, look: Look) -> None:
        """Look at the same page otherwise."""
        await self.page.emulate_media(color_scheme=look.scheme)
        await self.page.set_viewport_size({"width": look.width, "height": HEIGHT})
        self.look = look

    async def check_in_every_look(self) -> None:
        """`check`, dark and light, wide and narrow, without loading the page again.

        axe, which takes a second, looks at each colour scheme and at each width once.
        """
        for look in LOOKS:
            await self.look_like(look)
            if look in AXE_LOOKS:
                await self.check()
            else:
                await self.check_width()

    async def check(self) -> None:
        """Axe finds nothing, and the page is no wider than the window."""
        findings = await self.axe()
        assert not findings, "\n".join([f"{self.page.url} {self.look}:", *findings])
        await self.check_width()

    async def check_dialogs(self) -> None:
        """Every dialog of the page's content, open: axe finds nothing in it.

        Of those that are drawn of the same elements, on whatever page, the first.
        """
        await self.look_like(AXE_LOOKS[-1])
        for drawn, name in await self.page.evaluate(DIALOGS):
            if drawn in LOOKED_AT:
                continue
            LOOKED_AT.add(drawn)
            await self.page.evaluate("(id) => document.getElementById(id).showModal()", name)
            findings = await self.axe(within="dialog[open]")
            assert not findings, "\n".join([f"{self.page.url} {name}:", *findings])
            await self.check_width()
            await self.page.evaluate("(id) => document.getElementById(id).close()", name)

    async def check_width(self) -> None:
        """The page is no wider than the window."""
        wide = await self.page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= self.look.width, f"{self.page.url}: {wide} px wide in {self.look.width}"

    async def axe(self, *, within: str | None = None) -> list[str]:
        """What axe finds on the page as it is now, one line an element."""
        if not await self.page.evaluate("() => 'axe' in window"):
            await self.page.evaluate(AXE_SCRIPT)  # half a megabyte, read once a page
        return [
            f"{finding['id']}: {' '.join(node['target'])}: {node['failureSummary']}"
            for finding in await self.page.evaluate(VIOLATIONS, within)
            for node in finding["nodes"]
        ]

    async def faults(self) -> list[str]:
        """What the watch has seen until now."""
        if not self.page.is_closed():
            await self.session.send("Browser.getVersion")  # events come in order: none is under way
        return self.watch.found()


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """The system's Chromium, as it is built for use without a window."""
    chromium = shutil.which("chromium-headless-shell")
    assert chromium, "chromium-headless-shell is not installed; make test installs it"
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, token: str = "", look: Look | None = None
) -> AsyncIterator[Console]:
    """A console in a context of its own; ``token`` signs it in. Gives no verdict on its faults."""
    look = look or Look()
    context = await browser.new_context(
        color_scheme=look.scheme,
        viewport={"width": look.width, "height": HEIGHT},
        reduced_motion="reduce",
        timezone_id="Europe/Prague",
        locale="en-GB",
        extra_http_headers={"Authorization": f"Bearer {token}"} if token else {},
    )
    watch = Watch(url)
    watch.over(context)
    try:
        page = await context.new_page()
        yield Console(page, url, look, watch, await watch.policy(page))
    finally:
        await context.close()

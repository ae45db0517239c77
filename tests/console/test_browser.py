"""The watch sees what it is there for: these tests can fail, so the others can."""

import asyncio
import http.server
import threading
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, expect

from tests.console.browser import Look, opened

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
SCRIPTS = {
    "/throws.js": "setTimeout(() => nowhere(), 1)",
    "/eval.js": "try { eval('1') } catch { document.title = 'refused' }",
    "/broken.js": "fetch('/broken')",
    "/good.js": "document.title = 'good'",
}
BODIES = {
    "/image": '<img alt="" src="http://127.0.0.2:9/a.png">',
    "/style": '<p style="color: red">red</p>',
    "/inline": "<script>1</script>",
    **{path.removesuffix(".js"): f'<script src="{path}"></script>' for path in SCRIPTS},
    "/unnamed": "<input>",
    "/wide": "<pre>" + "x" * 400 + "</pre>",
    "/pale": '<p><font color="#dddddd">pale</font></p>',
}


class Site(http.server.BaseHTTPRequestHandler):
    """Pages that do what no page may."""

    def do_GET(self) -> None:
        script = SCRIPTS.get(self.path)
        self.send_response(500 if self.path == "/broken" and self._by_script() else 200)
        self.send_header("Content-Type", "text/javascript" if script else "text/html")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        page = (
            '<!doctype html><html lang="en"><title>page</title><body>'
            f"<main><h1>Page</h1>{BODIES.get(self.path, '')}</main>"
        )
        self.wfile.write((script or page).encode())

    def _by_script(self) -> bool:
        return self.headers["Sec-Fetch-Dest"] == "empty"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def bad_site() -> Iterator[str]:
    """Address of a server of such pages."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/image", "foreign request: http://127.0.0.2:9/a.png"),
        ("/image", "policy: kURLViolation of img-src"),
        ("/style", "policy: kInlineViolation of style-src-attr"),
        ("/inline", "policy: kInlineViolation of script-src-elem"),
        ("/eval", "policy: kEvalViolation of script-src"),
        ("/throws", "page error: nowhere is not defined"),
        ("/broken", "500: GET"),
    ],
)
async def test_the_watch_sees(browser: Browser, bad_site: str, path: str, fault: str) -> None:
    async with opened(browser, bad_site) as console:
        await console.go(path)
        async with asyncio.timeout(20):
            while not any(seen.startswith(fault) for seen in await console.faults()):
                await asyncio.sleep(0.01)
        console.watch.allow("policy|console|foreign|nowhere|^500")
        assert await console.faults() == []


async def test_a_good_page_has_no_fault(browser: Browser, bad_site: str) -> None:
    async with opened(browser, bad_site) as console:
        await console.go("/good")
        await expect(console.page).to_have_title("good")
        await console.check()
        assert await console.faults() == [], "axe itself offends nobody"


@pytest.mark.parametrize(("path", "finding"), [("/unnamed", "label"), ("/pale", "color-contrast")])
async def test_axe_sees(browser: Browser, bad_site: str, path: str, finding: str) -> None:
    async with opened(browser, bad_site) as console:
        await console.go(path)
        assert [line.partition(":")[0] for line in await console.axe()] == [finding]


async def test_a_page_wider_than_the_window_is_told(browser: Browser, bad_site: str) -> None:
    async with opened(browser, bad_site, look=Look("dark", 380)) as console:
        await console.go("/wide")
        with pytest.raises(AssertionError, match="px wide in 380"):
            await console.check()

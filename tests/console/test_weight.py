"""What a browser that knows nothing yet loads for the first page."""

from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from tests.console.browser import Console

LARGEST_BYTES = 90_000
MOST_REQUESTS = 6


class Weight:
    """What came over the wire, compressed and with its headers, by address."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.sizes: dict[str, float] = {}

    def sent(self, event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self.addresses[event["requestId"]] = event["request"]["url"]

    def answered(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["response"]["encodedDataLength"]

    def came(self, event: dict[str, Any]) -> None:
        identifier = event["requestId"]
        self.sizes[identifier] = self.sizes.get(identifier, 0) + event["encodedDataLength"]

    def ended(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["encodedDataLength"]

    @property
    def requests(self) -> list[tuple[str, float]]:
        return [(url, self.sizes.get(one, 0)) for one, url in self.addresses.items()]


async def test_the_first_page_is_light(
    console: Console, record_property: Callable[[str, object], None]
) -> None:
    weight, session = Weight(), console.session
    session.on("Network.requestWillBeSent", weight.sent)
    session.on("Network.responseReceived", weight.answered)
    session.on("Network.dataReceived", weight.came)
    session.on("Network.loadingFinished", weight.ended)
    await session.send("Network.enable")
    await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    await console.go("/")
    await expect(console.page.locator("#live")).to_have_text("live")
    await console.faults()  # events come in order
    requests = weight.requests
    total = sum(size for _, size in requests)
    assert any("/api/events" in url for url, _ in requests), requests
    assert any("htmx" in url for url, _ in requests), requests
    record_property("first page, bytes", round(total))
    record_property("first page, requests", len(requests))
    assert len(requests) <= MOST_REQUESTS, requests
    assert 10_000 < total <= LARGEST_BYTES, requests

"""Browser, servers and consoles. All tests here share one event loop, as the browser is shared."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from docs.console_site import furnish
from holdfast.demo.fleet import Fleet, running_fleet
from tests.console.browser import Console, Look, opened, running_browser
from tests.servers.holdfast import API_KEY, Machine

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all, in which they share browser and fleet; ``real``."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.real)


class OpenConsole(Protocol):
    """Opens a console: on the shared fleet as its admin, when nothing else is said."""

    def __call__(
        self, *, look: Look | None = None, url: str = "", token: str | None = None
    ) -> Awaitable[Console]:
        """``token`` "" is nobody."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, for all tests of this worker."""
    async with running_browser() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Two pools, a vhost, nginx and Holdfast, for all tests of this worker.

    Leave what it has; what a test adds has names of its own.
    """
    async with running_fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def names(fleet: Fleet) -> dict[str, str]:
    """The shared fleet filled as `docs.console_site` does: names of what is there, and ids."""
    return await furnish(fleet)


@pytest_asyncio.fixture(loop_scope="session")
async def own_fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """The same for one test alone, that may break it."""
    async with running_fleet(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def empty_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A server that knows nothing yet, and must stay so; its token is ``API_KEY``."""
    machine = Machine(tmp_path_factory.mktemp("empty"))
    with machine.serving():
        yield machine


@pytest_asyncio.fixture(loop_scope="session")
async def open_console(browser: Browser, fleet: Fleet) -> AsyncIterator[OpenConsole]:
    """Opens as many consoles as a test wants; the test fails on what any of them did wrong."""
    consoles: list[Console] = []
    async with AsyncExitStack() as stack:

        async def open_one(
            *, look: Look | None = None, url: str = "", token: str | None = None
        ) -> Console:
            signed = fleet.token if token is None else token
            opening = opened(browser, url or fleet.api_url, token=signed, look=look)
            console = await stack.enter_async_context(opening)
            consoles.append(console)
            return console

        yield open_one
        faults = [fault for console in consoles for fault in await console.faults()]
    assert not faults, "\n".join(faults)


@pytest_asyncio.fixture(loop_scope="session")
async def console(open_console: OpenConsole) -> Console:
    """An admin's console on the shared fleet."""
    return await open_console()


@pytest_asyncio.fixture(loop_scope="session")
async def empty_console(open_console: OpenConsole, empty_machine: Machine) -> Console:
    """An admin's console on a server that knows nothing yet."""
    return await open_console(url=empty_machine.url, token=API_KEY)

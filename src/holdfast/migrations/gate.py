"""The gate: where nginx lets mutations wait while a hold is open.

It answers Completes of pinned uploads too. One small HTTP server on a loopback port for all
migrations that a process drives; routing flags name the port. When the process dies the connection
is refused, and nginx lets the write go to the pool that the flag names.
"""

import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from aiohttp import web

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.logging import get_logger
from holdfast.migrations.model import GateAnswer, gate_answer

PORTS = range(20_000, 32_768)
"""Below those of outgoing connections: nobody gets a dead driver's port by chance."""
BACKLOG = 4096
MAX_COMPLETE_BYTES = 8 * 1024 * 1024
"""A Complete of 10,000 parts is 1.5 MB."""
GATE_PATH = "/gate"
GATE_HOST = "holdfast-gate"

Place = tuple[str, str]
"""Virtual host and bucket."""
Relay = Callable[[web.Request], Awaitable[web.Response]]
log = get_logger(__name__)


class Hold:
    """One pause of the writes of a bucket, on all its virtual hosts."""

    def __init__(self, draining: Iterable[str]) -> None:
        """``draining``: counters whose requests still go on, as the drain waits for them."""
        self.held_requests = 0
        self.seen_busy = False
        """Whether something was still in flight when it was looked for."""
        self.seen_vhosts: set[str] = set()
        """Where nginx has asked from since the hold began: proof that it reaches this process."""
        self._draining = set(draining)
        self._ended = False
        self._changed = asyncio.Event()

    def close_for(self, counter: str) -> None:
        """From now on requests under this counter wait.

        Call it *before* looking whether the counter is 0: one that is counted after that look must
        not slip through.
        """
        self._draining.discard(counter)

    def open_for(self, counter: str) -> None:
        """The counter is not 0: its requests go on."""
        self.seen_busy = True
        self._draining.add(counter)
        self._wake()

    def end(self) -> None:
        """Let everybody go; nginx reads the flag again and goes where it points."""
        self._ended = True
        self._wake()

    async def wait(self, vhost: str, counter: str) -> None:
        """Return when the request may go on."""
        if vhost not in self.seen_vhosts:
            self.seen_vhosts.add(vhost)
            self._wake()
        counted = False
        while self._answer(counter) is GateAnswer.WAIT:
            self.held_requests += not counted
            counted = True
            await self._changed.wait()

    async def seen(self, vhost: str) -> None:
        """Return when nginx has asked for a request of this virtual host."""
        while vhost not in self.seen_vhosts:
            await self._changed.wait()

    def _answer(self, counter: str) -> GateAnswer:
        return gate_answer(counter=counter, draining=self._draining, ended=self._ended)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Gate:
    """The server. ``async with Gate() as gate``; use it from its own event loop only."""

    def __init__(self) -> None:
        self.port = 0
        self._holds: dict[Place, Hold] = {}
        self._relays: dict[Place, Relay] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_COMPLETE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = _listen()
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hold in self._holds.values():
            hold.end()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def close(self, places: Iterable[Place], hold: Hold) -> None:
        """Requests of these buckets wait by the rules of ``hold``.

        Call it before the flags say so.
        """
        for place in places:
            self._holds[place] = hold

    def open(self, places: Iterable[Place]) -> None:
        """Forget the hold of these buckets, and let everybody go.

        Call it after the flags say so.
        """
        for place in places:
            hold = self._holds.pop(place, None)
            if hold is not None:
                hold.end()

    def relay(self, places: Iterable[Place], relay: Relay | None) -> None:
        """Who answers Completes of pinned uploads of these buckets; None: nobody any more."""
        for place in places:
            if relay is None:
                self._relays.pop(place, None)
            else:
                self._relays[place] = relay

    async def _handle(self, request: web.Request) -> web.Response:
        headers = request.headers
        place = (headers.get("X-Holdfast-Vhost", ""), headers.get("X-Holdfast-Bucket", ""))
        if request.path == GATE_PATH and headers.get("Host") == GATE_HOST:
            hold = self._holds.get(place)
            if hold is not None:
                await hold.wait(place[0], headers.get("X-Holdfast-Key", ""))
            return web.Response(status=204)
        relay = self._relays.get(place)
        if relay is None:
            return slow_down("the upload is being moved")
        try:
            return await relay(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the client tries again and nothing is lost
            log.warning("a pinned Complete was put off", bucket=place[1], error=str(error))
            return slow_down("the upload could not be completed yet")


def slow_down(why: str) -> web.Response:
    """S3's way of asking a client to try again."""
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>SlowDown</Code><Message>{why}</Message></Error>"
    )
    return web.Response(
        status=503, text=text, content_type="application/xml", headers={"Retry-After": "1"}
    )


def _listen() -> socket.socket:
    generator = random.SystemRandom()
    started = time.monotonic()
    while time.monotonic() - started < 5:  # noqa: PLR2004 seconds; thousands of ports
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            listener.bind(("127.0.0.1", generator.choice(PORTS)))
            return listener
        listener.close()
    raise Unavailable("no free loopback port for the gate")

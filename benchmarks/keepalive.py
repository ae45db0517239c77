"""How many kept-alive connections are cut while 100 buckets get routes and one is moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bare_nginx import running_nginx
from benchmarks.result import Result, counted, tell
from benchmarks.stage import bucket_with_object, ids_of, move, post, presigned
from holdfast.demo.fleet import NEW, OLD, VHOST, running_fleet

CONNECTIONS = 50
PAUSE_SECONDS = 0.25
ROUTES = 100
RELOADS = 5
BUCKET, STEADY = "moved", "steady"


@dataclass(slots=True)
class Clients:
    """Each asks for an object again and again on one connection, and counts when it is cut."""

    port: int
    target: str
    requests: int = 0
    cut: int = 0
    stopping: bool = False

    async def run(self) -> None:
        """Until ``stopping``."""
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._client(number * PAUSE_SECONDS / CONNECTIONS))

    async def _client(self, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        while not self.stopping:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                while not self.stopping:
                    await self._ask(reader, writer)
                    await asyncio.sleep(PAUSE_SECONDS)
            except (OSError, asyncio.IncompleteReadError):
                self.cut += 1
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"GET {self.target} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        if " 200 " not in head.partition("\r\n")[0]:
            raise RuntimeError(f"a client was answered with {head}")
        length = int(head.partition("content-length:")[2].partition("\r\n")[0])
        await reader.readexactly(length)
        self.requests += 1


@contextlib.asynccontextmanager
async def _running(clients: Clients) -> AsyncIterator[None]:
    task = asyncio.create_task(clients.run())
    await asyncio.sleep(2 * PAUSE_SECONDS)
    yield
    await asyncio.sleep(2 * PAUSE_SECONDS)
    clients.stopping = True
    await task


async def run(directory: Path) -> list[Result]:
    """The same clients before a hand-written nginx that is reloaded a few times, to compare."""
    async with running_fleet(directory) as fleet, fleet.api() as api:
        await bucket_with_object(fleet, OLD, BUCKET, STEADY)
        await bucket_with_object(fleet, NEW, "elsewhere")
        ids = await ids_of(api)
        port = fleet.gateway_port
        ours = Clients(port, presigned(fleet, f"127.0.0.1:{port}", BUCKET))
        async with _running(ours):
            for number in range(ROUTES):
                route = {"path_prefix": f"/routed-{number}", "pool_id": ids.new}
                await post(api, f"/api/vhosts/{ids.vhost}/routes", route)
            await move(api, BUCKET)
        async with running_nginx(fleet, [VHOST]) as bare:
            hand = Clients(bare.port, presigned(fleet, f"127.0.0.1:{bare.port}", STEADY))
            async with _running(hand):
                for _ in range(RELOADS):
                    bare.write_route(VHOST, "elsewhere")
                    await bare.reload()
                    await asyncio.sleep(1)
    tell(f"{ours.requests} requests on {CONNECTIONS} connections, {hand.requests} by hand")
    what = f"connections cut by {ROUTES} routes and a move"
    against = f"{hand.cut} by {RELOADS} bare reloads"
    return [counted(what, ours.cut, at_most=0, unit="cut", against=against)]

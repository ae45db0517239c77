"""Fifty open consoles while a bucket moves: what they cost the server, and what each receives."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.migration import clean_up, fill
from benchmarks.result import Result, counted, tell
from benchmarks.stage import move
from holdfast.demo.fleet import Fleet, running_fleet

CLIENTS = 50
ROUNDS = 2
REACH_PERCENT, REACH_KB = 10.0, 100.0
BANDWIDTH = "10M"
"""A second: the bucket takes long enough to be watched."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Console:
    """A client of the stream of events."""

    received: int = 0
    last: bytes = field(default=b"", repr=False)

    async def watch(self, fleet: Fleet, listening: asyncio.Event) -> None:
        """Read until cancelled, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", fleet.api_port)
        request = (
            "GET /api/events HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n"
            f"Authorization: Bearer {fleet.token}\r\n\r\n"
        )
        try:
            writer.write(request.encode())
            while block := await reader.read(65536):
                self.received += len(block)
                listening.set()
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Watched:
    """One move."""

    seconds: float
    cpu_seconds: float
    """Of the server and everything that it starts."""
    received: list[int]


async def run(directory: Path) -> list[Result]:
    """Each round moves one bucket with nobody watching and one with everybody."""
    alone: list[Watched] = []
    together: list[Watched] = []
    async with running_fleet(directory) as fleet, fleet.api() as api:
        for number in range(ROUNDS):
            for clients, found in ((0, alone), (CLIENTS, together)):
                bucket = f"bucket-{number}-{clients}"
                await asyncio.to_thread(fill, fleet, bucket)
                found.append(await _watched(fleet, api, bucket, clients))
                clean_up(fleet, bucket)
            tell(f"round {number}: {_words(alone[-1])} alone, {_words(together[-1])} watched")
    return _results(alone, together)


async def _watched(fleet: Fleet, api: httpx.AsyncClient, bucket: str, clients: int) -> Watched:
    consoles = [Console() for _ in range(clients)]
    async with _open(fleet, consoles):
        child = fleet.programs["holdfast"].child
        assert child
        before, began = cpu_seconds(child.pid), time.monotonic()
        await move(api, bucket, bandwidth_limit=BANDWIDTH)
        spent, seconds = cpu_seconds(child.pid) - before, time.monotonic() - began
    return Watched(seconds, spent, [console.received for console in consoles])


@contextlib.asynccontextmanager
async def _open(fleet: Fleet, consoles: list[Console]) -> AsyncIterator[None]:
    listening = [asyncio.Event() for _ in consoles]
    tasks = [
        asyncio.create_task(console.watch(fleet, event))
        for console, event in zip(consoles, listening, strict=True)
    ]
    try:
        for event in listening:
            await event.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def cpu_seconds(pid: int) -> float:
    """Of a process, its threads, and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / TICKS


def _words(watched: Watched) -> str:
    share = 100 * watched.cpu_seconds / watched.seconds
    return f"{share:.1f} % of a core in {watched.seconds:.1f} s"


def _results(alone: list[Watched], together: list[Watched]) -> list[Result]:
    """The work of a move is the same either way, so what is more is the consoles'."""
    more = sorted(
        100 * (two.cpu_seconds - one.cpu_seconds) / two.seconds
        for one, two in zip(alone, together, strict=True)
    )
    most = max(max(one.received) for one in together)
    return [
        counted(
            f"{CLIENTS} open consoles during a migration, share of a core",
            more[len(more) // 2],
            at_most=REACH_PERCENT,
            unit="%",
            against=f"without: {_words(alone[-1])}",
        ),
        counted("bytes that one of them receives", most / 1000, at_most=REACH_KB, unit="kB"),
    ]

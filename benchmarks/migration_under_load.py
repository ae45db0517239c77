"""A migration while clients read and write, against one without them; how long clients wait."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.migration import clean_up, fill
from benchmarks.result import Result, compared, counted, tell
from benchmarks.stage import move
from holdfast.demo.fleet import Fleet, running_fleet
from holdfast.demo.traffic import READS, WRITES, Load, Tally, Traffic
from holdfast.demo.wire import Wire

ROUNDS = 3
REACH, REACH_PAUSE_SECONDS = 2.0, 2.0
BEFORE_SECONDS = 8.0
LOAD = Load(
    writers=5, readers=3, uploaders=1, slow_writers=1, pause_seconds=0.135, part_bytes=256 * 1024
)
"""About 100 requests a second."""
QUICK_WRITES = [kind for kind in WRITES if kind != "slow put"]


@dataclass(slots=True)
class Loaded:
    """A move that clients saw."""

    seconds: float
    rate: float
    """Requests a second before the move."""
    before: Tally
    during: Tally
    holds: list[float]
    """Seconds that writes waited, one a try at the switch."""


async def run(directory: Path) -> list[Result]:
    """Each round moves one bucket without load and one with."""
    calm, loaded = [], []
    async with running_fleet(directory) as fleet, fleet.api() as api:
        for number in range(ROUNDS):
            for bucket in (f"calm-{number}", f"busy-{number}"):
                await asyncio.to_thread(fill, fleet, bucket)
            if number % 2:
                loaded.append(await _under_load(fleet, api, f"busy-{number}"))
            calm.append((await move(api, f"calm-{number}"))[0])
            if not number % 2:
                loaded.append(await _under_load(fleet, api, f"busy-{number}"))
            tell(f"round {number}: {calm[-1]:.2f} s calm, {_words(loaded[-1])}")
            for bucket in (f"calm-{number}", f"busy-{number}"):
                clean_up(fleet, bucket)
    return _results(calm, loaded)


async def _under_load(fleet: Fleet, api: httpx.AsyncClient, bucket: str) -> Loaded:
    async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:
        traffic = Traffic(wire, bucket, LOAD)
        clients = asyncio.create_task(traffic.run())
        try:
            started = time.monotonic()
            await asyncio.sleep(BEFORE_SECONDS)
            before, traffic.tally = traffic.tally, Tally()
            rate = before.total / (time.monotonic() - started)
            seconds, migration = await move(api, bucket)
            during, traffic.tally = traffic.tally, Tally()
        finally:
            traffic.stop()
            await clients
        await traffic.audit({})
    if not (before.clean and during.clean and traffic.tally.clean):
        raise RuntimeError(f"clients saw faults: {during.examples} {traffic.tally.examples}")
    return Loaded(seconds, rate, before, during, [hold["seconds"] for hold in migration["holds"]])


def _words(loaded: Loaded) -> str:
    holds = ", ".join(f"{hold:.2f}" for hold in loaded.holds)
    return f"{loaded.seconds:.2f} s with {loaded.rate:.0f} requests/s; writes waited {holds} s"


def _results(calm: list[float], loaded: list[Loaded]) -> list[Result]:
    before, during = _joined(one.before for one in loaded), _joined(one.during for one in loaded)
    usual_read = f"p99 before {before.percentile(0.99, *READS):.2f} s"
    usual_read += f", longest {before.longest(*READS):.2f} s"
    return [
        compared(
            f"migration under {loaded[0].rate:.0f} requests/s, against the same unloaded",
            [one.seconds for one in loaded],
            calm,
            reach=REACH,
            unit="s",
        ),
        counted(
            "longest pause of writes at a switch",
            max(hold for one in loaded for hold in one.holds),
            at_most=REACH_PAUSE_SECONDS,
            unit="s",
        ),
        counted(
            "writes during the move, p99",
            during.percentile(0.99, *QUICK_WRITES),
            at_most=REACH_PAUSE_SECONDS,
            unit="s",
            against=f"p99 before {before.percentile(0.99, *QUICK_WRITES):.2f} s",
        ),
        counted(
            "longest read during the move (reads are never paused)",
            during.longest(*READS),
            at_most=None,
            unit="s",
            against=usual_read,
        ),
    ]


def _joined(tallies: Iterable[Tally]) -> Tally:
    joined = Tally()
    for tally in tallies:
        for kind, seconds in tally.seconds.items():
            joined.seconds[kind].extend(seconds)
    return joined

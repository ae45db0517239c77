"""Memory of ``holdfast serve`` and its child processes while a bucket of 200,000 objects moves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from benchmarks.nanio_disk import link_objects, write_objects
from benchmarks.result import Result, counted, tell
from benchmarks.stage import move
from holdfast.demo.fleet import NEW, OLD, Fleet, running_fleet

OBJECTS = 200_000
FOLDERS = 200
TO_COPY = 10_000
"""The other objects are on the destination already: they are listed and compared, not copied."""
REACH_MIB = 100.0
BUCKET = "many"
SETTLE_SECONDS = 5.0
SAMPLE_SECONDS = 0.25


async def run(directory: Path) -> list[Result]:
    """Idle is measured after the start, before any migration."""
    async with running_fleet(directory) as fleet, fleet.api() as api:
        await asyncio.to_thread(_fill, fleet)
        tell(f"{OBJECTS} objects are there")
        await asyncio.sleep(SETTLE_SECONDS)
        child = fleet.programs["holdfast"].child
        assert child
        idle = rss_mib(child.pid)
        samples = [idle]
        async with sampled(child.pid, samples):
            seconds, migration = await move(api, BUCKET, confirm=BUCKET)
        if migration["objects_total"] != OBJECTS:
            raise RuntimeError(f"{migration['objects_total']} objects were seen")
    tell(f"moved in {seconds:.0f} s, {OBJECTS / seconds:.0f} objects/s; {TO_COPY} of them copied")
    what = f"memory more than idle, moving {OBJECTS} objects"
    against = f"idle {idle:.0f} MiB, highest {max(samples):.0f} MiB"
    return [counted(what, max(samples) - idle, at_most=REACH_MIB, unit="MiB", against=against)]


def _fill(fleet: Fleet) -> None:
    source, target = (fleet.directory / pool / BUCKET for pool in (OLD, NEW))
    write_objects(source, _keys(OBJECTS), b"a small object\n")
    link_objects(source, target, _keys(OBJECTS - TO_COPY))


def _keys(count: int) -> Iterator[str]:
    each = OBJECTS // FOLDERS
    return (f"folder-{n // each:04d}/object-{n:07d}" for n in range(count))


@contextlib.asynccontextmanager
async def sampled(pid: int, samples: list[float]) -> AsyncIterator[None]:
    """Memory of a process and its children, again and again."""

    async def sample() -> None:
        while True:
            samples.append(rss_mib(pid))
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def rss_mib(pid: int) -> float:
    """Resident memory of a process and all its descendants."""
    own = 0.0
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                own = int(line.split()[1]) / 1024
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            own += sum(rss_mib(int(child)) for child in children)
    return own

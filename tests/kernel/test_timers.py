"""Timers: once for all processes, and on after a failure."""

import asyncio
import contextlib
import itertools

from holdfast.kernel.db import Database
from holdfast.kernel.timers import Timer, run_timers


async def test_of_two_workers_one_runs_each_turn_and_failures_do_not_end_it(
    database: Database,
) -> None:
    turns: list[float] = []
    enough = asyncio.Event()

    async def run() -> None:
        turns.append(asyncio.get_running_loop().time())
        if len(turns) == 4:
            enough.set()
        raise RuntimeError("a bad turn")

    timers = [Timer("t", 0.2, run), Timer("never", 0, run)]
    workers = [asyncio.create_task(run_timers(database, timers)) for _ in range(2)]
    async with asyncio.timeout(20):
        await enough.wait()
    for worker in workers:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
    assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(turns))

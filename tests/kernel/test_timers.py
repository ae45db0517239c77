"""Timers: once for all processes, and on after a failure."""

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import pytest

from holdfast.kernel import timers
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

    both = [Timer("t", 0.2, run), Timer("never", 0, run)]
    workers = [asyncio.create_task(run_timers(database, both)) for _ in range(2)]
    async with asyncio.timeout(20):
        await enough.wait()
    for worker in workers:
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker
    assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(turns))


async def test_a_turn_that_nobody_can_claim_is_not_tried_without_a_pause(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 4:
            raise asyncio.CancelledError

    async def claim(*_: object) -> bool:
        raise OSError("the disk of the database is full")

    async def overdue(*_: object) -> float:
        return -1.0

    async def run() -> None:
        raise AssertionError("nobody claimed it")

    loop = SimpleNamespace(sleep=sleep, TaskGroup=asyncio.TaskGroup)
    monkeypatch.setattr(timers, "asyncio", loop)
    monkeypatch.setattr(timers, "_claim", claim)
    monkeypatch.setattr(timers, "_seconds_left", overdue)
    await run_timers(database, [Timer("t", 60.0, run)])
    assert pauses == [30.0, 5.0, 5.0, 5.0]

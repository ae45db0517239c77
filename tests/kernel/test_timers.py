"""Timers: once for all processes, and on after a failure."""

import asyncio
import contextlib
import itertools
from types import SimpleNamespace
from typing import NoReturn

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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a timer sleeps, which takes no time here and ends it at the fourth."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            raise asyncio.CancelledError

    loop = SimpleNamespace(sleep=sleep, TaskGroup=asyncio.TaskGroup)
    monkeypatch.setattr(timers, "asyncio", loop)
    return slept


async def never() -> None:
    raise AssertionError("nobody claimed it")


async def fails(*_: object) -> NoReturn:
    raise OSError("the disk of the database is full")


async def test_a_turn_that_nobody_can_claim_is_not_tried_without_a_pause(
    database: Database, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overdue(*_: object) -> float:
        return -1.0

    monkeypatch.setattr(timers, "_claim", fails)
    monkeypatch.setattr(timers, "_seconds_left", overdue)
    await run_timers(database, [Timer("t", 60.0, never)])
    assert pauses == [30.0, 5.0, 5.0, 5.0]


async def test_a_database_that_goes_away_just_before_a_turn_is_not_asked_without_a_pause(
    database: Database, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def soon(*_: object) -> float:
        if len(pauses) > 1:
            await fails()
        return 0.001

    monkeypatch.setattr(timers, "_seconds_left", soon)
    await run_timers(database, [Timer("t", 60.0, never)])
    assert pauses == [30.0, 0.01, 5.0, 5.0]


async def test_a_timer_that_could_not_be_written_down_at_the_start_is_so_later(
    database: Database, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    introduce = timers._introduce

    async def second_time(database: Database, timer: Timer) -> None:
        await (introduce(database, timer) if pauses else fails())

    monkeypatch.setattr(timers, "_introduce", second_time)
    await run_timers(database, [Timer("t", 60.0, never)])
    assert pauses == [5.0, 30.0, 30.0, 30.0]
    async with database.read() as session:
        assert await session.get(timers.TimerRow, "t")

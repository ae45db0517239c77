"""What happens every so often, once for all processes that share a database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.clock import now
from holdfast.kernel.db import Base, Database
from holdfast.kernel.logging import get_logger
from holdfast.kernel.work import SYSTEM

log = get_logger(__name__)
LONGEST_PAUSE_SECONDS = 30.0
"""Somebody may have moved the clock."""
SHORTEST_PAUSE_SECONDS = 0.01
FAILED_PAUSE_SECONDS = 5.0


class TimerRow(Base, kw_only=True):
    """When a timer is next due; who moves it forward is the one who runs it."""

    __tablename__ = "timer"

    name: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]


@dataclass(frozen=True, slots=True)
class Timer:
    """``run`` every ``interval_seconds``; an interval of 0 means never."""

    name: str
    interval_seconds: float
    run: Callable[[], Awaitable[object]]


async def run_timers(database: Database, timers: Sequence[Timer]) -> None:
    """Run these timers until cancelled. A failing run is logged, and tried again when next due."""
    async with asyncio.TaskGroup() as group:
        for timer in timers:
            if timer.interval_seconds > 0:
                group.create_task(_run_timer(database, timer))


async def _run_timer(database: Database, timer: Timer) -> None:
    pause, is_introduced = 0.0, False
    while True:
        try:
            if not is_introduced:
                await _introduce(database, timer)
                pause, is_introduced = timer.interval_seconds, True
            else:
                pause = await _seconds_left(database, timer)
                if pause <= 0 and await _claim(database, timer):
                    pause = timer.interval_seconds
                    await timer.run()
        except Exception as error:  # noqa: BLE001 - the loop of a worker goes on, and says so
            log.warning("timer failed", timer=timer.name, error=str(error))
            # The database may be away, or its disk full, with the timer due or nearly so.
            pause = max(pause, min(timer.interval_seconds, FAILED_PAUSE_SECONDS))
        await asyncio.sleep(min(max(pause, SHORTEST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS))


async def _seconds_left(database: Database, timer: Timer) -> float:
    """Until it is due, whoever moved it forward last: reading costs less than trying to claim."""
    async with database.read() as session:
        row = await session.get(TimerRow, timer.name)
    return (row.due_at - now()).total_seconds() if row else timer.interval_seconds


async def _introduce(database: Database, timer: Timer) -> None:
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    due = now() + timedelta(seconds=timer.interval_seconds)
    statement = insert(TimerRow).values(name=timer.name, due_at=due).on_conflict_do_nothing()
    async with database.write(SYSTEM) as work:
        await work.session.execute(statement)


async def _claim(database: Database, timer: Timer) -> bool:
    moment = now()
    later = moment + timedelta(seconds=timer.interval_seconds)
    mine = update(TimerRow).where(TimerRow.name == timer.name, TimerRow.due_at <= moment)
    async with database.write(SYSTEM) as work:
        result = await work.session.execute(mine.values(due_at=later).returning(TimerRow.name))
        return result.first() is not None

"""Which jobs may start: schedules whose time has come submit, waiting jobs are admitted."""

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime

import sqlalchemy as sa

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Invalid
from holdfast.kernel.jobs import tables
from holdfast.kernel.jobs.model import JobState, admitted, next_fire
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.jobs.tables import ScheduleRow
from holdfast.kernel.logging import get_logger
from holdfast.kernel.work import SYSTEM, Work

LEADER_LOCK = 7_201_001
"""Number of PostgreSQL's advisory lock that one worker holds while it admits and takes over."""
LONGEST_SILENCE = "10s"

log = get_logger(__name__)


@contextlib.asynccontextmanager
async def leading(database: Database) -> AsyncIterator[bool]:
    """Whether this worker, and no other, admits and takes over while the block runs."""
    if database.is_sqlite:
        yield True
        return
    async with database.engine.begin() as connection:
        # A leader that is frozen here loses its session, and with it the lock.
        idle = f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_SILENCE}'"
        await connection.execute(sa.text(idle))
        lock = sa.select(sa.func.pg_try_advisory_xact_lock(LEADER_LOCK))
        yield bool(await connection.scalar(lock))


async def admit(database: Database, *, cap: int) -> int:
    """Fire due schedules and admit waiting jobs, all or nothing; says how many were admitted."""
    async with database.read() as session:
        if not await tables.anything_to_admit(session, now()):
            return 0
    async with database.write(SYSTEM) as work:
        for schedule in await tables.due_schedules(work.session, now()):
            await _fire(work, schedule, now())
        await work.session.flush()
        waiting = await tables.jobs_in(work.session, [JobState.WAITING])
        running = await tables.active_jobs(work.session)
        chosen = admitted(
            [row.claim() for row in waiting], [row.claim() for row in running], cap=cap
        )
        for job_id in chosen:
            await tables.set_job(
                work.session, job_id, among=[JobState.WAITING], state=JobState.RUNNING
            )
        return len(chosen)


async def _fire(work: Work, schedule: ScheduleRow, moment: datetime) -> None:
    """Submit the job of a schedule once, however many of its times have passed."""
    try:
        schedule.next_run_at = next_fire(schedule.cron, schedule.timezone, after=moment)
    except Invalid as error:
        log.warning("schedule switched off", schedule=schedule.name, error=error.message)
        schedule.enabled, schedule.next_run_at = False, None
        return
    if await tables.schedule_is_busy(work.session, schedule.name):
        return  # its last job has not ended: this time is left out
    await run_schedule(work, schedule, moment)


async def run_schedule(work: Work, schedule: ScheduleRow, moment: datetime) -> str:
    """Submit the job of a schedule now."""
    by_itself = work.actor == SYSTEM
    job_id = submit(
        work,
        schedule.kind,
        json.loads(schedule.args),
        locks=json.loads(schedule.locks),
        priority=schedule.priority,
        title=schedule.title,
        schedule=schedule.name,
        created_by=f"schedule:{schedule.name}" if by_itself else work.actor.name,
    )
    schedule.last_run_at, schedule.last_job_id = moment, job_id
    return job_id

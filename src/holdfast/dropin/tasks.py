"""Runs of tiers as the tasks that baricadr knows."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, assert_never

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.dropin.tables import RemovedTaskRow, runs_shown
from holdfast.kernel.jobs.model import ACTIVE, JobState, admitted
from holdfast.kernel.jobs.tables import JobRow, jobs_in
from holdfast.tiers import queries
from holdfast.tiers.model import Action, Asked
from holdfast.tiers.names import to_text
from holdfast.tiers.service.reading import Run

MOST_TASKS = 1000
"""The newest are listed."""
WORKING = {Action.PULL: "pulling", Action.FREEZE: "freezing"}
"""What a task that runs is said to do; other runs are no tasks."""
_CONFIRM = ("confirm it: --confirm", "confirm it: --force")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A pull or a freeze."""

    run: Run
    root: bytes
    held_up: bool
    """It waits for another one on the same files."""

    def as_json(self, *, with_error: bool = False) -> dict[str, Any]:
        """In the fields of baricadr."""
        row, job = self.run.row, self.run.job
        told = {
            "task_id": row.job_id,
            "type": row.action,
            "path": _path(self.root, Asked.from_json(row.asked)),
            "status": self.status,
            "created": http_time(row.created_at),
            "started": http_time(job.started_at if job else row.created_at),
            "finished": http_time(job.finished_at if job else row.ended_at),
        }
        return {**told, "error": self.error} if with_error else told

    @property
    def status(self) -> str:
        """One of its states."""
        row, job = self.run.row, self.run.job
        if job is None:
            return "finished" if row.outcome != "{}" else "failed"
        return status_of(job, Action(row.action), held_up=self.held_up)

    @property
    def error(self) -> str | None:
        """Why it failed."""
        job = self.run.job
        if job is None:
            return None
        cancelled = "cancelled" if job.state == JobState.CANCELLED else None
        return for_its_client(job.error) if job.error else cancelled


def for_its_client(text: str) -> str:
    """What a job said, with the option that baricadr's client has for what it advises."""
    return text.replace(*_CONFIRM)


def status_of(job: JobRow, action: Action, *, held_up: bool) -> str:
    """The state of a job in baricadr's words."""
    state = JobState(job.state)
    match state:
        case JobState.WAITING:
            return "waiting" if held_up else "new"
        case JobState.RUNNING:
            return WORKING[action] if job.launched and job.started_at else "started"
        case JobState.CANCELLING:
            return WORKING[action]
        case JobState.DONE:
            return "finished"
        case JobState.FAILED | JobState.CANCELLED:
            return "failed"
        case _:
            assert_never(state)


async def tasks(session: AsyncSession) -> list[Task]:
    """All that nobody removed, oldest first."""
    rows = await runs_shown(session, list(WORKING), limit=MOST_TASKS)
    return await _tasks(session, [Run(row, job, {}) for row, job in rows[::-1]])


async def task_with_id(session: AsyncSession, task_id: str) -> Task | None:
    """One of them."""
    found = await queries.run_of(session, task_id)
    if found is None or found[0].action not in WORKING:
        return None
    if await session.get(RemovedTaskRow, task_id) is not None:
        return None
    return (await _tasks(session, [Run(*found, {})]))[0]


async def _tasks(session: AsyncSession, runs: Collection[Run]) -> list[Task]:
    roots = {row.id: row.root for row in await queries.all_tiers(session)}
    waits = any(run.job and run.job.state == JobState.WAITING for run in runs)
    held_up = await _held_up(session) if waits else frozenset[str]()
    return [
        Task(run=run, root=roots[run.row.tier_id], held_up=run.row.job_id in held_up)
        for run in runs
    ]


async def _held_up(session: AsyncSession) -> frozenset[str]:
    """Jobs that could not begin even if nothing else were to do."""
    waiting = [row.claim() for row in await jobs_in(session, [JobState.WAITING])]
    running = [row.claim() for row in await jobs_in(session, ACTIVE)]
    free = admitted(waiting, running, cap=len(waiting) + len(running))
    return frozenset(claim.id for claim in waiting) - frozenset(free)


def http_time(moment: datetime | None) -> str | None:
    """As in HTTP: ``Wed, 17 Feb 2021 15:11:56 GMT``."""
    return format_datetime(moment.astimezone(UTC), usegmt=True) if moment else None


def _path(root: bytes, asked: Asked) -> str:
    """The folder with all that was asked for, absolute."""
    return os.path.commonpath([os.path.normpath(f"{to_text(root)}/{path}") for path in asked.paths])

"""What a person or a slice may ask of jobs and schedules."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.jobs import tables
from holdfast.kernel.jobs.admission import run_schedule
from holdfast.kernel.jobs.ending import record_end
from holdfast.kernel.jobs.logfile import LogChunk, log_path, read_log, read_log_before
from holdfast.kernel.jobs.model import (
    DEFAULT_PRIORITY,
    FINAL,
    JobState,
    lock_path,
    next_fire,
)
from holdfast.kernel.jobs.registry import kind_named
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.jobs.tables import JobRow, JobStepRow, ScheduleRow
from holdfast.kernel.work import Work

__all__ = ["submit"]

_SCHEDULE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of a job. ``attempts``: how often it was started."""

    number: int
    name: str
    state: str
    attempts: int
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as people see it; ``steps`` only where one job is shown."""

    id: str
    kind: str
    title: str
    state: JobState
    args: dict[str, Any]
    locks: list[str]
    priority: int
    attempt: int
    created_by: str
    schedule: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress_done: int | None
    progress_total: int | None
    progress_unit: str
    progress_text: str
    error: str | None
    error_code: str | None
    executor_id: str | None
    settled_at: datetime | None
    """Of a failure: since when it waits for nobody."""
    steps: list[StepView] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """When a job runs by itself."""

    name: str
    kind: str
    title: str
    args: dict[str, Any]
    locks: list[str]
    priority: int
    cron: str
    timezone: str
    enabled: bool
    created_at: datetime
    next_run_at: datetime | None
    last_run_at: datetime | None
    last_job_id: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewSchedule:
    """A schedule to be made: ``cron`` in ``timezone``; of its jobs at most one is unfinished."""

    name: str
    kind: str
    cron: str
    args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    locks: Sequence[str] = ()
    priority: int = DEFAULT_PRIORITY
    title: str = ""
    timezone: str = "UTC"
    enabled: bool = True


async def list_jobs(  # noqa: PLR0913 - the ways to narrow a list, by name
    session: AsyncSession,
    *,
    limit: int = 50,
    offset: int = 0,
    states: Sequence[JobState] = (),
    kind: str | None = None,
    schedule: str | None = None,
    lock: str | None = None,
    words: str = "",
    sort: str = "-submitted",
) -> tuple[list[JobView], int]:
    """Jobs, newest first, and how many in all. ``kind`` may be a prefix (``migrations``).

    Raises ``Invalid`` for another ``sort`` than one of `tables.JOB_SORTS`, or one with a dash.
    """
    rows, total = await tables.job_page(
        session,
        limit=limit,
        offset=offset,
        states=states,
        kind=kind,
        schedule=schedule,
        lock_prefix=lock,
        words=words,
        sort=sort,
    )
    return [_job_view(row) for row in rows], total


async def jobs_under_way(session: AsyncSession, limit: int) -> tuple[list[JobView], int]:
    """Jobs that have not ended, those that wait last, oldest first, and how many in all."""
    rows, total = await tables.jobs_under_way(session, limit)
    return [_job_view(row) for row in rows], total


async def open_failures(session: AsyncSession, limit: int) -> tuple[list[JobView], int]:
    """Failed jobs that wait for somebody, those that ended last first, and how many in all."""
    rows, total = await tables.open_failures(session, limit)
    return [_job_view(row) for row in rows], total


async def show_job(session: AsyncSession, job_id: str) -> JobView:
    """One job with its steps. Raises ``NotFound``."""
    row = await _job(session, job_id)
    steps = [_step_view(step) for step in await tables.steps_of(session, job_id)]
    return dataclasses.replace(_job_view(row), steps=steps)


async def job_log(
    session: AsyncSession,
    data_dir: Path,
    job_id: str,
    *,
    offset: int = 0,
    before: int | None = None,
) -> LogChunk:
    """Whole lines of a job's log from a byte offset (negative: before its end).

    With ``before``: those that end there.
    """
    row = await _job(session, job_id)
    path = log_path(data_dir, row.id)
    if before is not None:
        return read_log_before(path, before=before)
    chunk = read_log(path, offset=offset)
    at_its_end = row.state in FINAL and chunk.next_offset >= chunk.size_bytes
    return dataclasses.replace(chunk, ended=at_its_end)


async def cancel(work: Work, job_id: str) -> JobView:
    """End a job: at once when it waits, else as soon as its worker has stopped it.

    Raises ``NotFound``, and ``Conflict`` when it has ended.
    """
    row = await _job(work.session, job_id, lock=True)
    before = row.state
    match JobState(row.state):
        case JobState.WAITING:
            await record_end(work, row, JobState.CANCELLED)
        case JobState.RUNNING:
            row.state = JobState.CANCELLING
            work.emit("job", "cancelling", {"id": row.id, "kind": row.kind, "title": row.title})
        case JobState.CANCELLING:
            return _job_view(row)
        case _:
            raise Conflict(f"job {job_id} has ended: {row.state}")
    work.audit("cancel", "job", row.id, before={"state": before}, after={"state": row.state})
    return _job_view(row)


async def retry(work: Work, job_id: str) -> JobView:
    """Run a failed or cancelled job again, from the step in which it ended.

    Raises ``NotFound``, and ``Conflict`` when it has not failed.
    """
    row = await _job(work.session, job_id, lock=True)
    if row.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(f"job {job_id} has not failed: it is {row.state}")
    before = {"state": row.state, "error": row.error}
    row.state, row.launched, row.attempt = JobState.WAITING, False, row.attempt + 1
    row.finished_at = row.error = row.error_code = row.settled_at = None
    work.audit("retry", "job", row.id, before=before, after={"attempt": row.attempt})
    work.emit("job", "submitted", {"id": row.id, "kind": row.kind, "title": row.title})
    return _job_view(row)


async def dismiss(work: Work, job_id: str) -> JobView:
    """Let a failure wait for nobody any more. Raises ``NotFound``, ``Conflict`` when it is none."""
    row = await _job(work.session, job_id, lock=True)
    if row.state != JobState.FAILED:
        raise Conflict(f"job {job_id} has not failed: it is {row.state}")
    if row.settled_at is None:
        row.settled_at = now()
        work.audit("dismiss", "job", row.id, after={"error": row.error})
        work.emit("job", "dismissed", {"id": row.id, "kind": row.kind, "title": row.title})
    return _job_view(row)


async def dismiss_all(work: Work) -> int:
    """The same with every failure that there is now; gives their number."""
    settled = await tables.settle_failures(work.session, now())
    if settled:
        work.audit("dismiss", "job", None, after={"jobs": len(settled)})
        work.emit("job", "failures.dismissed", {"jobs": len(settled)})
    return len(settled)


async def list_schedules(
    session: AsyncSession, *, limit: int = 50, offset: int = 0, words: str = "", sort: str = "name"
) -> tuple[list[ScheduleView], int]:
    """Schedules, by name, and how many in all; ``words``: in name, title or kind.

    Raises ``Invalid`` for another ``sort`` than one of `tables.SCHEDULE_SORTS`, or one with a dash.
    """
    rows, total = await tables.schedule_page(
        session, limit=limit, offset=offset, words=words, sort=sort
    )
    return [_schedule_view(row) for row in rows], total


async def show_schedule(session: AsyncSession, name: str) -> ScheduleView:
    """One schedule. Raises ``NotFound``."""
    return _schedule_view(await _schedule(session, name))


async def create_schedule(work: Work, new: NewSchedule) -> ScheduleView:
    """Make a schedule. Raises ``Conflict`` when the name is taken, ``Invalid``."""
    if not _SCHEDULE_NAME.fullmatch(new.name):
        raise Invalid(
            f"{new.name!r} is not a name", hint="lower case letters, digits, dot, dash, underscore"
        )
    if await work.session.get(ScheduleRow, new.name):
        raise Conflict(f"there is a schedule named {new.name!r}")
    row = ScheduleRow(
        name=new.name,
        kind=kind_named(new.kind).name,
        title=new.title or new.name,
        args=json.dumps(dict(new.args)),
        locks=json.dumps([lock_path(lock) for lock in new.locks]),
        priority=new.priority,
        cron=new.cron,
        timezone=new.timezone,
        enabled=new.enabled,
        created_at=now(),
        next_run_at=next_fire(new.cron, new.timezone, after=now()),
    )
    work.session.add(row)
    work.audit("create", "schedule", row.name, after=_audited(row))
    work.emit("job", "schedule.created", {"name": row.name})
    return _schedule_view(row)


async def ensure_schedule(work: Work, new: NewSchedule) -> None:
    """Make a schedule at start unless there is one of the name; what people changed is kept."""
    if await work.session.get(ScheduleRow, new.name) is None:
        await create_schedule(work, new)


async def update_schedule(
    work: Work,
    name: str,
    *,
    cron: str | None = None,
    timezone: str | None = None,
    args: Mapping[str, Any] | None = None,
    enabled: bool | None = None,
) -> ScheduleView:
    """Change a schedule; pausing is ``enabled=False``. Raises ``NotFound``, ``Invalid``."""
    row = await _schedule(work.session, name)
    before = _audited(row)
    row.cron = cron if cron is not None else row.cron
    row.timezone = timezone if timezone is not None else row.timezone
    row.args = json.dumps(dict(args)) if args is not None else row.args
    row.enabled = enabled if enabled is not None else row.enabled
    row.next_run_at = next_fire(row.cron, row.timezone, after=now())
    work.audit("update", "schedule", name, before=before, after=_audited(row))
    work.emit("job", "schedule.updated", {"name": name})
    return _schedule_view(row)


async def trigger_schedule(work: Work, name: str) -> str:
    """Submit a schedule's job now, also when it is paused; gives back the job's id."""
    row = await _schedule(work.session, name)
    job_id = await run_schedule(work, row, now())
    work.audit("trigger", "schedule", name, after={"job": job_id})
    return job_id


async def delete_schedule(work: Work, name: str) -> None:
    """Delete a schedule; its jobs stay. Raises ``NotFound``."""
    row = await _schedule(work.session, name)
    work.audit("delete", "schedule", name, before=_audited(row))
    work.emit("job", "schedule.deleted", {"name": name})
    await work.session.delete(row)


async def unfinished_jobs(session: AsyncSession, kind: str) -> int:
    """How many jobs of a kind have not ended."""
    unfinished = [state for state in JobState if state not in FINAL]
    _, total = await tables.job_page(session, limit=1, offset=0, states=unfinished, kind=kind)
    return total


async def _job(session: AsyncSession, job_id: str, *, lock: bool = False) -> JobRow:
    row = await tables.job_by_id(session, job_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no job {job_id!r}", hint="see: holdfast job list")
    return row


async def _schedule(session: AsyncSession, name: str) -> ScheduleRow:
    row = await session.get(ScheduleRow, name)
    if row is None:
        raise NotFound(f"there is no schedule {name!r}", hint="see: holdfast schedule list")
    return row


def _job_view(row: JobRow) -> JobView:
    same = {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(JobView)
        if field.name not in ("steps", "args", "locks", "state")
    }
    return JobView(
        **same, state=JobState(row.state), args=json.loads(row.args), locks=json.loads(row.locks)
    )


def _step_view(row: JobStepRow) -> StepView:
    return StepView(**{f.name: getattr(row, f.name) for f in dataclasses.fields(StepView)})


def _schedule_view(row: ScheduleRow) -> ScheduleView:
    same = {
        field.name: getattr(row, field.name)
        for field in dataclasses.fields(ScheduleView)
        if field.name not in ("args", "locks")
    }
    return ScheduleView(**same, args=json.loads(row.args), locks=json.loads(row.locks))


def _audited(row: ScheduleRow) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "cron": row.cron,
        "timezone": row.timezone,
        "args": json.loads(row.args),
        "enabled": row.enabled,
    }

"""Rows of jobs, their steps, schedules and the workers that run them; and the queries on them."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    Text,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.kernel.jobs.model import ACTIVE, FINAL, UNFINISHED, Claim, JobState
from holdfast.kernel.sorting import Sorts, order_by


class JobRow(Base):
    """One job. ``args`` and ``locks`` are JSON texts; ``seq`` is the order of submission."""

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_state_priority", "state", "priority", "seq"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(primary_key=True, init=False)
    id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]
    args: Mapped[str] = mapped_column(Text)
    locks: Mapped[str] = mapped_column(Text)
    priority: Mapped[int]
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default=JobState.WAITING)
    schedule: Mapped[str | None] = mapped_column(default=None, index=True)
    attempt: Mapped[int] = mapped_column(default=1)
    """Grows with each retry asked for by a person."""
    launched: Mapped[bool] = mapped_column(default=False)
    """Whether the engine underneath was given this attempt."""
    executor_id: Mapped[str | None] = mapped_column(default=None)
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None, index=True)
    progress_done: Mapped[int | None] = mapped_column(BigInteger, default=None)
    progress_total: Mapped[int | None] = mapped_column(BigInteger, default=None)
    progress_unit: Mapped[str] = mapped_column(default="")
    progress_text: Mapped[str] = mapped_column(default="")
    error: Mapped[str | None] = mapped_column(Text, default=None)
    error_code: Mapped[str | None] = mapped_column(default=None)
    settled_at: Mapped[datetime | None] = mapped_column(default=None)
    """Of a failure: since when it waits for nobody."""

    def claim(self) -> Claim:
        """What it asks for."""
        locks = tuple(json.loads(self.locks))
        return Claim(id=self.id, seq=self.seq, priority=self.priority, locks=locks)


class JobStepRow(Base):
    """One step of a job, in the order of their first start (``number`` from 1)."""

    __tablename__ = "job_step"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[str]
    attempts: Mapped[int]
    """How often it was started, in all."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(Text, default=None)


class ScheduleRow(Base):
    """When a job runs by itself."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str]
    args: Mapped[str] = mapped_column(Text)
    locks: Mapped[str] = mapped_column(Text)
    priority: Mapped[int]
    cron: Mapped[str]
    timezone: Mapped[str]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    next_run_at: Mapped[datetime | None] = mapped_column(default=None, index=True)
    last_run_at: Mapped[datetime | None] = mapped_column(default=None)
    last_job_id: Mapped[str | None] = mapped_column(default=None)


class ExecutorRow(Base):
    """A worker that may run jobs; ``seen_at`` is on the database's clock."""

    __tablename__ = "executor"

    id: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    lock_file: Mapped[str]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime] = mapped_column(index=True)
    fenced: Mapped[bool] = mapped_column(default=False)
    """Declared dead: nothing it writes counts any more."""


JOB_SORTS: Sorts = {
    "submitted": JobRow.seq.expression,
    "title": JobRow.title.expression,
    "state": JobRow.state.expression,
    "by": func.coalesce(JobRow.schedule, JobRow.created_by),
    "started": func.coalesce(JobRow.started_at, JobRow.created_at),
    "finished": func.coalesce(JobRow.finished_at, JobRow.created_at),
}
SCHEDULE_SORTS: Sorts = {
    "name": ScheduleRow.name.expression,
    "kind": ScheduleRow.kind.expression,
    "next": func.coalesce(ScheduleRow.next_run_at, ScheduleRow.created_at),
    "last": func.coalesce(ScheduleRow.last_run_at, ScheduleRow.created_at),
}
_OPEN_FAILURE = (JobRow.state == JobState.FAILED, JobRow.settled_at.is_(None))


async def job_by_id(session: AsyncSession, job_id: str, *, lock: bool = False) -> JobRow | None:
    """One job; ``lock`` keeps others from changing it until the transaction ends."""
    query = select(JobRow).where(JobRow.id == job_id)
    return await session.scalar(query.with_for_update() if lock else query)


async def job_page(  # noqa: PLR0913 - the ways to narrow a list, by name
    session: AsyncSession,
    *,
    limit: int,
    offset: int,
    states: Sequence[str] = (),
    kind: str | None = None,
    schedule: str | None = None,
    lock_prefix: str | None = None,
    words: str = "",
    sort: str = "-submitted",
) -> tuple[Sequence[JobRow], int]:
    """Jobs, newest first, and how many there are in all. ``words``: in the title, or the id.

    ``sort``: one of ``JOB_SORTS``, with a dash before it the other way round.
    """
    query = select(JobRow)
    if states:
        query = query.where(JobRow.state.in_(states))
    if kind:
        query = query.where(
            (JobRow.kind == kind) | JobRow.kind.startswith(kind + ".", autoescape=True)
        )
    if schedule:
        query = query.where(JobRow.schedule == schedule)
    if lock_prefix:
        query = query.where(JobRow.locks.contains(f'"{lock_prefix}', autoescape=True))
    if words:
        query = query.where(JobRow.title.icontains(words, autoescape=True) | (JobRow.id == words))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (order_by(JOB_SORTS, sort), JobRow.seq.desc())
    page = query.order_by(*order).limit(limit).offset(offset)
    return (await session.scalars(page)).all(), total


async def jobs_under_way(session: AsyncSession, limit: int) -> tuple[Sequence[JobRow], int]:
    """Jobs that have not ended, those that wait last, and how many there are in all."""
    query = select(JobRow).where(JobRow.state.in_(UNFINISHED))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.order_by(JobRow.state == JobState.WAITING, JobRow.seq).limit(limit)
    return (await session.scalars(page)).all(), total


async def open_failures(session: AsyncSession, limit: int) -> tuple[Sequence[JobRow], int]:
    """Failed jobs that wait for somebody, those that ended last first, and how many in all."""
    query = select(JobRow).where(*_OPEN_FAILURE)
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.order_by(JobRow.finished_at.desc(), JobRow.seq.desc()).limit(limit)
    return (await session.scalars(page)).all(), total


async def settle_failures(
    session: AsyncSession, moment: datetime, *which: ColumnElement[bool]
) -> Sequence[str]:
    """Let the open failures to which all of ``which`` applies wait for nobody; gives their ids."""
    settled = (
        update(JobRow)
        .where(*_OPEN_FAILURE, *which)
        .values(settled_at=moment)
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    )
    return (await session.scalars(settled)).all()


async def jobs_in(session: AsyncSession, states: Iterable[JobState]) -> Sequence[JobRow]:
    """All jobs in these states, in the order of their submission."""
    query = select(JobRow).where(JobRow.state.in_(list(states))).order_by(JobRow.seq)
    return (await session.scalars(query)).all()


async def set_job(
    session: AsyncSession, job_id: str, *, among: Iterable[JobState], **values: object
) -> bool:
    """Change a job that is in one of these states; says whether it was."""
    changed = await session.execute(
        update(JobRow)
        .where(JobRow.id == job_id, JobRow.state.in_(list(among)))
        .values(**values)
        .returning(JobRow.id)
        .execution_options(synchronize_session=False)
    )
    return changed.scalar() is not None


async def steps_of(session: AsyncSession, job_id: str) -> Sequence[JobStepRow]:
    """The steps of a job, in order."""
    query = select(JobStepRow).where(JobStepRow.job_id == job_id).order_by(JobStepRow.number)
    return (await session.scalars(query)).all()


async def finished_before(session: AsyncSession, moment: datetime, *, limit: int) -> Sequence[str]:
    """Ids of jobs that ended before ``moment``."""
    query = select(JobRow.id).where(JobRow.state.in_(FINAL), JobRow.finished_at < moment)
    return (await session.scalars(query.order_by(JobRow.seq).limit(limit))).all()


async def delete_jobs(session: AsyncSession, job_ids: Sequence[str]) -> None:
    """Forget finished jobs and their steps."""
    await session.execute(delete(JobStepRow).where(JobStepRow.job_id.in_(job_ids)))
    await session.execute(delete(JobRow).where(JobRow.id.in_(job_ids), JobRow.state.in_(FINAL)))


async def schedule_page(
    session: AsyncSession, *, limit: int, offset: int, words: str = "", sort: str = "name"
) -> tuple[Sequence[ScheduleRow], int]:
    """Schedules, by name, and how many there are in all; ``words``: in name, title or kind.

    ``sort``: one of ``SCHEDULE_SORTS``, with a dash before it the other way round.
    """
    query = select(ScheduleRow)
    if words:
        looked_in = (ScheduleRow.name, ScheduleRow.title, ScheduleRow.kind)
        query = query.where(or_(*(c.icontains(words, autoescape=True) for c in looked_in)))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (order_by(SCHEDULE_SORTS, sort), ScheduleRow.name.asc())
    page = query.order_by(*order).limit(limit).offset(offset)
    return (await session.scalars(page)).all(), total


async def due_schedules(session: AsyncSession, moment: datetime) -> Sequence[ScheduleRow]:
    """Schedules that are switched on and whose time has come; locked until the transaction ends."""
    query = (
        select(ScheduleRow)
        .where(ScheduleRow.enabled, ScheduleRow.next_run_at <= moment)
        .order_by(ScheduleRow.next_run_at)
        .with_for_update()
    )
    return (await session.scalars(query)).all()


async def next_due(session: AsyncSession) -> datetime | None:
    """When the next schedule is due, if any is switched on."""
    query = select(ScheduleRow.next_run_at).where(ScheduleRow.enabled)
    return await session.scalar(
        query.where(ScheduleRow.next_run_at.is_not(None)).order_by(ScheduleRow.next_run_at).limit(1)
    )


async def schedule_is_busy(session: AsyncSession, name: str) -> bool:
    """Whether a job of this schedule has not ended."""
    query = select(JobRow.id).where(JobRow.schedule == name, JobRow.state.in_(UNFINISHED))
    return await session.scalar(query.limit(1)) is not None


async def anything_to_admit(session: AsyncSession, moment: datetime) -> bool:
    """Whether a job waits or a schedule is due: a cheap look before a transaction is opened."""
    waiting = await session.scalar(
        select(JobRow.seq).where(JobRow.state == JobState.WAITING).limit(1)
    )
    due = select(ScheduleRow.name).where(ScheduleRow.enabled, ScheduleRow.next_run_at <= moment)
    return waiting is not None or await session.scalar(due.limit(1)) is not None


async def executors_seen_within(session: AsyncSession, lease: timedelta) -> Sequence[ExecutorRow]:
    """Workers whose lease has not run out, by the database's clock."""
    query = select(ExecutorRow).where(~ExecutorRow.fenced, ExecutorRow.seen_at > func.now() - lease)
    return (await session.scalars(query)).all()


async def active_jobs(session: AsyncSession) -> Sequence[JobRow]:
    """Jobs that hold their locks."""
    return await jobs_in(session, ACTIVE)

"""Running one job in this process: its context, its steps with their attempts, its interruption."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import OperationalError

from holdfast.kernel.clock import now
from holdfast.kernel.jobs import durable, tables
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.errors import JobFailed, error_text, is_retryable, storable
from holdfast.kernel.jobs.lease import Lease
from holdfast.kernel.jobs.logfile import JobLog, log_path
from holdfast.kernel.jobs.model import ACTIVE, JobState, StepState
from holdfast.kernel.jobs.registry import JobKind, StepSpec, kind_named
from holdfast.kernel.jobs.tables import JobStepRow
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Work

MAX_OUTAGES = 120
"""How often a step finds no database before that counts as its failure."""
OUTAGE_PAUSE_SECONDS = 1.0

R = TypeVar("R")
log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Run:
    """A job that this process runs now."""

    kind: JobKind
    task: asyncio.Task[Any]
    context: JobContext
    interrupt_at: float | None = None
    """Loop time at which a cancelled job is interrupted, if it has not given way by then."""
    interrupted: bool = False


class JobRunner:
    """Runs jobs on this event loop for the engine underneath; `runs` are those under way."""

    def __init__(self, services: Services, lease: Lease) -> None:
        self.runs: dict[str, Run] = {}
        self.ended = asyncio.Event()
        """Set when a job stops running here, for whatever reason."""
        self._services = services
        self._lease = lease
        self._closing = False

    async def run(self, job_id: str, kind_name: str, args: str) -> None:
        """The body of every job. Leaving it by cancellation leaves the job unfinished on record."""
        if self._closing:
            raise asyncio.CancelledError
        kind = kind_named(kind_name)
        context = self._context(job_id, kind_name)
        run = Run(kind=kind, task=_this_task(), context=context)
        await self._end_earlier_run(job_id)
        self.runs[job_id] = run
        try:
            context.cancelled = await patiently(lambda: self._begin(job_id))
            async with context.reporting():
                await kind.function(context, **json.loads(args))
        except asyncio.CancelledError as error:
            if run.task.cancelling():
                raise
            raise JobFailed("a part of it was cancelled, the job was not") from error
        except Exception as error:
            context.log(f"failed: {error_text(error)}")
            log.warning("job failed", job=job_id, kind=kind_name, error=error_text(error))
            raise storable(error) from error
        finally:
            if self.runs.get(job_id) is run:
                del self.runs[job_id]
            self.ended.set()

    def cancel(self, job_id: str) -> bool:
        """Tell a job here that it is cancelled; True when it is time to interrupt it."""
        run = self.runs[job_id]
        clock = asyncio.get_running_loop().time
        if run.interrupt_at is None:
            run.context.cancelled = True
            run.interrupt_at = clock() + run.kind.cancel_grace_seconds
        return not run.interrupted and clock() >= run.interrupt_at

    def interrupt(self, job_id: str) -> None:
        """End a job here now; its programs end with it."""
        run = self.runs.get(job_id)
        if run:
            run.interrupted = True
            run.task.cancel()

    async def close(self, *, limit_seconds: float) -> None:
        """Interrupt all jobs, and begin no other; they stay unfinished on record."""
        self._closing = True
        tasks = [run.task for run in self.runs.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, slow = await asyncio.wait(tasks, timeout=limit_seconds)
            for task in slow:
                log.error("job does not end", task=task.get_name())

    def _context(self, job_id: str, kind_name: str) -> JobContext:
        return JobContext(
            job_id=job_id,
            kind=kind_name,
            services=self._services,
            job_log=JobLog(log_path(self._services.settings.data_dir, job_id)),
            steps=DurableSteps(self._lease),
            fence=self._lease,
        )

    async def _begin(self, job_id: str) -> bool:
        """Record that it runs here; says whether it is to be cancelled."""
        async with self._services.database.write(SYSTEM) as work:
            await self._lease.check(work.session)
            row = await tables.job_by_id(work.session, job_id, lock=True)
            if row is None or row.state not in ACTIVE:
                raise asyncio.CancelledError  # ended meanwhile
            row.launched, row.executor_id = True, self._lease.executor_id
            row.started_at = row.started_at or now()
            work.emit("job", "started", {"id": job_id, "kind": row.kind, "title": row.title})
            return row.state == JobState.CANCELLING

    async def _end_earlier_run(self, job_id: str) -> None:
        """A job given in again while a run of it lingers here must not run twice."""
        earlier = self.runs.get(job_id)
        if earlier:
            earlier.task.cancel()
            await asyncio.wait([earlier.task])


class DurableSteps:
    """Steps that answer from the record when they are done, with attempts and their rows."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    async def run(self, ctx: JobContext, spec: StepSpec, call: Callable[[], Awaitable[R]]) -> R:
        """Run one step of a job."""
        if durable.in_step():
            return await call()
        return await durable.step(spec.name, lambda number: self._attempts(ctx, spec, call, number))

    async def _attempts(
        self,
        ctx: JobContext,
        spec: StepSpec,
        call: Callable[[], Awaitable[R]],
        number: int,
    ) -> R:
        failures = outages = 0
        while True:
            await patiently(lambda: self._starts(ctx, spec, number))
            try:
                answer = await call()
            except OperationalError as error:
                if (outages := outages + 1) > MAX_OUTAGES:
                    raise storable(error) from error
                ctx.log(f"step {spec.name}: the database does not answer, trying again")
                await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            except Exception as error:
                failures += 1
                last = failures == spec.attempts or not is_retryable(error)
                await self._failed(ctx, spec, number, error, last=last)
                if last:
                    raise storable(error) from error
                pause_seconds = spec.backoff_seconds * 2 ** (failures - 1)
                await asyncio.sleep(min(pause_seconds, spec.max_backoff_seconds))
            else:
                await patiently(lambda: self._ends(ctx, number, StepState.DONE, None))
                return answer

    async def _failed(
        self, ctx: JobContext, spec: StepSpec, number: int, error: Exception, *, last: bool
    ) -> None:
        text = error_text(error)
        ctx.log(f"step {spec.name} failed: {text}" + ("" if last else ", trying again"))
        state = StepState.FAILED if last else StepState.RETRYING
        await patiently(lambda: self._ends(ctx, number, state, text))

    async def _starts(self, ctx: JobContext, spec: StepSpec, number: int) -> None:
        async with ctx.write() as work:
            row = await work.session.get(JobStepRow, (ctx.job_id, number))
            if row is None:
                row = JobStepRow(
                    job_id=ctx.job_id,
                    number=number,
                    name=spec.name,
                    state=StepState.RUNNING,
                    attempts=0,
                    started_at=now(),
                )
                work.session.add(row)
            row.name, row.state, row.finished_at = spec.name, StepState.RUNNING, None
            row.attempts += 1
            _tell_of_step(work, row)

    async def _ends(
        self, ctx: JobContext, number: int, state: StepState, error: str | None
    ) -> None:
        async with ctx.write() as work:
            row = await work.session.get_one(JobStepRow, (ctx.job_id, number))
            row.state, row.error = state, error
            row.finished_at = None if state is StepState.RETRYING else now()
            _tell_of_step(work, row)


def _tell_of_step(work: Work, row: JobStepRow) -> None:
    said = {name: getattr(row, name) for name in ("number", "name", "state", "attempts", "error")}
    work.emit("job", "step", {"id": row.job_id, **said})


async def patiently(write: Callable[[], Awaitable[R]]) -> R:
    """Do it as soon as the database answers: its outage is no failure of a job."""
    while True:
        try:
            return await write()
        except OperationalError as error:
            log.warning("the database does not answer", error=str(error.orig))
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a job runs in a task")
    return task

"""What a running job is given: the database, its services, its log and its progress."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel import clock
from holdfast.kernel.jobs import tables
from holdfast.kernel.jobs.errors import JobGaveWay
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.jobs.model import ACTIVE
from holdfast.kernel.jobs.pace import Pace
from holdfast.kernel.jobs.registry import StepSpec
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Actor, Role, Work

PROGRESS_INTERVAL_SECONDS = 0.5

R = TypeVar("R")
log = get_logger(__name__)


class StepRunner(Protocol):
    """How the steps of a job are run: durably by the engine, plainly in a test of a slice."""

    async def run(self, ctx: "JobContext", spec: StepSpec, call: Callable[[], Awaitable[R]]) -> R:
        """Run one step."""
        ...


class PlainSteps:
    """Steps as plain calls, without record or retry: for tests of a slice's steps."""

    async def run(self, ctx: "JobContext", spec: StepSpec, call: Callable[[], Awaitable[R]]) -> R:
        """Call it."""
        del ctx, spec
        return await call()


class Fence(Protocol):
    """Says in a transaction whether this worker may still write."""

    async def check(self, session: AsyncSession) -> None:
        """Raise ``LeaseLost`` when it may not; else it may until the transaction ends."""
        ...


class NoFence:
    """For one worker alone, which nobody can declare dead."""

    async def check(self, session: AsyncSession) -> None:
        """Nothing to check."""
        del session


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: ``done`` of ``total`` (None: unknown) ``unit``s."""

    done: int
    total: int | None
    unit: str
    text: str


class JobContext:
    """Given to a job and its steps."""

    def __init__(
        self,
        *,
        job_id: str,
        kind: str,
        services: Services,
        job_log: JobLog,
        steps: StepRunner,
        fence: Fence,
    ) -> None:
        self.job_id = job_id
        self.kind = kind
        self.services = services
        self.cancelled = False
        """Whether somebody asked for the end of this job; see ``give_way``."""
        self._log = job_log
        self._steps = steps
        self._fence = fence
        self._progress: Progress | None = None
        self._saved: Progress | None = None
        self._pace = Pace()
        self._changed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading."""
        async with self.services.database.read() as session:
            yield session

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[Work]:
        """A unit of work; raises ``LeaseLost`` when another worker has taken this job over."""
        async with self.services.database.write(Actor(f"job:{self.kind}", Role.ADMIN)) as work:
            await self._fence.check(work.session)
            yield work

    def now(self) -> datetime:
        """The current moment; only in steps, as a job's body is run again after a restart."""
        return clock.now()

    def log(self, message: str) -> None:
        """Add to the job's log; never secrets."""
        self._log.write(message)

    def progress(
        self, done: int, total: int | None = None, *, unit: str = "", text: str = ""
    ) -> None:
        """Say how far the job is; cheap, as it is written at most twice a second."""
        self._progress = Progress(done, total, unit, text)
        self._changed.set()

    def give_way(self) -> None:
        """End the job as cancelled when it was cancelled: raises ``JobGaveWay``."""
        if self.cancelled:
            raise JobGaveWay

    async def run_step(self, spec: StepSpec, call: Callable[[], Awaitable[R]]) -> R:
        """Run one step; called by the mark ``@step``."""
        return await self._steps.run(self, spec, call)

    @contextlib.asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Write the progress from time to time, and at the end."""
        task = asyncio.create_task(self._report())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._save_progress()

    async def _report(self) -> None:
        while True:
            await self._changed.wait()
            await self._save_progress()
            await asyncio.sleep(PROGRESS_INTERVAL_SECONDS)

    async def _save_progress(self) -> None:
        self._changed.clear()
        latest = self._progress
        if latest is None or latest == self._saved:
            return
        try:
            async with self.services.database.write(SYSTEM) as work:
                await self._put_progress(work, latest)
            self._saved = latest
        except SQLAlchemyError as error:
            log.warning("progress not written", job=self.job_id, error=str(error))

    async def _put_progress(self, work: Work, latest: Progress) -> None:
        values = {
            "progress_done": latest.done,
            "progress_total": latest.total,
            "progress_unit": latest.unit,
            "progress_text": latest.text,
        }
        if await tables.set_job(work.session, self.job_id, among=ACTIVE, **values):
            self._pace.add(time.monotonic(), latest.done)
            speed = {
                "per_second": self._pace.per_second,
                "eta_seconds": self._pace.eta_seconds(latest.total),
            }
            work.emit("job", "progress", {"id": self.job_id, "kind": self.kind, **values, **speed})

"""What a worker looks after between jobs: who may start, who has ended, who died, what is old."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta

from holdfast.kernel.clock import now
from holdfast.kernel.jobs import durable, tables
from holdfast.kernel.jobs.admission import admit, leading
from holdfast.kernel.jobs.durable import Status
from holdfast.kernel.jobs.ending import finish
from holdfast.kernel.jobs.errors import JobGaveWay, error_code, error_text
from holdfast.kernel.jobs.lease import Lease
from holdfast.kernel.jobs.logfile import delete_logs_before
from holdfast.kernel.jobs.lost import LostJobs
from holdfast.kernel.jobs.model import (
    ACTIVE,
    Action,
    JobState,
    Recorded,
    Situation,
    end_state,
    next_action,
)
from holdfast.kernel.jobs.running import JobRunner
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.jobs.times import EngineTimes
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM

RETENTION_BATCH = 500
GAVE_UP = "its worker died under it too often"
NO_RECORD = Status(recorded=Recorded.UNKNOWN, executor_id=None, error=None)

log = get_logger(__name__)


class Caretaker:
    """Looks after the jobs of all workers, as far as it may, and after its own."""

    def __init__(
        self, services: Services, lease: Lease, runner: JobRunner, times: EngineTimes
    ) -> None:
        self._services = services
        self._lease = lease
        self._runner = runner
        self._times = times
        self._due: dict[str, float] = {}
        self._lost = LostJobs(times.lost_seconds)

    async def look(self) -> float:
        """Admit, take over, and give each admitted job what it needs; twice is harmless.

        Says for how many seconds nothing will have to be done unless somebody writes something.
        """
        async with leading(self._services.database) as is_leader:
            if is_leader:
                await admit(self._services.database, cap=self._services.settings.worker_concurrency)
                if self._is_due("takeover", self._times.takeover_seconds):
                    await self._take_over()
            under_way = await self._settle(is_leader=is_leader)
        if is_leader and self._is_due("cleaning", self._times.cleaning_seconds):
            await self._clean_up()
        return 0.0 if under_way else await self._idle_seconds()

    async def _idle_seconds(self) -> float:
        async with self._services.database.read() as session:
            due_at = await tables.next_due(session)
        left = (due_at - now()).total_seconds() if due_at else self._times.idle_seconds
        return max(0.0, min(left, self._times.idle_seconds))

    def _is_due(self, what: str, interval_seconds: float) -> bool:
        if time.monotonic() < self._due.get(what, 0.0):
            return False
        self._due[what] = time.monotonic() + interval_seconds
        return True

    async def _settle(self, *, is_leader: bool) -> bool:
        """Give every admitted job what it needs now; says whether there are any."""
        async with self._services.database.read() as session:
            active = await tables.active_jobs(session)
        rows = [row for row in active if self._needs_look(row)]
        if not rows:
            self._note_lost({}, active)
            return bool(active)
        alive = await self._lease.alive()
        records = await asyncio.to_thread(durable.statuses, [row.id for row in rows])
        self._note_lost(records, active)
        for row in rows:
            record = records.get(row.id, NO_RECORD)
            action = next_action(self._situation(row, record, alive))
            if is_leader or action not in (Action.ENQUEUE, Action.RUN_AGAIN):
                await self._act(action, row, record)
        return True

    def _needs_look(self, row: JobRow) -> bool:
        return row.state == JobState.CANCELLING or row.id not in self._runner.runs

    def _note_lost(self, records: Mapping[str, Status], active: Sequence[JobRow]) -> None:
        lost = [
            job_id
            for job_id, record in records.items()
            if record.recorded is Recorded.RUNNING
            and record.executor_id == self._lease.executor_id
            and job_id not in self._runner.runs
        ]
        self._lost.seen(lost, {row.id for row in active})

    def _situation(self, row: JobRow, record: Status, alive: set[str]) -> Situation:
        return Situation(
            state=JobState(row.state),
            launched=row.launched,
            recorded=record.recorded,
            runs_here=row.id in self._runner.runs,
            owner_alive=record.executor_id in alive,
            owner_is_me=record.executor_id == self._lease.executor_id,
            lost=self._lost.is_due(row.id),
        )

    async def _act(self, action: Action, row: JobRow, record: Status) -> None:
        match action:
            case Action.ENQUEUE:
                await asyncio.to_thread(durable.enqueue, row.id, row.kind, row.args)
                await self._mark_launched(row.id)
            case Action.RUN_AGAIN:
                await asyncio.to_thread(durable.run_again, row.id)
                await self._mark_launched(row.id)
            case Action.TAKE_OVER:
                await asyncio.to_thread(durable.take_over, row.id)
                self._lost.given_in(row.id)
                log.warning("job given in again: its end was not written", job=row.id)
            case Action.CANCEL:
                await self._cancel(row.id)
            case Action.FINISH:
                await self._finish(row, record)
            case Action.NOTHING:
                pass

    async def _mark_launched(self, job_id: str) -> None:
        async with self._services.database.write(SYSTEM) as work:
            await tables.set_job(work.session, job_id, among=ACTIVE, launched=True)

    async def _cancel(self, job_id: str) -> None:
        here = job_id in self._runner.runs
        if here and not self._runner.cancel(job_id):
            return  # it may still give way by itself
        await asyncio.to_thread(durable.cancel, job_id)
        self._runner.interrupt(job_id)

    async def _finish(self, row: JobRow, record: Status) -> None:
        error = record.error
        gave_way = isinstance(error, JobGaveWay)
        state = end_state(record.recorded, gave_way=gave_way)
        text = error_text(error) if error and state is JobState.FAILED else None
        code = error_code(error) if text and error else None
        if record.recorded is Recorded.GAVE_UP:
            text, code = GAVE_UP, "gave_up"
        if await finish(self._services.database, row.id, state, error=text, code=code):
            log.info("job ended", job=row.id, kind=row.kind, state=str(state))

    async def _take_over(self) -> None:
        """Give in again what dead workers left. Only the leader does: twice would run it twice."""
        if not self._lease.many:
            return  # a start recovers what the last one left
        fenced = await self._lease.fence_the_dead()
        # In this order: a worker has its row before it begins a job, so the living are all found.
        running = await asyncio.to_thread(durable.running_elsewhere)
        alive = await self._lease.alive()
        for job_id, owner in running.items():
            if owner not in alive:
                await asyncio.to_thread(durable.take_over, job_id)
                log.warning("job taken over", job=job_id, dead_worker=owner)
        if fenced:
            await self._lease.forget(fenced)

    async def _clean_up(self) -> None:
        """Forget jobs that ended long ago, batch by batch."""
        moment = now() - timedelta(days=self._services.settings.job_retention_days)
        await asyncio.to_thread(delete_logs_before, self._services.settings.data_dir, moment)
        while True:
            async with self._services.database.read() as session:
                old = await tables.finished_before(session, moment, limit=RETENTION_BATCH)
            if not old:
                return
            await asyncio.to_thread(durable.forget, old)
            async with self._services.database.write(SYSTEM) as work:
                await tables.delete_jobs(work.session, old)

"""The worker: runs jobs on its event loop while it is started."""

import asyncio
import contextlib
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from holdfast.kernel.jobs.lease import Lease
from holdfast.kernel.jobs.quiet import Quiet
from holdfast.kernel.jobs.times import EngineTimes
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services

if TYPE_CHECKING:
    from holdfast.kernel.jobs.caretaker import Caretaker
    from holdfast.kernel.jobs.running import JobRunner

log = get_logger(__name__)


class JobEngine:
    """One worker, at most one in a process. Jobs run on the loop that `start` is called on."""

    def __init__(self, times: EngineTimes | None = None) -> None:
        self._times = times or EngineTimes()
        self._lease: Lease | None = None
        self._runner: JobRunner | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, services: Services) -> None:
        """Begin to run jobs, which find ``services`` in their context; its database must be open.

        Raises ``Conflict`` when another worker uses the data directory (SQLite).
        """
        # Here, because it takes a second that an API without a worker need not spend.
        from holdfast.kernel.jobs import caretaker, durable, running  # noqa: PLC0415

        lease = Lease(services.database, services.settings.data_dir, self._times.lease)
        await lease.acquire()
        runner = running.JobRunner(services, lease)
        concurrency = services.settings.worker_concurrency
        try:
            # On this thread, though it takes a moment: jobs run on the loop that it is called on.
            durable.launch(
                database_url=services.database.url,
                data_dir=services.settings.data_dir,
                executor_id=lease.executor_id,
                concurrency=concurrency,
                runner=runner.run,
            )
            await asyncio.to_thread(durable.open_queue, concurrency)
        except BaseException:
            await lease.release()
            raise
        self._lease, self._runner = lease, runner
        care = caretaker.Caretaker(services, lease, runner, self._times)
        loop = self._loop(care, runner, Quiet(services.database))
        self._task = asyncio.create_task(loop, name="job-engine")
        log.info("worker started", executor=lease.executor_id)

    async def stop(self) -> None:
        """Interrupt running jobs, which go on at the next start or in another worker."""
        if self._task is None or self._runner is None or self._lease is None:
            return
        from holdfast.kernel.jobs import durable  # noqa: PLC0415 - see above

        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        await self._runner.close(limit_seconds=self._times.closing_seconds)
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:  # closing ends the loop's own executor
            await loop.run_in_executor(pool, durable.close)
        loop.set_default_executor(ThreadPoolExecutor())
        await self._lease.release()
        log.info("worker stopped", executor=self._lease.executor_id)

    async def _loop(self, care: "Caretaker", runner: "JobRunner", quiet: Quiet) -> None:
        try:
            while True:
                runner.ended.clear()
                quiet.changed()  # before the look, so that what is written meanwhile counts
                idle_seconds = 0.0
                try:
                    idle_seconds = await care.look()
                except Exception as error:  # noqa: BLE001 - the worker's loop goes on
                    trace = traceback.format_exception(error)
                    log.warning("looking after the jobs failed", trace="".join(trace))
                await self._rest(runner, quiet, idle_seconds)
        finally:
            quiet.close()

    async def _rest(self, runner: "JobRunner", quiet: Quiet, idle_seconds: float) -> None:
        """Wait for the next look: up to ``idle_seconds`` while nobody writes anything."""
        wake = time.monotonic() + idle_seconds
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._times.pass_seconds):
                    await runner.ended.wait()
                    return
            if time.monotonic() >= wake or quiet.changed():
                return

"""Workers for the tests, and what is asked of them."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.engine import JobEngine
from holdfast.kernel.jobs.model import DEFAULT_PRIORITY, JobState
from holdfast.kernel.jobs.service import JobView
from holdfast.kernel.jobs.times import EngineTimes, LeaseTimes
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from tests.servers.programs import words_of

ROOT = Path(__file__).parents[3]
LIMIT_SECONDS = 60.0
QUICK = EngineTimes(
    pass_seconds=0.05,
    takeover_seconds=0.2,
    lease=LeaseTimes(lease_seconds=3.0, beat_seconds=0.3),
)


def services_for(data_dir: Path, url: str, worker_concurrency: int = 4) -> Services:
    data_dir.mkdir(parents=True, exist_ok=True)
    given = Settings(
        data_dir=data_dir, database_url=SecretStr(url), worker_concurrency=worker_concurrency
    )
    loaded = LoadedSettings(given, {}, data_dir / "config.toml")
    return Services(loaded, Database(given.effective_database_url), Sealer("x" * 32))


@contextlib.asynccontextmanager
async def engine_here(
    data_dir: Path, url: str, *, times: EngineTimes = QUICK, worker_concurrency: int = 4
) -> AsyncIterator[Services]:
    """A worker on the test's own loop."""
    services = services_for(data_dir, url, worker_concurrency=worker_concurrency)
    engine = JobEngine(times)
    await engine.start(services)
    try:
        yield services
    finally:
        await engine.stop()
        await services.database.close()


class WorkerProcess:
    """A worker in a process of its own."""

    def __init__(self, data_dir: Path, url: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self.started = data_dir / "started"
        self.started.unlink(missing_ok=True)
        self.log = data_dir / "worker.log"
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                words_of("tests.kernel.jobs.worker_program", str(data_dir), url),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    async def ready(self) -> None:
        await until(lambda: self.started.exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.log.read_text()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.to_thread(self.process.wait, LIMIT_SECONDS)


@contextlib.asynccontextmanager
async def worker_process(data_dir: Path, url: str) -> AsyncIterator[WorkerProcess]:
    """A worker process, ended with the block."""
    worker = WorkerProcess(data_dir, url)
    try:
        await worker.ready()
        yield worker
    finally:
        worker.process.kill()
        await worker.ended()


async def until(condition: Callable[[], bool], *, limit_seconds: float = LIMIT_SECONDS) -> None:
    """Wait for a condition; fails when it does not come."""
    end = time.monotonic() + limit_seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        await asyncio.sleep(0.02)


async def submit(
    database: Database,
    kind: str,
    args: dict[str, Any],
    *,
    locks: Sequence[str] = (),
    priority: int = DEFAULT_PRIORITY,
    title: str = "",
) -> str:
    async with database.write(SYSTEM) as work:
        return service.submit(work, kind, args, locks=locks, priority=priority, title=title)


async def show(database: Database, job_id: str) -> JobView:
    async with database.read() as session:
        return await service.show_job(session, job_id)


async def cancel(database: Database, job_id: str) -> None:
    async with database.write(SYSTEM) as work:
        await service.cancel(work, job_id)


async def retry(database: Database, job_id: str) -> None:
    async with database.write(SYSTEM) as work:
        await service.retry(work, job_id)


async def state_of(
    database: Database, job_id: str, *states: JobState, limit_seconds: float = LIMIT_SECONDS
) -> JobView:
    """Wait until a job is in one of these states."""
    end = time.monotonic() + limit_seconds
    while (job := await show(database, job_id)).state not in states:
        assert time.monotonic() < end, job
        await asyncio.sleep(0.03)
    return job


class Evidence:
    """The file in which the sample jobs note what they did."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "evidence"
        self.path.touch()

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def count(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.lines())

    def child_pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.lines() if line.startswith("pid ")]

    async def says(
        self, beginning: str, *, times: int = 1, limit_seconds: float = LIMIT_SECONDS
    ) -> None:
        await until(lambda: self.count(beginning) >= times, limit_seconds=limit_seconds)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in ("Z", "X")

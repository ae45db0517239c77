"""A worker's right to run jobs, and how others learn that it is dead.

SQLite: one worker a data directory, by a lock on a file. PostgreSQL: many; each has an id of its
own per boot and a row whose time it moves on, by the database's clock. A worker that cannot do so
for 0.6 of the lease, or whose row was fenced, ends its process at once: its programs die with it.
"""

import contextlib
import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict
from holdfast.kernel.jobs import tables
from holdfast.kernel.jobs.errors import LeaseLost
from holdfast.kernel.jobs.tables import ExecutorRow
from holdfast.kernel.jobs.times import LeaseTimes
from holdfast.kernel.logging import get_logger
from holdfast.kernel.work import SYSTEM

SINGLE_EXECUTOR = "local"
SINGLE_LOCK = "worker.lock"
FENCED_EXIT_CODE = 75
PATIENCE = 0.6
"""Part of the lease after which a worker that cannot renew it gives up by itself."""
LONGEST_IDLE_TRANSACTION = "30s"
"""A frozen worker's open transaction is ended after this, so that another can take over."""
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

log = get_logger(__name__)


def _end_process(reason: str) -> None:
    log.error("worker lost its lease and ends", reason=reason)
    os._exit(FENCED_EXIT_CODE)


@contextlib.contextmanager
def data_directory_held(data_dir: Path, *, wanted: bool = True) -> Iterator[None]:
    """Hold what a worker on SQLite holds. Raises ``Conflict`` while one runs; ``wanted``: or not.

    For a command that changes the data while no server runs.
    """
    if not wanted:
        yield
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / SINGLE_LOCK).open("w", encoding="utf-8") as file:
        if not _try_lock(file):
            raise Conflict(
                f"a server or worker uses {data_dir}, but does not answer here",
                hint="ask it by its address (HOLDFAST_URL), or stop it",
            )
        yield


class Lease:
    """Held from `acquire` to `release`; also the fence that transactions of jobs check."""

    def __init__(
        self,
        database: Database,
        data_dir: Path,
        times: LeaseTimes,
        *,
        on_lost: Callable[[str], None] = _end_process,
    ) -> None:
        self.host = socket.gethostname()
        self.many = not database.is_sqlite
        """Whether there may be other workers."""
        self.executor_id = f"{self.host}-{secrets.token_hex(6)}" if self.many else SINGLE_EXECUTOR
        self._database = database
        self._times = times
        self._on_lost = on_lost
        name = f"workers/{self.executor_id}.lock" if self.many else SINGLE_LOCK
        self._lock_path = (data_dir / name).absolute()
        self._lock_file: IO[str] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def acquire(self) -> None:
        """Take it. Raises ``Conflict`` when another worker uses this data directory."""
        self._lock_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_file = self._lock_path.open("w", encoding="utf-8")
        if not _try_lock(self._lock_file):
            self._lock_file.close()
            raise Conflict(
                f"another worker already uses {self._lock_path.parent}",
                hint="stop it, give this one its own data directory, or use PostgreSQL",
            )
        async with self._database.write(SYSTEM) as work:
            if not self.many:
                await work.session.execute(sa.delete(ExecutorRow))
            moment = await work.session.scalar(sa.select(sa.func.now())) if self.many else now()
            work.session.add(self._row(moment or now()))
        if self.many:
            self._thread = threading.Thread(target=self._beat, name="job-lease", daemon=True)
            self._thread.start()

    async def release(self) -> None:
        """Give it back: others take over what is left at once."""
        self._stop.set()
        async with self._database.write(SYSTEM) as work:
            mine = ExecutorRow.id == self.executor_id
            await work.session.execute(sa.update(ExecutorRow).where(mine).values(seen_at=LONG_AGO))
        if self._lock_file:
            if self.many:  # a lock file that is shared must stay the same file
                self._lock_path.unlink(missing_ok=True)
            self._lock_file.close()

    async def check(self, session: AsyncSession) -> None:
        """Keep the right to write until this transaction ends. Raises ``LeaseLost``."""
        if not self.many:
            return
        idle = f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST_IDLE_TRANSACTION}'"
        await session.execute(sa.text(idle))
        mine = sa.select(ExecutorRow.id).where(
            ExecutorRow.id == self.executor_id, ~ExecutorRow.fenced
        )
        if await session.scalar(mine.with_for_update(read=True)) is None:
            raise LeaseLost("this worker was declared dead, another one has its jobs")

    async def alive(self) -> set[str]:
        """Ids of all workers that may be running jobs."""
        if not self.many:
            return {self.executor_id}
        async with self._database.read() as session:
            rows = await tables.executors_seen_within(session, self._lease)
        return {row.id for row in rows}

    async def fence_the_dead(self) -> Sequence[str]:
        """Declare workers dead whose lease ran out, or that died on this very host."""
        if not self.many:
            return []
        async with self._database.write(SYSTEM) as work:
            others = sa.select(ExecutorRow).where(ExecutorRow.id != self.executor_id)
            # One that is locked is writing, or was frozen at it: its session will end; look again.
            rows = await work.session.scalars(others.with_for_update(skip_locked=True))
            seen = await tables.executors_seen_within(work.session, self._lease)
            fresh = {row.id for row in seen}
            dead = [row for row in rows if row.id not in fresh or self._died_here(row)]
            for row in dead:
                row.fenced = True
        return [row.id for row in dead]

    async def forget(self, executor_ids: Sequence[str]) -> None:
        """Delete dead workers whose jobs were taken over."""
        async with self._database.write(SYSTEM) as work:
            await work.session.execute(
                sa.delete(ExecutorRow).where(ExecutorRow.id.in_(executor_ids), ExecutorRow.fenced)
            )

    @property
    def _lease(self) -> timedelta:
        return timedelta(seconds=self._times.lease_seconds)

    def _row(self, moment: datetime) -> ExecutorRow:
        return ExecutorRow(
            id=self.executor_id,
            host=self.host,
            pid=os.getpid(),
            lock_file=str(self._lock_path),
            started_at=moment,
            seen_at=moment,
        )

    def _died_here(self, row: ExecutorRow) -> bool:
        """Whether it ran on this host and nobody holds its lock file any more."""
        if row.host != self.host:
            return False
        try:
            with Path(row.lock_file).open("r+", encoding="utf-8") as file:
                free = _try_lock(file)
        except OSError:
            return False  # no such file here: another container with our host name, perhaps
        if free:
            Path(row.lock_file).unlink(missing_ok=True)
        return free

    def _beat(self) -> None:
        """Thread: a job that blocks the event loop must not cost the lease."""
        url = sa.make_url(self._database.url)
        patience_seconds = PATIENCE * self._times.lease_seconds
        engine = sa.create_engine(
            url,
            isolation_level="AUTOCOMMIT",  # frozen between two statements it would hold its row
            pool_size=1,
            connect_args={
                "connect_timeout": max(1, int(patience_seconds / 2)),
                "tcp_user_timeout": int(patience_seconds * 500),
                "options": f"-c statement_timeout={int(patience_seconds * 500)}",
            },
        )
        renewed = time.monotonic()
        while not self._stop.wait(self._times.beat_seconds):
            try:
                held = self._renew(engine)
            except sa.exc.SQLAlchemyError as error:
                log.warning("lease not renewed", error=str(error))
                if time.monotonic() - renewed > patience_seconds:
                    self._on_lost("the database cannot be reached")
                continue
            if not held:
                self._on_lost("declared dead by another worker")
            renewed = time.monotonic()
        engine.dispose()

    def _renew(self, engine: sa.Engine) -> bool:
        with engine.connect() as connection:
            changed = connection.execute(
                sa.update(ExecutorRow)
                .where(ExecutorRow.id == self.executor_id, ~ExecutorRow.fenced)
                .values(seen_at=sa.func.now())
            )
        return changed.rowcount == 1


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""A worker with nothing to do leaves the processor alone, and yet begins a job at once."""

import inspect
import sqlite3
from pathlib import Path

from dbos import _dbos, _queue, _sys_db, _workflow_commands

from holdfast.kernel.db import Database
from holdfast.kernel.jobs.quiet import Quiet
from holdfast.kernel.jobs.times import EngineTimes
from holdfast.kernel.work import SYSTEM


async def test_what_somebody_writes_is_seen_once(database: Database) -> None:
    quiet = Quiet(database)
    assert quiet.changed(), "the first look knows nothing"
    if database.is_sqlite:
        assert not quiet.changed()
    async with database.write(SYSTEM) as work:
        work.audit("try", "test", 1)
    assert quiet.changed()
    if database.is_sqlite:
        assert not quiet.changed()
    quiet.close()


def test_a_database_that_cannot_be_opened_counts_as_changed(tmp_path: Path) -> None:
    quiet = Quiet(Database(f"sqlite+aiosqlite:///{tmp_path}/nowhere/holdfast.db"))
    assert quiet.changed()
    assert quiet.changed()


def test_another_process_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "holdfast.db"
    other = sqlite3.connect(path)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE one (n)")
    other.commit()
    quiet = Quiet(Database(f"sqlite+aiosqlite:///{path}"))
    quiet.changed()
    assert not quiet.changed()
    other.execute("INSERT INTO one VALUES (1)")
    other.commit()
    assert quiet.changed()
    other.close()
    quiet.close()


def test_the_names_that_slow_the_engines_own_looks_down_are_still_there() -> None:
    used = inspect.getsource(_workflow_commands.background_jobs_thread)
    assert "_BACKGROUND_JOBS_INTERVAL_SEC" in used
    assert "queue._polling_interval_sec" in inspect.getsource(_queue.queue_worker_thread)
    assert "get_internal_queue" in inspect.getsource(_dbos.DBOSRegistry)


def test_a_job_counts_as_lost_only_when_the_engine_would_have_written_its_end() -> None:
    longest = inspect.signature(_sys_db.db_retry).parameters["max_backoff"].default
    assert "backoff * (0.5 + random.random())" in inspect.getsource(_sys_db.db_retry)
    one_try = 30.0  # for a place in the pool, or for the lock of SQLite
    assert EngineTimes().lost_seconds > longest * 1.5 + one_try

"""A database in one file, and back: SQLite by itself, PostgreSQL by pg_dump and psql."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, text
from sqlalchemy.engine.url import make_url

from holdfast.kernel.db import Database
from holdfast.kernel.errors import AppError, Conflict
from holdfast.kernel.process import run

JOBS_SCHEMA = "holdfast_dbos"
"""Where the job engine keeps its tables; importing it to ask would take longer than the dump."""
DUMP_SECONDS = 3600.0
BUSY_SECONDS = 30.0
SQLITE_SUFFIXES = ("", "-wal", "-shm")
CLOSING_SECONDS = 2.0
"""So long PostgreSQL may show a connection that was just closed."""
IN_USE_HINT = "stop holdfast serve and holdfast worker first"
_DROP_TABLES = """
DO $$ DECLARE t record; BEGIN
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('DROP TABLE public.%I CASCADE', t.tablename);
  END LOOP;
END $$
"""


class BackupDamaged(AppError):
    """A backup is not what was written: it must not be restored."""

    code = "backup_damaged"


def sqlite_path(url: str) -> Path | None:
    """The file of a SQLite URL; ``None`` for PostgreSQL."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "").absolute()


def sqlite_files(path: Path) -> Iterator[Path]:
    """The database's files that are there: itself, its log, its shared memory."""
    for suffix in SQLITE_SUFFIXES:
        part = path.with_name(path.name + suffix)
        if part.exists():
            yield part


async def dump(url: str, target: Path) -> None:
    """Write the database as it is at one moment to ``target``, while others go on working."""
    source = sqlite_path(url)
    if source:
        await asyncio.to_thread(_copy_sqlite, source, target)
        return
    where = make_url(url)
    words = ["pg_dump", "--format=custom", "--no-owner", "--no-acl", "--file", str(target)]
    await run(words, timeout_seconds=DUMP_SECONDS, env=libpq_environment(where))


async def check_dump(path: Path, *, is_sqlite: bool) -> None:
    """Read the whole dump. Raises ``BackupDamaged``."""
    if is_sqlite:
        problem = await asyncio.to_thread(_sqlite_problem, path)
        if problem:
            raise BackupDamaged(f"the database in the backup is damaged: {problem}")
        return
    words = ["pg_restore", "--file", "/dev/null", str(path)]
    await run(words, timeout_seconds=DUMP_SECONDS)


async def load_postgresql(url: str, dump_path: Path) -> None:
    """Replace the database's content, in one transaction: all of it, or nothing changes."""
    script = dump_path.with_suffix(".sql")
    words = ["pg_restore", "--no-owner", "--no-acl", "--file", str(script), str(dump_path)]
    await run(words, timeout_seconds=DUMP_SECONDS)
    drop_jobs = f"DROP SCHEMA IF EXISTS {JOBS_SCHEMA} CASCADE"
    psql = ["psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
    commands = ["--command", _DROP_TABLES, "--command", drop_jobs, "--file", str(script)]
    env = libpq_environment(make_url(url))
    await run([*psql, *commands], timeout_seconds=DUMP_SECONDS, env=env)
    script.unlink()


async def check_unused(url: str) -> None:
    """Raises ``Conflict`` while another process has the database open."""
    path = sqlite_path(url)
    if path:
        if path.exists():
            await asyncio.to_thread(_take_alone, path)
        return
    database = Database(url)
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    deadline = time.monotonic() + CLOSING_SECONDS
    try:
        while others := await _count(database, query):
            if time.monotonic() > deadline:
                words = f"{others} connections to the database are open"
                raise Conflict(words, hint=IN_USE_HINT)
            await asyncio.sleep(0.1)
    finally:
        await database.close()


async def _count(database: Database, query: str) -> int:
    async with database.read() as session:
        return await session.scalar(text(query)) or 0


def libpq_environment(url: URL) -> dict[str, str]:
    """The URL in the variables that PostgreSQL's programs read, so that no secret is in a word."""
    given = {
        "PGHOST": url.host,
        "PGPORT": str(url.port) if url.port else None,
        "PGUSER": url.username,
        "PGPASSWORD": str(url.password) if url.password else None,
        "PGDATABASE": url.database,
    }
    given |= {f"PG{k.upper()}": v for k, v in url.query.items() if isinstance(v, str)}
    return {name: value for name, value in given.items() if value}


def _copy_sqlite(source: Path, target: Path) -> None:
    connection = sqlite3.connect(f"file:{source}?mode=rw", uri=True, timeout=BUSY_SECONDS)
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    finally:
        connection.close()
    target.chmod(0o600)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _sqlite_problem(path: Path) -> str | None:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else str(found)


def _take_alone(path: Path) -> None:
    """Leave WAL mode, which works only for the one process that has the file open.

    It also writes the log back into the file, so that the file alone is the database.
    """
    connection = sqlite3.connect(path, timeout=0.5)
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError:
        raise Conflict(f"{path} is in use", hint=IN_USE_HINT) from None
    except sqlite3.DatabaseError:
        pass  # damaged: a reason to restore, not to refuse
    finally:
        connection.close()

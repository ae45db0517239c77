"""The database: SQLite or PostgreSQL behind one async engine, changed in whole transactions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, Dialect, MetaData, event, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.engine.url import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, MappedAsDataclass
from sqlalchemy.types import TypeDecorator

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.work import Actor, Work

if TYPE_CHECKING:
    from alembic.config import Config

BUSY_TIMEOUT_MS = 30_000
LONGEST_SILENCE_MS = 60_000
"""A process that is frozen in a transaction must not hold its rows for ever."""
WRITES = "holdfast_writes"
MIGRATIONS_DIR = Path(__file__).parent.parent / "db_migrations"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: stored in UTC, given back with its zone (SQLite keeps none)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True):
    """Every table derives from this; columns without a default must be given to the constructor."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012 - read by SQLAlchemy


class Database:
    """One engine. ``read`` gives a session, ``write`` a unit of work, kept whole or not."""

    def __init__(self, url: str) -> None:
        """``url``: ``sqlite+aiosqlite:///path`` or ``postgresql+psycopg://...``."""
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = create_async_engine(url, pool_pre_ping=not self.is_sqlite)
        self.after_write: set[Callable[[], None]] = set()
        """Called whenever this process has kept a unit of work."""
        self.beside: set[asyncio.Task[None]] = set()
        """Writes that nobody waits for, but `close`."""
        # SQLite has one writer; a fair queue in the process beats its polling busy handler.
        self._writer = asyncio.Lock() if self.is_sqlite else contextlib.nullcontext()
        if self.is_sqlite:
            event.listen(self.engine.sync_engine, "connect", _set_pragmas)
            event.listen(self.engine.sync_engine, "begin", _begin)
        else:
            event.listen(self.engine.sync_engine, "connect", _limit_silence)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session for reading; what it changes is not kept."""
        async with AsyncSession(self.engine, expire_on_commit=False) as session:
            yield session

    @contextlib.asynccontextmanager
    async def write(self, actor: Actor) -> AsyncIterator[Work]:
        """A unit of work: committed when the block ends, undone when it raises."""
        async with self._writer, AsyncSession(self.engine, expire_on_commit=False) as session:
            _ = await session.connection(execution_options={WRITES: True})
            async with Work(session, actor) as work:
                yield work
        for tell in self.after_write:
            tell()

    async def upgrade(self) -> None:
        """Bring the schema to the newest revision.

        Raises ``Unavailable`` when the database is ahead of this program.
        """
        async with self.engine.begin() as connection:
            await connection.run_sync(_upgrade, self.url)

    def spawn(self, writing: Coroutine[Any, Any, None]) -> None:
        """Write beside whatever is done now; ``writing`` handles its own failures."""
        task = asyncio.get_running_loop().create_task(writing)
        self.beside.add(task)
        task.add_done_callback(self.beside.discard)

    async def close(self) -> None:
        """Give all connections back, once what is written beside has ended."""
        await asyncio.gather(*self.beside, return_exceptions=True)
        await self.engine.dispose()


def alembic_config(url: str) -> "Config":
    """Alembic's settings for this database."""
    from alembic.config import Config  # noqa: PLC0415 - slow, and seldom needed

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIR))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def newest_revision() -> str:
    """The newest revision of the schema that this program knows, by the names of their files."""
    files = (MIGRATIONS_DIR / "versions").glob("[0-9]*_*.py")
    return max(file.name.partition("_")[0] for file in files)


def _upgrade(connection: Connection, url: str) -> None:
    if inspect(connection).has_table("alembic_version"):
        found = connection.scalar(text("SELECT version_num FROM alembic_version"))
        if found == newest_revision():
            return
    from alembic import command  # noqa: PLC0415 - slow, and seldom needed
    from alembic.util import CommandError  # noqa: PLC0415

    config = alembic_config(url)
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Unavailable(
            f"The database has a schema that this version of Holdfast does not know: {error}",
            hint="run the version that wrote it, or restore a backup that is as old as this one",
        ) from error


def _set_pragmas(connection: DBAPIConnection, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.close()


def _limit_silence(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET idle_in_transaction_session_timeout = {LONGEST_SILENCE_MS}")
    cursor.close()
    connection.commit()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

"""What every test may ask for, and a run that leaves no process behind."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from argon2 import PasswordHasher
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from holdfast.kernel import collector, ports
from holdfast.kernel.db import Database
from holdfast.kernel.identity import passwords
from tests.servers import postgres
from tests.servers.leaks import left_behind

TOGETHER = ("tests/console/", "tests/journeys/")
"""They share a browser and a fleet; or each keeps the machine busy, and two at once too busy."""
APART = ("tests/test_schemathesis.py", "tests/migrations/", "tests/test_docs.py")
"""Long tests that share nothing: each goes to any worker."""
LONGEST_FIRST = (*TOGETHER, *APART)
"""What is long begins early, or the run ends with one worker at work."""
structlog.configure(
    processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
)  # by default a traceback is drawn with all local variables, which takes ten seconds
collector.begin()
LAST_LOOK_SECONDS = 5.0
DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.real)]


class Grouped(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file's tests go to one worker, as they share what the file sets up."""

    def _split_scope(self, nodeid: str) -> str:
        for folder in TOGETHER:
            if nodeid.startswith(folder):
                return folder
        return nodeid if nodeid.startswith(APART) else nodeid.partition("::")[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_turn), last=False)
        super()._assign_work_unit(node)


def _turn(scope: str) -> int:
    starts = (turn for turn, start in enumerate(LONGEST_FIRST) if scope.startswith(start))
    return next(starts, len(LONGEST_FIRST))


def pytest_collection_finish() -> None:
    """What was imported and collected stays: cycles are looked for in what the tests make."""
    collector.keep_what_is_built()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Grouped:
    """How the run is shared among its workers."""
    return Grouped(config, log)


@pytest.fixture(scope="session", autouse=True)
def no_process_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the run when a test's child outlives it. Made first, so it looks last."""
    yield
    leaked = left_behind(tmp_path_factory.getbasetemp())
    assert not leaked, "left behind:\n" + "\n".join(leaked)


@pytest.fixture
def free_port() -> int:
    """A loopback port for one program."""
    return ports.free_port()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """One PostgreSQL server for the run, with a template database that has our schema."""
    with postgres.running_cluster() as cluster:
        with cluster.admin() as connection:
            connection.execute(f"CREATE DATABASE {postgres.TEMPLATE}")
        _upgrade(cluster.url(postgres.TEMPLATE))
        yield cluster


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file that has our schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "holdfast.db"
    _upgrade(f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with our schema: on SQLite, and (marked real) on PostgreSQL."""
    if request.param == "sqlite":
        path = tmp_path / "holdfast.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite+aiosqlite:///{path}"
    else:
        cluster: postgres.Cluster = request.getfixturevalue("postgres_cluster")
        with cluster.lent() as url:
            yield url


@pytest.fixture(params=DATABASES)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a table: on SQLite, and (marked real) on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    else:
        cluster: postgres.Cluster = request.getfixturevalue("postgres_cluster")
        url = cluster.create("template0")
        yield url
        cluster.drop(url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """``database_url``, opened."""
    opened = Database(database_url)
    yield opened
    # A hub nobody listens to ends by itself; ended in a query it would leave a connection behind.
    looking = [task for task in asyncio.all_tasks() if task.get_name() == "event-hub"]
    if looking:
        await asyncio.wait(looking, timeout=LAST_LOOK_SECONDS)
    await opened.close()


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 with its smallest costs: a tenth of a second for each login adds up."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "UNMATCHED", hasher.hash("nobody's"))


def _upgrade(url: str) -> None:
    async def upgrade() -> None:
        database = Database(url)
        await database.upgrade()
        await database.close()

    asyncio.run(upgrade())

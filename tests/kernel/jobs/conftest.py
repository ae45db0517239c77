"""Parts for the tests of jobs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from tests.kernel.jobs import sample_jobs  # noqa: F401 - registers the jobs
from tests.kernel.jobs.harness import Evidence
from tests.servers import postgres


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path)


@pytest.fixture
def postgres_url(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """A fresh database of PostgreSQL, for what needs several workers."""
    url = postgres_cluster.create(postgres.TEMPLATE)
    yield url
    postgres_cluster.drop(url)


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    """``postgres_url``, opened."""
    opened = Database(postgres_url)
    yield opened
    await opened.close()

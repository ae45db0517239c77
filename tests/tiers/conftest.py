"""A tier whose store is a folder of this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tiers.trees import Tree, a_database, a_local_place, a_tree


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
async def tree(store: Path, sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Tree]:
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_tree(database, tmp_path, a_local_place(store)) as made,
    ):
        yield made

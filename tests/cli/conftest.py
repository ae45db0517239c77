"""Machines for commands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holdfast import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing runs yet."""
    return Machine(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine whose server runs for all tests of a module."""
    machine = Machine(tmp_path_factory.mktemp("served"))
    with machine.serving():
        yield machine

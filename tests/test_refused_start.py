"""A server that cannot start says why, and what to do, in two lines."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.servers.holdfast import Machine

pytestmark = pytest.mark.real


def test_a_start_that_is_refused_has_words_and_no_traceback(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.serving():
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "holdfast.sqlite")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    done = machine.run("serve")
    assert done.returncode == 1
    assert "has a schema that this version of Holdfast does not know" in done.stderr
    assert "hint: run the version that wrote it" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr

"""Stores on the command line: a secret is never an argument, and never shown."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.holdfast import Machine

pytestmark = pytest.mark.real

SECRET = "a-secret-from-stdin"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("served"))
    with machine.serving("--no-worker"):
        yield machine


def ok(machine: Machine, *words: str, stdin: str = "") -> Any:
    done = machine.run("store", *words, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def test_a_store_lives_and_dies_by_its_name(served: Machine, tmp_path: Path) -> None:
    made = ok(served, "create", "disk", "--kind", "local", "--root", str(tmp_path))
    assert ok(served, "show", "disk") == ok(served, "show", str(made["id"]))
    assert ok(served, "check", "disk")["empty"] is True
    ok(served, "update", "disk", "--name", "attic", "--description", "below the roof")
    assert [row["name"] for row in ok(served, "list", "--search", "att")] == ["attic"]
    assert served.run("store", "delete", "attic", "--yes").returncode == 0
    assert served.run("store", "show", "attic").returncode == 4


def test_a_secret_comes_from_stdin_and_files_by_their_name(served: Machine, tmp_path: Path) -> None:
    (tmp_path / "region").write_text("de-1")
    words = ["--kind", "s3", "--root", "archive", "--set", "endpoint=http://127.0.0.1:9"]
    words += ["--set", "access_key_id=AKIA12345678", "--secret", "secret_access_key"]
    made = ok(served, "create", "cold", *words, f"--set=region=@{tmp_path}/region", stdin=SECRET)
    assert made["options"] == {
        "access_key_id": "AKIA********",
        "endpoint": "http://127.0.0.1:9",
        "provider": "Other",
        "region": "de-1",
        "secret_access_key": "****",
    }
    refused = served.run("store", "check", "cold")
    assert refused.returncode == 1
    audit = served.run("audit", "list", "--json")
    assert SECRET not in audit.stdout + refused.stdout + refused.stderr
    wrong = served.run("store", "update", "cold", "--set", SECRET)
    assert (wrong.returncode, SECRET in wrong.stderr) == (2, False)


def test_a_host_that_is_silent_is_warned_of(served: Machine) -> None:
    words = ["--kind", "sftp", "--set", "host=127.0.0.1", "--set", "port=9", "--set", "user=u"]
    done = served.run("store", "create", "host", *words, "--secret", "pass", stdin=SECRET)
    assert done.returncode == 0, done.stderr
    assert "holdfast store check host" in done.stderr
    keys = served.run("store", "host-key", "host")
    assert (keys.returncode, "no SSH host key" in keys.stderr) == (1, True)
    assert served.run("store", "trust", "host", "SHA256:x").returncode == 1

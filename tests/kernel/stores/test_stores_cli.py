"""Stores on the command line: a secret is never an argument, and never shown."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast import cli
from tests.servers.holdfast import API_KEY, Machine

pytestmark = pytest.mark.real

SECRET = "a-secret-from-stdin"


@dataclass
class Ran:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> Any:
        """What it gave, when it went well."""
        assert self.status == 0, self.err
        return json.loads(self.out) if self.out else None


Command = Callable[..., Ran]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("served"))
    with machine.serving("--no-worker"):
        yield machine


@pytest.fixture
def store(
    served: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command in this process, which saves its start; the server is one of its own."""
    monkeypatch.setenv("HOLDFAST_URL", served.url)
    monkeypatch.setenv("HOLDFAST_TOKEN", API_KEY)

    def run(*words: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        status = cli.run(["store", *words, "--json"])
        return Ran(status, *capsys.readouterr())

    return run


def test_a_store_lives_and_dies_by_its_name(store: Command, tmp_path: Path) -> None:
    made = store("create", "disk", "--kind", "local", "--root", str(tmp_path)).result
    assert store("show", "disk").result == store("show", str(made["id"])).result
    assert store("check", "disk").result["empty"] is True
    _ = store("update", "disk", "--name", "attic", "--description", "below the roof").result
    assert [row["name"] for row in store("list", "--search", "att").result] == ["attic"]
    assert store("delete", "attic", "--yes").status == 0
    assert store("show", "attic").status == 4


def test_a_secret_comes_from_stdin_and_a_long_value_from_a_file(
    store: Command, tmp_path: Path
) -> None:
    (tmp_path / "region").write_text("de-1")
    words = ["--kind", "s3", "--root", "archive", "--set", "endpoint=http://127.0.0.1:9"]
    words += ["--set", "access_key_id=AKIA12345678", "--secret", "secret_access_key"]
    made = store("create", "cold", *words, f"--set=region=@{tmp_path}/region", stdin=SECRET)
    assert made.result["options"] == {
        "access_key_id": "AKIA********",
        "endpoint": "http://127.0.0.1:9",
        "provider": "Other",
        "region": "de-1",
        "secret_access_key": "****",
    }
    refused = store("check", "cold")
    assert (refused.status, SECRET in refused.out + refused.err) == (1, False)
    wrong = store("update", "cold", "--set", SECRET)
    assert (wrong.status, SECRET in wrong.err) == (2, False)


def test_a_host_that_is_silent_is_warned_of(store: Command) -> None:
    words = ["--kind", "sftp", "--set", "host=127.0.0.1", "--set", "port=9", "--set", "user=u"]
    made = store("create", "host", *words, "--secret", "pass", stdin=SECRET)
    assert made.result["host_keys"] == []
    assert "holdfast store check host" in made.err
    keys = store("host-key", "host")
    assert (keys.status, "no SSH host key" in keys.err) == (1, True)
    assert store("trust", "host", "SHA256:x").status == 1

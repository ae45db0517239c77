"""Schemathesis sends what the schema allows, and what it does not: never an internal error."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.holdfast import API_KEY, Machine

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("schemathesis")]

PROGRAM = Path(sys.executable).parent / "schemathesis"
EXAMPLES = 12
BUDGET_SECONDS = 100
LIMIT_SECONDS = 240
LEFT_OUT = (
    "^/api/events$",  # a stream without an end
    "^/api/config/settings",  # restarts the server, and changes what it would read then
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    started = Machine(tmp_path_factory.mktemp("fuzzed"))
    with started.serving("--no-worker"):
        yield started


@pytest.mark.timeout(LIMIT_SECONDS + 20)
def test_no_call_ends_in_an_internal_error(machine: Machine) -> None:
    left_out = [word for path in LEFT_OUT for word in ("--exclude-path-regex", path)]
    done = subprocess.run(
        [
            PROGRAM,
            "run",
            f"{machine.url}/api/openapi.json",
            "--header",
            f"Authorization: Bearer {API_KEY}",
            "--checks",
            "not_a_server_error",
            "--max-examples",
            str(EXAMPLES),
            "--phases",
            "coverage,fuzzing",
            "--max-time",
            str(BUDGET_SECONDS),
            "--mode",
            "all",
            "--seed",
            "1",
            "--no-color",
            "--request-timeout",
            "30",
            *left_out,
        ],
        cwd=machine.directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    log = (machine.directory / "out").read_text()
    assert "unexpected failure" not in log, log[-5000:]
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]

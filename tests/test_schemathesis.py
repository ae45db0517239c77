"""Schemathesis sends what the schema allows, and what it does not: never an internal error."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from holdfast.kernel.ports import free_port
from tests.servers.holdfast import API_KEY, Machine
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, nanio_server

pytestmark = pytest.mark.real

PROGRAM = Path(sys.executable).parent / "schemathesis"
BUDGET_SECONDS = 30
LIMIT_SECONDS = 240
LEFT_OUT = (
    "^/api/events$",  # a stream without an end
    "^/api/config/settings",  # restarts the server, and changes what it would read then
    "^/api/doctor$",  # takes nothing but time
)
EXPECTED = '[checks]\nnot_a_server_error.expected-statuses = ["2xx", "4xx", 502, 503]\n'
"""A pool of made-up addresses is a bad gateway, and a program that does not run is unavailable."""
KNOWN = """
[parameters]
"path.pool_id" = 1
"path.member_id" = 1
"path.vhost_id" = 1
"path.route_id" = 2
"path.bucket" = "photos"
[[operations]]
include-method = "DELETE"
parameters = { "path.pool_id" = 2, "path.member_id" = 2, "path.vhost_id" = 2, "path.route_id" = 4 }
"""
"""Things that are there, so that calls get past the look-up; others may be deleted."""


def send(machine: Machine, config: str, *, phase: str, examples: int) -> str:
    """Run it against a server; what it says when the server failed, else nothing."""
    file = machine.directory / "schemathesis.toml"
    file.write_text(EXPECTED + config)
    left_out = ["--exclude-path-regex", "|".join(LEFT_OUT)]
    words = [str(PROGRAM), "--config-file", str(file), "run", f"{machine.url}/api/openapi.json"]
    words += ["--header", f"Authorization: Bearer {API_KEY}", "--request-timeout", "30"]
    words += ["--checks", "not_a_server_error", "--phases", phase, "--mode", "all"]
    words += ["--max-examples", str(examples), "--max-time", str(BUDGET_SECONDS)]
    words += ["--seed", "1", "--no-color", "--warnings", "off", *left_out]
    done = subprocess.run(
        words,
        cwd=machine.directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    log = (machine.directory / "out").read_text()
    if done.returncode == 0 and "unexpected failure" not in log:
        assert "Tested:" in done.stdout
        return ""
    return f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}\n{log[-8000:]}"


def furnish(machine: Machine, address: str) -> None:
    """Pools, vhosts and routes with the ids that `KNOWN` names."""
    with httpx.Client(base_url=machine.url, headers={"X-Orchestrator-Key": API_KEY}) as client:

        def post(path: str, **body: object) -> None:
            client.post(f"/api/{path}", json=body).raise_for_status()

        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        for number in (1, 2):
            post("pools", name=f"pool-{number}")
            post(f"pools/{number}/members", address=address)
            client.put(f"/api/pools/{number}/credentials", json=keys).raise_for_status()
        for number in (1, 2):
            fields = {"listen_port": free_port(), "ssl": False, "default_pool_id": number}
            post("vhosts", server_name=f"s{number}.example.org", **fields)
            post(f"vhosts/{number}/routes", path_prefix="/photos/", pool_id=1)


@pytest.mark.timeout(LIMIT_SECONDS + 60)
def test_no_call_to_an_empty_server_ends_in_an_internal_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with machine.serving("--no-worker"):
        said = send(machine, "", phase="coverage", examples=1)
    if said:
        pytest.fail(said, pytrace=False)


@pytest.mark.timeout(LIMIT_SECONDS + 60)
async def test_no_call_about_things_that_are_there_ends_in_an_internal_error(
    tmp_path: Path,
) -> None:
    machine = Machine(tmp_path / "holdfast")
    machine.directory.mkdir()
    async with nanio_server(tmp_path / "s3") as server:
        async with server.client() as client:
            await client.create_bucket("photos")
        with machine.serving("--no-worker"):
            await asyncio.to_thread(furnish, machine, server.address)
            said = await asyncio.to_thread(send, machine, KNOWN, phase="fuzzing", examples=15)
    if said:
        pytest.fail(said, pytrace=False)

"""A worker that was killed goes on with its moves as soon as it is back."""

import sys
import time

import pytest

from holdfast.demo.fleet import Program
from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
QUICK_SECONDS = 20.0
"""The start of a settled move takes half of it on a busy machine."""


async def with_a_worker_of_its_own(site: Site) -> Program:
    """The server runs no jobs any more; a process beside it does."""
    server = site.fleet.programs["holdfast"]
    await server.stop()
    server.argv = [*server.argv, "--no-worker"]
    await server.start()

    async def has_started() -> bool:
        return True

    words, log = [sys.executable, "-m", "holdfast", "worker"], site.fleet.directory / "worker.log"
    worker = Program("worker", words, server.environment, has_started, log)
    site.fleet.programs["worker"] = worker
    await worker.start()
    return worker


async def test_a_move_goes_on_soon_after_its_worker_was_killed(site: Site) -> None:
    await site.fill("resumed", objects=12, size=1000)
    worker = await with_a_worker_of_its_own(site)
    answer = await site.post("resumed", bandwidth_limit="1000", transfers=1)
    identifier = answer.json()["id"]
    await site.until(identifier, lambda found: found["objects_done"] >= 1)
    await worker.kill()
    await worker.start()
    started = time.monotonic()

    def copies(lines: list[dict[str, str]]) -> int:
        return sum(line["message"] == "copying" for line in lines)

    path = f"/api/migrations/{identifier}/log?limit=1000"
    while copies((await site.api.get(path)).json()) < 2:
        assert time.monotonic() - started < QUICK_SECONDS, (await site.api.get(path)).text
    assert (await site.wait(identifier))["phase"] == "done"

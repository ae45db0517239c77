"""A server that was killed goes on with its moves as soon as it is back."""

import time

import pytest

from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
QUICK_SECONDS = 20.0
"""The start of a settled move takes half of it on a busy machine."""


async def test_a_move_goes_on_soon_after_its_server_was_killed(site: Site) -> None:
    await site.fill("resumed", objects=12, size=1000)
    answer = await site.post("resumed", bandwidth_limit="1000", transfers=1)
    identifier = answer.json()["id"]
    await site.until(identifier, lambda found: found["objects_done"] >= 1)
    server = site.fleet.programs["holdfast"]
    await server.kill()
    await server.start()
    ready = time.monotonic()

    def copies(lines: list[dict[str, str]]) -> int:
        return sum(line["message"] == "copying" for line in lines)

    path = f"/api/migrations/{identifier}/log?limit=1000"
    while copies((await site.api.get(path)).json()) < 2:
        assert time.monotonic() - ready < QUICK_SECONDS, (await site.api.get(path)).text
    assert (await site.wait(identifier))["phase"] == "done"

"""The main job: a bucket moves under load, whatever breaks meanwhile."""

import asyncio
from pathlib import Path

import pytest

from holdfast.demo.fleet import BUCKET, NEW, OLD
from holdfast.demo.history import Fault
from tests.journeys.stage import SLOWLY, Stage, as_sdks_do, faults, judged, staged

pytestmark = pytest.mark.real
AS_SDKS_DO = as_sdks_do()


async def test_no_client_sees_that_a_bucket_moves(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:

        async def move() -> None:
            moved = await stage.wait_over(await stage.start_move())
            assert moved["phase"] == "done", await stage.log(moved["id"])
            assert moved["objects_done"] >= len(stage.expected)
            assert moved["orphaned_source_pool_id"] == stage.pools[OLD]
            assert await stage.flag() == f"static.{NEW}"

        tally = await judged(stage, move)
        assert faults(tally) == {}
        assert tally.requests["complete upload"] > 0
        assert stage.expected.items() <= (await stage.objects(OLD)).items()


@pytest.mark.parametrize("phase", ["pending", "copying", "verifying", "switching"])
async def test_a_killed_server_goes_on_by_itself_and_no_client_notices(
    tmp_path: Path, phase: str
) -> None:
    async with staged(tmp_path) as stage:

        async def kill_and_restart() -> None:
            slow = SLOWLY if phase == "copying" else {}
            identifier = await stage.start_move(**slow)
            await stage.wait(identifier, lambda found: found["phase"] == phase)
            await stage.fleet.programs["holdfast"].kill()
            await asyncio.sleep(0.5)  # clients go on without it
            await stage.fleet.programs["holdfast"].start()
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)
            assert await stage.flag() == f"static.{NEW}"

        tally = await judged(stage, kill_and_restart, load=AS_SDKS_DO)
        assert faults(tally) == {}


async def test_a_server_killed_again_and_again_ends_with_everything_there(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:

        async def kill_often() -> None:
            identifier = await stage.start_move(**SLOWLY)
            for seconds in (0.4, 1.1, 0.2, 2.0):
                await asyncio.sleep(seconds)
                await stage.fleet.programs["holdfast"].kill()
                await stage.fleet.programs["holdfast"].start()
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)

        tally = await judged(stage, kill_often, load=AS_SDKS_DO)
        assert faults(tally) == {}


@pytest.mark.parametrize("pool", [OLD, NEW])
async def test_a_pool_that_dies_is_waited_for(tmp_path: Path, pool: str) -> None:
    """Clients of a dead source fail, as they would without us; nothing is lost for it."""
    async with staged(tmp_path) as stage:

        async def kill_pool() -> None:
            # Faster than the clients change what a full pass, begun anew, has to copy once more.
            identifier = await stage.start_move(**{**SLOWLY, "bandwidth_limit": "500K"})
            await stage.wait(identifier, lambda found: found["objects_done"] > 5)
            await stage.fleet.programs[pool].kill()
            await asyncio.sleep(2)
            assert (await stage.migration(identifier))["phase"] not in {"done", "error"}
            # nanio 0.1.7 refuses for ever an object whose note it was writing when it was killed.
            for left in (stage.fleet.directory / pool).rglob(".nanio-meta/**/*.tmp"):
                left.unlink()
            await stage.fleet.programs[pool].start()
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)

        tally = await judged(stage, kill_pool)
        excused = frozenset({Fault.FAILED}) if pool == OLD else frozenset[Fault]()
        assert faults(tally, but=excused) == {}


@pytest.mark.parametrize("phase", ["copying", "switching"])
async def test_a_killed_gateway_loses_requests_but_no_data(tmp_path: Path, phase: str) -> None:
    async with staged(tmp_path) as stage:

        async def kill_nginx() -> None:
            identifier = await stage.start_move(**(SLOWLY if phase == "copying" else {}))
            await stage.wait(identifier, lambda found: found["phase"] == phase)
            await stage.fleet.programs["nginx"].kill()
            await asyncio.sleep(1)
            await stage.fleet.programs["nginx"].start()
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)

        tally = await judged(stage, kill_nginx)
        assert faults(tally, but=frozenset({Fault.FAILED})) == {}


async def test_a_cancelled_move_leaves_the_source_serving(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:

        async def cancel() -> None:
            identifier = await stage.start_move(**SLOWLY)
            await stage.wait(identifier, lambda found: found["objects_done"] > 5)
            answer = await stage.api.post(f"/api/migrations/{identifier}/cancel")
            assert answer.json()["ok"], answer.text
            ended = await stage.wait_over(identifier)
            assert ended["phase"] == "cancelled"
            assert await stage.flag() == f"static.{OLD}"

        tally = await judged(stage, cancel)
        assert faults(tally) == {}


async def test_a_cancelled_move_can_be_made_again_and_then_back(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:

        async def to_and_fro() -> None:
            first = await stage.start_move(**SLOWLY)
            await stage.wait(first, lambda found: found["objects_done"] > 5)
            await stage.api.post(f"/api/migrations/{first}/cancel")
            await stage.wait_over(first)
            await _moved(stage, confirm=BUCKET)
            back = {"src_pool_id": stage.pools[NEW], "dst_pool_id": stage.pools[OLD]}
            await _moved(stage, mode="sync", confirm=BUCKET, **back)
            assert await stage.flag() == f"static.{OLD}"

        tally = await judged(stage, to_and_fro)
        assert faults(tally) == {}


async def _moved(stage: Stage, **options: object) -> None:
    identifier = await stage.start_move(**options)
    moved = await stage.wait_over(identifier)
    assert moved["phase"] == "done", await stage.log(identifier)

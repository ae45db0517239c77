"""A database that is lost in the middle of a move, or another kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.records import assert_moved, rebuild
from tests.journeys.stage import SLOWLY, as_sdks_do, faults, judged, staged
from tests.servers.postgres import Cluster

pytestmark = pytest.mark.real


@pytest.fixture
def empty_postgres(postgres_cluster: Cluster) -> Iterator[str]:
    url = postgres_cluster.create()
    yield url
    postgres_cluster.drop(url)


@pytest.mark.parametrize("state", ["src", "hold", "dst"])
async def test_a_killed_server_on_postgresql_goes_on(
    tmp_path: Path, empty_postgres: str, state: str
) -> None:
    async with staged(tmp_path, settings={"HOLDFAST_DATABASE_URL": empty_postgres}) as stage:

        async def kill_and_restart() -> None:
            slow = SLOWLY if state == "src" else {}
            identifier = await stage.start_move(**slow)
            await stage.until_flag(state)
            await stage.fleet.programs["holdfast"].kill()
            await stage.fleet.programs["holdfast"].start()
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)
            await assert_moved(stage, identifier)

        tally = await judged(stage, kill_and_restart, load=as_sdks_do())
        assert faults(tally) == {}


@pytest.mark.parametrize("state", ["src", "hold", "dst"])
@pytest.mark.parametrize("lost", ["holdfast", "jobs"])
async def test_a_database_that_is_lost_is_made_anew_and_the_move_goes_on(
    tmp_path: Path, lost: str, state: str
) -> None:
    async with staged(tmp_path) as stage:

        async def lose_and_rebuild() -> None:
            slow = SLOWLY if state == "src" else {"probation_seconds": 5}
            identifier = await stage.start_move(**slow)
            await stage.until_flag(state)
            await stage.fleet.programs["holdfast"].kill()
            for path in (stage.fleet.directory / "holdfast").glob(f"{lost}.sqlite*"):
                path.unlink()
            await stage.fleet.programs["holdfast"].start()
            if lost == "holdfast":
                await rebuild(stage)
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)
            await assert_moved(stage, identifier)

        tally = await judged(stage, lose_and_rebuild, load=as_sdks_do())
        assert faults(tally) == {}

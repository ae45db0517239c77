"""A disk that fills up during a move, and is given room again."""

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.demo.fleet import NEW
from tests.journeys.stage import SLOWLY, as_sdks_do, faults, judged, staged
from tests.servers.disks import fill, small_disk

pytestmark = pytest.mark.real
FULL_SECONDS = 3.0


@pytest.mark.parametrize(
    ("disk", "state"),
    [("nginx", "src"), ("nginx", "hold"), ("holdfast", "src"), ("holdfast", "hold")],
)
async def test_a_full_disk_is_waited_for(tmp_path: Path, disk: str, state: str) -> None:
    """``nginx``: dirty log, flags and generations. ``holdfast``: the database and the records."""
    folder = tmp_path / "fleet" / disk
    with small_disk(folder, size_mib=96):
        async with staged(tmp_path / "fleet") as stage:

            async def fill_for_a_while() -> None:
                slow = SLOWLY if state == "src" else {}
                identifier = await stage.start_move(**slow)
                await stage.until_flag(state)
                make_room = await asyncio.to_thread(fill, folder)
                assert os.statvfs(folder).f_bavail == 0
                await asyncio.sleep(FULL_SECONDS)  # clients go on meanwhile
                await asyncio.to_thread(make_room)
                moved = await stage.wait_over(identifier)
                assert moved["phase"] == "done", await stage.log(identifier)
                assert await stage.flag() == f"static.{NEW}"

            tally = await judged(stage, fill_for_a_while, load=as_sdks_do())
            assert faults(tally) == {}

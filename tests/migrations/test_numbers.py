"""A record on disk is kept for ever: no later migration gets its number."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete

import holdfast.migrations.service
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.work import SYSTEM
from holdfast.migrations import files
from holdfast.migrations.tables import MigrationRow
from tests.gateway.room import Room, open_room

pytestmark = pytest.mark.real


@pytest.fixture
async def room(database_url: str, tmp_path: Path) -> AsyncIterator[Room]:
    async with open_room(database_url, tmp_path, running=False, migration_max_parallel=9) as room:
        holdfast.migrations.service.build_migrations(room.services)
        old, new = await room.pool("old", "127.0.0.1:1"), await room.pool("new", "127.0.0.1:2")
        assert (old, new, await room.vhost(old)) == (1, 2, 1)
        yield room


async def begun(room: Room, bucket: str) -> int:
    """The number of a new move."""
    port = room.gateway.ports.migrations
    assert port is not None
    async with room.services.database.write(SYSTEM) as work:
        vhost = await work.session.get_one(VhostRow, 1)
        old, new = [await work.session.get_one(PoolRow, number) for number in (1, 2)]
        return await port.start(work, vhost=vhost, bucket=bucket, source=old, destination=new)


async def test_the_number_of_a_row_that_went_with_its_pool_is_not_given_again(room: Room) -> None:
    data_dir = room.services.settings.data_dir
    assert [await begun(room, "one"), await begun(room, "two")] == [1, 2]
    files.write_record(files.done_path(data_dir, 2), {"bucket": "two"})
    async with room.services.database.write(SYSTEM) as work:
        await work.session.execute(delete(MigrationRow).where(MigrationRow.id == 2))
    assert [await begun(room, "three"), await begun(room, "four")] == [3, 4]


async def test_numbers_go_on_above_records_without_a_row(room: Room) -> None:
    data_dir = room.services.settings.data_dir
    files.write_record(files.state_path(data_dir, 7), {"bucket": "old"})
    (data_dir / files.FOLDER / "migration-x.notes").touch()
    assert [await begun(room, "one"), await begun(room, "two")] == [8, 9]

"""What is done to the files is told as an event, so that pages that are open do not stand still."""

import pytest
from sqlalchemy import select

from holdfast.kernel.events import EventRow
from tests.gateway.room import Room

pytestmark = pytest.mark.real


async def told(room: Room) -> list[str]:
    async with room.services.database.read() as session:
        return list(await session.scalars(select(EventRow.kind).order_by(EventRow.id)))


def edit(room: Room) -> None:
    """Change the pool's file behind Holdfast's back."""
    path = room.gateway.generations.live / "pools/one.conf"
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace("max_fails=3", "max_fails=7"))


async def test_each_change_of_the_files_is_told(quick_room: Room) -> None:
    room = quick_room
    await room.pool("one", "127.0.0.1:9")
    await room.ok("POST", "/config/reload")
    assert (await told(room))[-1] == "config.reloaded"
    edit(room)
    await room.call("POST", "/config/absorb-file", {"path": "pools/one.conf"})
    assert (await told(room))[-1] == "config.absorbed"
    edit(room)
    await room.call("POST", "/config/rewrite-file", {"path": "pools/one.conf"})
    assert (await told(room))[-1] == "config.restored"
    await room.ok("POST", "/config/rebuild")
    assert (await told(room))[-1] == "config.rebuilt"
    await room.ok("POST", "/config/sync")
    assert (await told(room))[-1] == "config.synced"


async def test_a_rehearsal_tells_nothing(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9")
    before = await told(quick_room)
    await quick_room.ok("POST", "/config/rebuild?dry_run=true")
    await quick_room.ok("POST", "/config/sync?dry_run=true")
    assert await told(quick_room) == before

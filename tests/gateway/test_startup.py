"""Starting where the nginx folder was lost."""

import shutil

import pytest

from holdfast.gateway.startup import StartupDifferences, start
from tests.gateway.room import Room

pytestmark = pytest.mark.real


async def test_a_lost_nginx_folder_does_not_empty_the_database(
    quick_room: Room, echo_one: str
) -> None:
    room = quick_room
    pool = await room.pool("one", echo_one)
    vhost = await room.vhost(pool)
    await room.route(vhost, "/photos/", pool)
    shutil.rmtree(room.root)
    await start(room.services)
    assert [p["name"] for p in await room.ok("GET", "/pools")] == ["one"]
    routes = await room.ok("GET", f"/vhosts/{vhost}/routes")
    assert {route["path_prefix"] for route in routes} == {"/photos/", "/"}
    assert "config rebuild" in room.services.get(StartupDifferences).texts[0]


async def test_after_a_lost_folder_a_rebuild_writes_everything_from_the_database(
    quick_room: Room, echo_one: str
) -> None:
    room = quick_room
    pool = await room.pool("one", echo_one)
    vhost = await room.vhost(pool)
    await room.route(vhost, "/photos/", pool)
    before = room.live("pools/one.conf")
    port = (room.root / "control.json").read_bytes()
    shutil.rmtree(room.root)
    await start(room.services)
    (room.root / "control.json").write_bytes(port)
    await room.ok("POST", "/config/rebuild")
    assert room.flags() == {"s3.local/photos": "one"}
    assert room.live("pools/one.conf") == before

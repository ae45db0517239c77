"""Starting where the nginx folder was lost."""

import shutil
from pathlib import Path

import pytest

from holdfast.gateway.context import Gateway
from holdfast.gateway.model import PoolDraft
from holdfast.gateway.service.pools import create_pool
from holdfast.gateway.startup import StartupDifferences, start
from holdfast.kernel.errors import Conflict
from holdfast.kernel.work import SYSTEM
from tests.gateway.room import Room, build_services, rows_digest

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


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_worker_with_a_folder_of_its_own_leaves_the_gateways_state_alone(
    quick_room: Room, echo_one: str, tmp_path: Path, *, is_first: bool
) -> None:
    room = quick_room
    worker = build_services(str(room.services.database.engine.url), tmp_path / "w", ["nginx"])
    if is_first:
        await start(worker)
    pool = await room.pool("one", echo_one)
    vhost = await room.vhost(pool)
    before = await rows_digest(room.services.database)
    await start(worker)
    assert await rows_digest(room.services.database) == before
    await room.route(vhost, "/photos/", pool)
    await room.ok("PUT", f"/pools/{pool}", keepalive=7)
    before = await rows_digest(room.services.database)
    await start(worker)  # the gateway has gone on meanwhile: the empty folder is not taken over
    assert await rows_digest(room.services.database) == before
    with pytest.raises(Conflict, match="nothing was changed"):
        async with worker.database.write(SYSTEM) as work:
            await create_pool(work, worker.get(Gateway), PoolDraft(name="two"))
    assert await rows_digest(room.services.database) == before
    await worker.database.close()


async def test_where_the_folder_was_lost_only_a_rebuild_writes(
    quick_room: Room, echo_one: str
) -> None:
    room = quick_room
    pool = await room.pool("one", echo_one)
    await room.vhost(pool)
    port = (room.root / "control.json").read_bytes()
    shutil.rmtree(room.root)
    for _ in range(2):
        await start(room.services)
    (room.root / "control.json").write_bytes(port)
    refused = await room.call("PUT", f"/pools/{pool}", {"keepalive": 7})
    assert refused.status_code == 409
    assert "config rebuild" in refused.json()["hint"]
    assert (await room.call("POST", "/config/reload")).status_code == 409
    await room.ok("POST", "/config/rebuild")
    await room.ok("PUT", f"/pools/{pool}", keepalive=7)
    assert "keepalive 7;" in (room.live("pools/one.conf") or "")

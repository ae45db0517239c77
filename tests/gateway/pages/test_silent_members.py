"""Members that do not answer: found by the timer's round, told once, named where it helps."""

import asyncio

import pytest
from sqlalchemy import select

from holdfast.gateway.pages.pool_parts import _needs
from holdfast.gateway.service import silence
from holdfast.kernel.events import EventRow
from holdfast.kernel.ports import free_port
from holdfast.kernel.web.console.registry import Need
from tests.gateway.pages.web import Web, column, words
from tests.gateway.room import Room

pytestmark = pytest.mark.real


async def told(room: Room) -> list[str]:
    async with room.services.database.read() as session:
        query = select(EventRow.data).where(EventRow.kind == "members.reached")
        return list(await session.scalars(query.order_by(EventRow.id)))


async def needs(room: Room) -> list[Need]:
    async with room.services.database.read() as session:
        return list(await _needs(room.services, session))


async def test_a_member_that_goes_and_comes_back_is_named_until_it_is_back(
    web: Web, quick_room: Room
) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    here, gone = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
    await quick_room.pool("one", here, gone)
    await silence.watch(quick_room.services)
    (need,) = await needs(quick_room)
    assert need.title == f"Pool one: {gone} does not answer"
    assert need.level == "warn"
    assert need.detail.endswith("1 other gets the requests.")
    assert "1 silent" in column(await web.get("/web/pools"), 3)[0]
    shown = words(await web.get("/web/pools/1", who="viewer"))
    assert "does not answer Connection refused, since" in shown

    server.close()
    await server.wait_closed()
    await silence.watch(quick_room.services)
    (need,) = await needs(quick_room)
    assert need.level == "warn"
    assert need.detail.endswith("no vhost uses the pool.")
    await quick_room.vhost(1)
    (need,) = await needs(quick_room)
    assert need.level == "bad"
    assert (need.href, need.action) == ("/web/pools/1?check=true#members", "Open the pool")

    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    await silence.watch(quick_room.services)
    assert [need.level for need in await needs(quick_room)] == ["warn"]
    server.close()
    assert len(await told(quick_room)) == 3


async def test_what_does_not_change_is_told_once(quick_room: Room) -> None:
    await quick_room.pool("one", f"127.0.0.1:{free_port()}")
    for _ in range(3):
        await silence.watch(quick_room.services)
    (data,) = await told(quick_room)
    assert '"count": 1' in data


async def test_a_disabled_or_removed_member_asks_for_nothing(web: Web, quick_room: Room) -> None:
    first, second = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    await quick_room.pool("one", first, second)
    await silence.watch(quick_room.services)
    await web.post("/web/pools/1/members/1/disable")
    await web.post("/web/pools/1/members/2/remove")
    assert not [need for need in await needs(quick_room) if "answer" in need.title]
    await silence.watch(quick_room.services)
    assert '"count": 0' in (await told(quick_room))[-1]

"""Changes that are collected for a later reload: no client goes astray meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partialmethod

import pytest

from holdfast.gateway.api.deps import WARNING_HEADER
from holdfast.gateway.service.routing import ensure_bucket_route
from holdfast.kernel.nginx import Nginx
from holdfast.kernel.nginx.master import children, find_master
from holdfast.kernel.work import SYSTEM
from tests.gateway.echo import echo_server
from tests.gateway.room import HOST, Json, Room

pytestmark = pytest.mark.real


async def later(room: Room, method: str, path: str, **body: Json) -> tuple[Json, str]:
    """A call that asks for no reload; its answer, and what it warns of."""
    answer = await room.call(method, path, body or None, reload="false")
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None, answer.headers.get(WARNING_HEADER, "")


async def waits(room: Room) -> bool:
    """Whether a change waits for a reload; whatever waits, nothing has drifted."""
    assert await room.ok("GET", "/config/drift") == []
    status = await room.ok("GET", "/config/status")
    return bool(status["reload_pending"])


async def serves(room: Room, pool: str, path: str = "/bkt/x", host: str = HOST) -> None:
    for method in ("GET", "PUT"):
        assert await room.asks(path, method=method, host=host) == f"{pool} {method} {path}"


@pytest.fixture
async def routed(quick_room: Room, echo_one: str, echo_two: str) -> tuple[Room, int, int]:
    """A vhost whose default pool is one, and a bucket that goes to two; vhost and pool two."""
    room = quick_room
    vhost_id = await room.vhost(await room.pool("one", echo_one))
    two = await room.pool("two", echo_two)
    await room.route(vhost_id, "/bkt/", two)
    return room, vhost_id, two


async def test_a_renamed_pool_goes_on_with_its_buckets(routed: tuple[Room, int, int]) -> None:
    room, _, two = routed
    _, warning = await later(room, "PUT", f"/pools/{two}", name="new.name")
    assert "reloaded" in warning
    await serves(room, "two")
    assert not await waits(room)
    assert (await room.ok("POST", "/config/reload"))["ok"] is True
    await serves(room, "two")


async def test_a_renamed_vhost_keeps_its_routes_by_either_name(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, _ = routed
    _, warning = await later(room, "PUT", f"/vhosts/{vhost_id}", server_name="new.local")
    assert "reloaded" in warning
    await serves(room, "two", host="new.local")
    assert not await waits(room)


async def test_a_deleted_vhost_sends_nothing_to_its_default_pool(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, _ = routed
    _, warning = await later(room, "DELETE", f"/vhosts/{vhost_id}")
    assert "reloaded" in warning
    with suppress(ConnectionError):
        assert "one PUT" not in await room.asks("/bkt/x", method="PUT")
    assert not await waits(room)


async def test_a_pool_that_waits_is_loaded_with_its_first_route(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, _ = routed
    async with echo_server("three") as address:
        three, _ = await later(room, "POST", "/pools", name="three")
        await later(room, "POST", f"/pools/{three['id']}/members", address=address)
        assert await waits(room)
        path = f"/vhosts/{vhost_id}/routes"
        body = {"path_prefix": "/new/", "pool_id": three["id"]}
        _, warning = await later(room, "POST", path, **body)
        assert "reloaded" in warning
        await serves(room, "three", "/new/x")
        await serves(room, "two")
        assert not await waits(room)


async def test_a_bucket_without_its_route_goes_to_the_default_pool_that_is_stored(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, two = routed
    await later(room, "PUT", f"/vhosts/{vhost_id}", default_pool_id=two)
    await serves(room, "one", "/other/x")
    assert await waits(room)
    (route,) = [
        r for r in await room.ok("GET", f"/vhosts/{vhost_id}/routes") if r["path_prefix"] == "/bkt/"
    ]
    await later(room, "DELETE", f"/vhosts/{vhost_id}/routes/{route['id']}")
    await serves(room, "two")
    assert not await waits(room)


async def test_a_route_alone_needs_no_reload_and_warns_of_none(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, two = routed
    before = room.gateway.generations.current()
    path = f"/vhosts/{vhost_id}/routes"
    assert (await later(room, "POST", path, path_prefix="/more/", pool_id=two))[1] == ""
    assert room.gateway.generations.current() == before
    await serves(room, "two", "/more/x")


async def test_what_waits_is_live_after_a_change_of_what_nginx_does_not_read(
    routed: tuple[Room, int, int], echo_one: str
) -> None:
    room, _, two = routed
    (member,) = await room.ok("GET", f"/pools/{two}/members")
    await later(room, "PUT", f"/pools/{two}/members/{member['id']}", address=echo_one)
    await serves(room, "two")
    assert await waits(room)
    await room.ok("PUT", f"/pools/{two}", description="a word for people")
    await serves(room, "one")
    assert not await waits(room)


async def test_no_flag_is_ahead_of_a_generation_that_nginx_cannot_load(
    routed: tuple[Room, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    room, vhost_id, two = routed
    monkeypatch.setattr(Nginx, "wait_loaded", partialmethod(Nginx.wait_loaded, timeout_seconds=0.5))
    async with echo_server("taken") as address:
        port = int(address.rpartition(":")[2])
    body = {"server_name": "other.local", "listen_port": port, "ssl": False}
    await later(room, "POST", "/vhosts", **body, default_pool_id=two)
    taken = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port)
    async with taken:
        flags = room.flags()
        body = {"path_prefix": "/new/", "pool_id": two}
        answer = await room.call("POST", f"/vhosts/{vhost_id}/routes", body)
        assert answer.status_code == 503
        assert "config reload" in answer.json()["hint"]
        assert room.flags() == flags
        await serves(room, "two")
        assert (await room.ok("GET", "/config/status"))["reload_pending"] is True


async def test_a_move_starts_with_nothing_that_waits(
    routed: tuple[Room, int, int], echo_one: str
) -> None:
    room, vhost_id, two = routed
    await later(room, "POST", "/pools", name="destination")
    assert await waits(room)
    async with room.services.database.write(SYSTEM) as work:
        gateway, vhosts = room.gateway, [vhost_id]
        await ensure_bucket_route(work, gateway, vhost_ids=vhosts, bucket="bkt", pool_id=two)
    assert not await waits(room)


@asynccontextmanager
async def asked_all_the_time(room: Room, *paths: str) -> AsyncIterator[set[str]]:
    """What clients get while the block runs, and once more when it has ended."""
    answers: set[str] = set()
    over = asyncio.Event()

    async def ask(path: str) -> None:
        while True:
            last = over.is_set()
            answers.add(await room.asks(path, method="PUT"))
            if last:
                return

    async with asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(ask(path))
        yield answers
        over.set()


async def test_no_request_fails_while_a_batch_routes_buckets_away_and_deletes_their_pool(
    routed: tuple[Room, int, int],
) -> None:
    room, vhost_id, two = routed
    await room.route(vhost_id, "/gone/", two)
    route = {"kind": "route", "vhost": HOST}
    operations: list[Json] = [
        {**route, "op": "delete", "route": "/gone"},
        {**route, "op": "update", "route": "/bkt", "pool": "one", "allow_orphan": True},
        {"op": "delete", "kind": "pool", "pool": "two"},
    ]
    async with asked_all_the_time(room, "/bkt/x", "/gone/x") as answers:
        answer = await room.call("POST", "/config/batch", {"operations": operations})
    assert answer.status_code == 200, answer.text
    expected = {f"{pool} PUT /{bucket}/x" for pool in ("one", "two") for bucket in ("bkt", "gone")}
    assert answers <= expected
    await serves(room, "one")


async def test_no_request_goes_astray_while_a_batch_merges_a_bucket_into_its_new_default_pool(
    routed: tuple[Room, int, int],
) -> None:
    room, _, _ = routed
    operations = [
        {"op": "update", "kind": "pool", "pool": "two", "name": "main"},
        {"op": "update", "kind": "pool", "pool": "main", "name": "main.new"},
        {"op": "update", "kind": "vhost", "vhost": HOST, "default_pool": "main.new"},
        {"op": "delete", "kind": "route", "vhost": HOST, "route": "/bkt"},
        {"op": "delete", "kind": "pool", "pool": "one"},
    ]
    async with asked_all_the_time(room, "/bkt/x") as answers:
        answer = await room.call("POST", "/config/batch", {"operations": operations})
    assert answer.status_code == 200, answer.text
    assert answers == {"two PUT /bkt/x"}


async def test_who_had_connected_before_goes_where_the_bucket_was_meanwhile_and_later(
    routed: tuple[Room, int, int],
) -> None:
    room, _, _ = routed
    operations = [
        {"op": "update", "kind": "vhost", "vhost": HOST, "default_pool": "two"},
        {"op": "delete", "kind": "route", "vhost": HOST, "route": "/bkt"},
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
    writer.write(f"PUT /bkt/x HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n".encode())
    await writer.drain()
    await serves(room, "two")  # so the worker has taken the other client, too

    async def ends_its_request() -> bytes:
        master = find_master(room.lab.prefix / "nginx.pid")
        async with asyncio.timeout(10):
            while not any("shutting down" in title for title in children(master or 0).values()):
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.2)  # the flag would be gone by now
        writer.write(b"Content-Length: 0\r\n\r\n")
        return await reader.read()

    batch = room.call("POST", "/config/batch", {"operations": operations})
    answer, told = await asyncio.gather(batch, ends_its_request())
    writer.close()
    assert answer.status_code == 200, answer.text
    assert told.endswith(b"two PUT /bkt/x"), told
    await serves(room, "two")


async def test_a_name_is_not_given_on_while_flags_still_mean_its_old_pool(
    routed: tuple[Room, int, int],
) -> None:
    room, _, _ = routed
    before = await room.everything()
    operations = [
        {"op": "update", "kind": "pool", "pool": "two", "name": "elder"},
        {"op": "create", "kind": "pool", "name": "two"},
    ]
    answer = await room.call("POST", "/config/batch", {"operations": operations})
    assert answer.status_code == 409, answer.text
    assert "two changes" in answer.json()["hint"]
    assert await room.everything() == before

"""A bucket that changes pools without a move: what is written meanwhile is never hidden."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from holdfast.gateway.flags import FlagState
from holdfast.gateway.service.moves import Look
from holdfast.gateway.startup import start
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.signing import Signer, quote_path
from holdfast.migrations.write_hold import WriteHold
from tests.gateway.room import HOST
from tests.gateway.scene import Scene, fill, keys
from tests.kernel.nginx.lab import until
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.real


def client(scene: Scene) -> S3Client:
    """A client of nginx."""
    return S3Client(f"http://127.0.0.1:{scene.room.port}", ACCESS_KEY, SECRET_KEY)


async def slow_put(scene: Scene, key: str, begun: asyncio.Event, go_on: asyncio.Event) -> int:
    """A PUT whose last byte waits."""
    host = f"127.0.0.1:{scene.room.port}"
    signer, path = Signer(ACCESS_KEY, SECRET_KEY, "us-east-1", host), quote_path("full", key)
    headers = signer.headers("PUT", path, "", {"content-length": "2"})

    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        begun.set()
        await go_on.wait()
        yield b"b"

    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.put(f"http://{host}{path}", data=chunks(), headers=headers) as answer,
    ):
        return answer.status


@pytest.fixture
async def moved(quick_scene: Scene) -> Scene:
    """A bucket with objects on the default pool, routed to a pool where it is empty."""
    scene = quick_scene
    await fill(scene.old_server, "full")
    await scene.call("POST", "/buckets/full/promote", {"pool_id": scene.new, "allow_orphan": True})
    return scene


def after_look(
    monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], Awaitable[object]]
) -> None:
    """Do it right after the look with this number."""
    real, looks = Look.has_something, []

    async def look(self: Look) -> bool:
        looks.append(await real(self))
        if len(looks) == number:
            await action()
        return looks[-1]

    monkeypatch.setattr(Look, "has_something", look)


async def change_route(scene: Scene) -> tuple[int, str]:
    path = f"/vhosts/{scene.vhost}/routes"
    (route,) = [r for r in await scene.room.ok("GET", path) if r["path_prefix"] == "/full/"]
    answer = await scene.room.call("PUT", f"{path}/{route['id']}", {"pool_id": scene.old})
    return answer.status_code, answer.text


async def migrate(scene: Scene) -> tuple[int, str]:
    path = f"/vhosts/{scene.vhost}/buckets/full/migrate"
    answer = await scene.room.call("POST", path)
    return answer.status_code, answer.text


CALLS = pytest.mark.parametrize("call", [change_route, migrate])


@CALLS
async def test_what_was_written_since_the_look_stops_the_change(
    moved: Scene,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Scene], Awaitable[tuple[int, str]]],
) -> None:
    async with client(moved) as s3:
        after_look(monkeypatch, 1, lambda: s3.put("full", "new", b"acknowledged"))
        status, text = await call(moved)
        assert (status, "empty a moment ago" in text) == (409, True), text
        assert moved.room.flags() == {f"{HOST}/full": "new"}
        assert (await s3.read("full", "new"))[1] == b"acknowledged"
        await s3.put("full", "more", b"x")
    assert await keys(moved.new_server, "full") == 2


async def test_a_write_that_is_under_way_is_waited_for(
    moved: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    writing: list[asyncio.Task[int]] = []

    async def write() -> None:
        writing.append(asyncio.create_task(slow_put(moved, "new", begun, go_on)))
        await begun.wait()

    after_look(monkeypatch, 1, write)
    changing = asyncio.create_task(migrate(moved))
    flags = moved.room.gateway.flags
    await until(
        lambda: "hold" in str(flags.get(HOST, "full")) or changing.done(), "writes do not wait"
    )
    go_on.set()
    assert await writing[0] == 200
    status, text = await changing
    assert (status, "empty a moment ago" in text) == (409, True), text
    assert moved.room.flags() == {f"{HOST}/full": "new"}
    assert await keys(moved.new_server, "full") == 1


async def test_a_write_that_comes_meanwhile_goes_to_the_new_pool(
    moved: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing: list[asyncio.Task[object]] = []

    async with client(moved) as s3:

        async def write() -> None:
            writing.append(asyncio.create_task(s3.put("full", "new", b"x")))
            done, _ = await asyncio.wait(writing, timeout=0.2)
            assert not done, "writes must wait"

        after_look(monkeypatch, 2, write)
        status, text = await migrate(moved)
        assert status == 200, text
        await writing[0]
    assert (await keys(moved.new_server, "full"), await keys(moved.old_server, "full")) == (0, 3)


async def test_an_upload_that_was_begun_is_not_left_behind(moved: Scene) -> None:
    async with client(moved) as s3:
        await s3.create_multipart("full", "parts")
    assert (await migrate(moved))[0] == 409
    assert (await change_route(moved))[0] == 409, "it would have to move, and the other has objects"


async def test_the_first_route_of_a_bucket_hides_no_write(
    quick_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = quick_scene
    await fill(scene.old_server, "full", 0)
    body = {"pool_id": scene.new, "migrate": False}
    async with client(scene) as s3:
        after_look(monkeypatch, 1, lambda: s3.put("full", "new", b"x"))
        told = await scene.call("POST", "/buckets/full/promote", body, status=409)
        assert "empty a moment ago" in told["detail"]
        assert scene.room.flags() == {}
        assert (await s3.read("full", "new"))[1] == b"x"
        await s3.delete("full", "new")
    await scene.call("POST", "/buckets/full/promote", body)
    assert scene.room.flags() == {f"{HOST}/full": "new"}


@pytest.mark.parametrize("bucket", ["full", "free"])
async def test_a_process_that_dies_in_the_pause_sends_nobody_elsewhere(
    moved: Scene, bucket: str
) -> None:
    """With a route, and with none: writes go where they went, and the next start tidies up."""
    await fill(moved.old_server, "free", 0)
    pools = {"full": ("new", "old"), "free": ("old", "new")}
    flags = moved.room.gateway.flags
    hold = WriteHold(moved.room.root, flags)
    await hold.begin({(HOST, bucket): pools[bucket]})
    await hold.end()  # as the kernel closes its port; the flag stays
    assert flags.get(HOST, bucket).state is FlagState.HOLD  # type: ignore[union-attr]
    async with client(moved) as s3:
        await s3.put(bucket, "new", b"x")
        await start(moved.room.services)
        assert flags.get(HOST, bucket).state is FlagState.STATIC  # type: ignore[union-attr]
        assert (await s3.read(bucket, "new"))[1] == b"x"
    assert moved.room.flags()[f"{HOST}/{bucket}"] == pools[bucket][0]

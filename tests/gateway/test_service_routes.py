"""A route's pool changes: by migration when there is something to lose, never without a look."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.ports import ActiveMove, BucketMove, Restored
from holdfast.gateway.service import routing
from holdfast.gateway.tables import PoolRow, RouteRow, VhostRow
from holdfast.kernel.errors import Conflict, TooMany
from holdfast.kernel.work import SYSTEM, Work
from tests.gateway.room import HOST, Json, Room
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, nanio_server

pytestmark = pytest.mark.real
KEYS: dict[str, Json] = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}


class Recorder:
    """Stands for the migrations: keeps what it was asked to start."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str, str, str]] = []
        self.is_full = False

    async def start(
        self, work: Work, *, vhost: VhostRow, bucket: str, source: PoolRow, destination: PoolRow
    ) -> int:
        if self.is_full:
            raise TooMany("Max parallel migrations reached (2).")
        self.started.append((vhost.server_name, bucket, source.name, destination.name))
        return len(self.started)

    def write_hold(self) -> "NoHold":
        return NoHold()

    async def check_destination(self, *, bucket: str, source_id: int, destination_id: int) -> None:
        pass

    async def active_moves(self, session: AsyncSession) -> list[ActiveMove]:
        pools = {row.name: row.id for row in await session.scalars(select(PoolRow))}
        return [
            ActiveMove(id=number, bucket=bucket, pool_ids=frozenset({pools[source], pools[target]}))
            for number, (_, bucket, source, target) in enumerate(self.started, 1)
        ]

    async def active_with_pool(self, session: AsyncSession, pool_id: int) -> list[int]:
        pool = await session.get(PoolRow, pool_id)
        busy = {name for entry in self.started for name in entry[2:]}
        return [1] if pool is not None and pool.name in busy else []

    async def active_for_bucket(
        self, session: AsyncSession, bucket: str, pool_id: int
    ) -> int | None:
        return None

    async def moves_of(self, session: AsyncSession, bucket: str, *, limit: int) -> list[BucketMove]:
        return []

    async def restore(
        self, work: Work, *, folder: Path | None = None, only_ended: bool = False
    ) -> Restored:
        return Restored()


class NoHold:
    """Nobody writes."""

    async def begin(self, pools: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        pass

    async def end(self) -> None:
        pass


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[S3Server]:
    async with nanio_server(tmp_path / "s3") as running:
        yield running


@pytest.fixture
def recorder(quick_room: Room) -> Recorder:
    recorder = Recorder()
    quick_room.gateway.ports.migrations = recorder
    return recorder


async def routed(room: Room, server: S3Server, *, objects: int) -> tuple[str, int]:
    """A bucket with objects, routed to its pool; the route's path and the other pool."""
    one, two = await room.pool("one", server.address), await room.pool("two", "127.0.0.1:2")
    await room.ok("PUT", f"/pools/{one}/credentials", **KEYS)
    vhost_id = await room.vhost(two)
    async with server.client() as s3:
        await s3.create_bucket("bucket")
        for number in range(objects):
            await s3.put("bucket", f"key{number}", b"x")
    made = await room.route(vhost_id, "/bucket/", one)
    return f"/vhosts/{vhost_id}/routes/{made['id']}", two


async def test_a_bucket_with_objects_moves_by_migration(
    quick_room: Room, server: S3Server, recorder: Recorder
) -> None:
    path, two = await routed(quick_room, server, objects=1)
    answer = await quick_room.ok("PUT", path, pool_id=two)
    assert (answer["pool_name"], answer["migration_id"]) == ("one", 1)
    assert recorder.started == [(HOST, "bucket", "one", "two")]
    assert quick_room.flags() == {f"{HOST}/bucket": "one"}
    await quick_room.ok("PUT", path, 409, pool_id=two)
    await quick_room.ok("PUT", f"/pools/{two}", 409, name="renamed")


async def test_at_the_limit_nothing_is_switched(
    quick_room: Room, server: S3Server, recorder: Recorder
) -> None:
    path, two = await routed(quick_room, server, objects=1)
    recorder.is_full = True
    before = await quick_room.everything()
    await quick_room.ok("PUT", path, 429, pool_id=two)
    assert await quick_room.everything() == before


async def test_an_empty_bucket_is_switched_at_once(
    quick_room: Room, server: S3Server, recorder: Recorder
) -> None:
    path, two = await routed(quick_room, server, objects=0)
    answer = await quick_room.ok("PUT", path, pool_id=two)
    assert (answer["pool_name"], answer["migration_id"]) == ("two", None)
    assert not recorder.started
    assert quick_room.flags() == {f"{HOST}/bucket": "two"}


async def test_a_pool_that_cannot_be_asked_is_not_left_silently(
    quick_room: Room, server: S3Server, recorder: Recorder
) -> None:
    path, two = await routed(quick_room, server, objects=1)
    await server.kill()
    before = await quick_room.everything()
    await quick_room.ok("PUT", path, 503, pool_id=two)
    assert await quick_room.everything() == before
    answer = await quick_room.ok("PUT", path, pool_id=two, allow_orphan=True)
    assert answer["pool_name"] == "two"


async def test_without_migrations_nothing_is_left_behind(
    quick_room: Room, server: S3Server
) -> None:
    path, two = await routed(quick_room, server, objects=1)
    await quick_room.ok("PUT", path, 503, pool_id=two)
    assert quick_room.flags() == {f"{HOST}/bucket": "one"}


async def test_a_batch_moves_by_migration_too(
    quick_room: Room, server: S3Server, recorder: Recorder
) -> None:
    await routed(quick_room, server, objects=1)
    update = {"op": "update", "kind": "route", "vhost": HOST, "route": "/bucket/", "pool": "two"}
    await quick_room.ok("POST", "/config/batch", operations=[update])
    assert recorder.started == [(HOST, "bucket", "one", "two")]


async def test_migrations_find_the_vhosts_that_serve_a_bucket(room: Room) -> None:
    one, two = await room.pool("one", "127.0.0.1:1"), await room.pool("two", "127.0.0.1:2")
    by_default = await room.vhost(one, "default.local")
    by_route = await room.vhost(two, "route.local")
    await room.route(by_route, "/bucket/", one)
    elsewhere = await room.vhost(one, "elsewhere.local")
    await room.route(elsewhere, "/bucket/", two)
    async with room.services.database.read() as session:
        found = await routing.vhosts_serving(session, "bucket", one)
    assert [vhost.id for vhost in found] == [by_default, by_route]


async def test_a_move_ends_with_rows_and_flags_at_the_new_pool(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    ids = [vhost_id]
    async with room.services.database.write(SYSTEM) as work:
        (route,) = await routing.ensure_bucket_route(
            work, room.gateway, vhost_ids=ids, bucket="bucket", pool_id=one, migration_id=4
        )
        assert route.migration_id == 4
    assert room.flags() == {f"{HOST}/bucket": "one"}
    async with room.services.database.write(SYSTEM) as work:
        with pytest.raises(Conflict):
            await routing.ensure_bucket_route(
                work, room.gateway, vhost_ids=ids, bucket="bucket", pool_id=one, migration_id=5
            )
    async with room.services.database.write(SYSTEM) as work:
        await routing.finish_move(work, room.gateway, vhost_ids=ids, bucket="bucket", pool_id=two)
    assert await room.asks("/bucket/x") == "two GET /bucket/x"
    async with room.services.database.read() as session:
        stored = await session.get(RouteRow, route.id)
    assert stored is not None
    assert (stored.pool_id, stored.migration_id) == (two, None)

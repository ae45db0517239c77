"""Pages of buckets, on real S3 servers: lists, one bucket, its route, what is left behind."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import event

from holdfast.gateway.tables import BucketRow
from holdfast.kernel.identity.service import create_token
from holdfast.kernel.work import SYSTEM, Role
from tests.gateway.pages.console import Pages, pages_of, told, words
from tests.gateway.room import HOST, Room
from tests.gateway.scene import fill, keys
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, nanio_server, two_servers

pytestmark = pytest.mark.real
MANY = 10_000
MOST_STATEMENTS = 10


@dataclass(slots=True)
class Scene:
    """A vhost whose default pool is ``old``, beside a pool ``new``, and an operator's browser."""

    room: Room
    pages: Pages
    old_server: S3Server
    new_server: S3Server
    old: int
    new: int
    vhost: int

    @property
    def at(self) -> str:
        return f"/web/vhosts/{self.vhost}"

    async def sync(self) -> None:
        await self.pages.post(f"{self.at}/sync-buckets")


@pytest.fixture
async def scene(quick_room: Room, tmp_path: Path) -> AsyncIterator[Scene]:
    room = quick_room
    async with two_servers(tmp_path / "s3", nanio_server, nanio_server) as (old, new):
        pools = {}
        for name, server in (("old", old), ("new", new)):
            pools[name] = await room.pool(name, server.address)
            path = f"/pools/{pools[name]}/credentials"
            await room.ok("PUT", path, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        vhost = await room.vhost(pools["old"])
        async with pages_of(room.services) as pages:
            yield Scene(room, pages, old, new, pools["old"], pools["new"], vhost)


async def test_a_vhost_without_buckets_teaches_the_first_step(scene: Scene) -> None:
    for path in (f"{scene.at}/buckets", "/web/buckets"):
        shown = await scene.pages.get(path)
        assert "No buckets seen yet" in shown
        assert "Sync now" in shown


async def test_a_sync_tells_what_it_found_and_sizes_are_counted_when_asked(scene: Scene) -> None:
    await fill(scene.old_server, "alpha", 3)
    await fill(scene.old_server, "beta", 0)
    answer = await scene.pages.post(f"{scene.at}/sync-buckets")
    assert "2 buckets found." in told(answer)
    shown = words(await scene.pages.get(f"{scene.at}/buckets"))
    assert "alpha unrouted old by default" in shown
    shown = words(await scene.pages.get("/web/buckets?sizes=true"))
    assert "alpha s3.local unrouted old by default 3 21 B" in shown
    await scene.old_server.kill()
    answer = await scene.pages.post(f"{scene.at}/sync-buckets")
    assert "Nothing was found" in told(answer)
    assert "alpha" in await scene.pages.get("/web/buckets?sizes=true")
    answer = await scene.pages.post("/web/buckets/sync")
    assert "s3.local: old" in told(answer)


async def test_a_promotion_asks_before_it_hides_objects_and_leaves_them_when_told(
    scene: Scene,
) -> None:
    await fill(scene.old_server, "full")
    await scene.sync()
    path = f"{scene.at}/buckets/full/promote"
    asked = await scene.pages.post(path, 400, pool_id=str(scene.new))
    assert "full has objects on old." in words(asked.text)
    assert "Move them to new, then route" in asked.text
    copies = unescape(asked.text)
    for word, field in (("--migrate", "migrate"), ("--allow-orphan", "allow_orphan")):
        assert f'bucket promote {HOST} full --pool {scene.new} {word}"' in copies
        assert f'data-body="{{"{field}": true, "pool_id": {scene.new}}}"' in copies
    assert scene.room.flags() == {}
    await scene.pages.post(path, pool_id=str(scene.new), do="orphan")
    assert scene.room.flags() == {"s3.local/full": "new"}
    shown = words(await scene.pages.get(f"{scene.at}/buckets/full?count=true"))
    assert "old not through this vhost 2 14 B" in shown
    assert "new live 0 0 B" in shown


async def test_a_promotion_moves_the_objects_when_that_is_chosen(scene: Scene) -> None:
    await fill(scene.old_server, "full")
    await scene.sync()
    path = f"{scene.at}/buckets/full/promote"
    done = await scene.pages.post(path, pool_id=str(scene.new), do="migrate")
    assert done.headers["location"] == "/web/migrations/1"
    shown = await scene.pages.get(f"{scene.at}/buckets/full")
    assert "migrating" in shown
    assert 'href="/web/migrations/1"' in shown
    assert "1 old new pending" in words(shown)


async def test_a_wrong_pool_is_told_at_the_form(scene: Scene) -> None:
    await fill(scene.old_server, "alpha", 0)
    await scene.sync()
    path = f"{scene.at}/buckets/alpha/promote"
    bad = await scene.pages.post(path, 422, pool_id="none")
    assert 'aria-invalid="true"' in bad.text
    bad = await scene.pages.post(path, 400, pool_id="999")
    assert "Pool 999 not found" in bad.text


async def test_a_bucket_is_routed_moved_on_and_its_route_is_taken_away(scene: Scene) -> None:
    await fill(scene.old_server, "alpha", 0)
    await scene.sync()
    at = f"{scene.at}/buckets/alpha"
    await scene.pages.post(f"{at}/promote", pool_id=str(scene.new))
    shown = await scene.pages.get(at)
    link = f"/web/migrations/new?bucket=alpha&amp;src_pool_id={scene.new}"
    assert f"{link}&amp;dst_pool_id={scene.old}" in shown
    form = await scene.pages.get(f"/web/migrations/new?bucket=alpha&src_pool_id={scene.new}")
    assert f'<option value="{scene.new}" selected>' in form
    await scene.pages.post(f"{at}/unroute")
    assert scene.room.flags() == {}
    shown = words(await scene.pages.get(at))
    assert "unrouted" in shown
    timeline = shown.partition("Who changed it")[2]
    assert f"route taken away vhost {HOST}, pool new" in timeline
    assert f"routed vhost {HOST}, pool new" in timeline
    assert timeline.index("route taken away") < timeline.index("routed vhost")


async def test_an_ignored_bucket_is_no_need_any_more(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.sync()
    assert "1 bucket has no route of its own" in await scene.pages.get("/")
    await scene.pages.post(f"{scene.at}/buckets/alpha/ignore")
    assert "has no route of its own" not in await scene.pages.get("/")
    shown = await scene.pages.get("/web/buckets?status=ignored")
    assert "alpha" in words(shown)
    assert "No bucket fits" in await scene.pages.get("/web/buckets?status=unrouted")


async def test_orphans_are_purged_by_their_typed_name_alone(scene: Scene) -> None:
    await fill(scene.old_server, "full")
    await scene.sync()
    path = f"{scene.at}/buckets/full/promote"
    await scene.pages.post(path, pool_id=str(scene.new), do="orphan")
    shown = words(await scene.pages.get(f"{scene.at}/orphans"))
    assert "full 2 14 B" in shown
    for path in (f"{scene.at}/orphans/full/purge", f"/web/pools/{scene.old}/buckets/full/purge"):
        await scene.pages.post(path, 422, confirm="ful")
    assert await keys(scene.old_server, "full") == 2
    done = await scene.pages.post(f"{scene.at}/orphans/full/purge", confirm="full")
    assert "2 of 2 objects of full are deleted." in told(done)
    assert await keys(scene.old_server, "full") == 0
    assert "No orphans" in await scene.pages.get(f"{scene.at}/orphans")
    shown = words(await scene.pages.get(f"{scene.at}/buckets/full"))
    assert "objects purged pool old, state ended, deleted 2" in shown


async def test_a_live_copy_is_not_purged_from_the_page_of_its_pool(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.sync()
    refused = await scene.pages.post(
        f"/web/pools/{scene.old}/buckets/alpha/purge", 409, confirm="alpha"
    )
    assert "is live" in refused.text
    assert await keys(scene.old_server, "alpha") == 2


async def test_the_buckets_of_a_pool_are_shown_with_who_is_sent_there(scene: Scene) -> None:
    for name in ("alpha", "full"):
        await fill(scene.old_server, name)
    await scene.sync()
    path = f"{scene.at}/buckets/full/promote"
    await scene.pages.post(path, pool_id=str(scene.new), do="orphan")
    at = f"/web/pools/{scene.old}/buckets"
    shown = words(await scene.pages.get(f"{at}?sizes=true"))
    assert "full routed elsewhere nobody 2 14 B" in shown
    assert "alpha by default pool s3.local by default 2 14 B" in shown
    assert shown.index("full routed") < shown.index("alpha by default")
    shown = words(await scene.pages.get(f"{at}?q=ALP&status=via_default"))
    assert "full" not in shown
    await scene.old_server.kill()
    assert "could not be asked" in await scene.pages.get(at, 502)


async def test_buckets_over_http_are_added_and_removed(scene: Scene) -> None:
    room = scene.room
    web = await room.pool("web", type="http", source_nanio_pool_id=scene.old)
    host = await room.vhost(web, "web.local")
    at = f"/web/vhosts/{host}/http-buckets"
    assert "No bucket is routed to old yet" in await scene.pages.get(at)
    await room.route(scene.vhost, "/linked/", scene.old)
    assert "linked no route" in words(await scene.pages.get(at))
    await scene.pages.post(f"{at}/linked/add")
    assert "linked routed to web" in words(await scene.pages.get(at))
    await scene.pages.post(f"{at}/linked/remove")
    assert "linked no route" in words(await scene.pages.get(at))
    assert "Web servers have no buckets" in await scene.pages.get(f"/web/vhosts/{host}/buckets")


async def test_a_bucket_that_nobody_saw_is_not_found_and_its_name_is_escaped(scene: Scene) -> None:
    shown = await scene.pages.get(f"{scene.at}/buckets/<script>", 404)
    assert "<script>&#39;" not in shown
    assert "&lt;script&gt;" in shown
    async with scene.room.services.database.write(SYSTEM) as work:
        row = BucketRow(
            vhost_id=scene.vhost, name='"><b>', status="unrouted", discovered_at=datetime.now(UTC)
        )
        work.session.add(row)
    for path in ("/web/buckets", f"{scene.at}/buckets/%22%3E%3Cb%3E", "/web/search?q=<b>"):
        shown = await scene.pages.get(path)
        assert '"><b>' not in shown
        assert "&lt;b&gt;" in shown


async def test_a_viewer_sees_buckets_and_no_button_that_would_refuse(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.sync()
    async with scene.room.services.database.write(SYSTEM) as work:
        _, token = await create_token(work, name="eve", role=Role.VIEWER)
    async with pages_of(scene.room.services, token) as viewer:
        for path in ("/web/buckets", f"{scene.at}/buckets", f"{scene.at}/buckets/alpha"):
            shown = await viewer.get(path)
            assert 'method="post"' not in shown.partition("<main")[2].partition("</main>")[0]
            assert "alpha" in shown
        await viewer.get(f"{scene.at}/buckets/alpha/promote", 403)
        for path in ("sync-buckets", "buckets/alpha/ignore", "buckets/alpha/unroute"):
            await viewer.post(f"{scene.at}/{path}", 403)


async def test_ten_thousand_buckets_are_searched_sorted_and_paged_in_few_statements(
    quick_room: Room,
) -> None:
    room = quick_room
    pool = await room.pool("one", "127.0.0.1:1")
    vhost = await room.vhost(pool)
    async with room.services.database.write(SYSTEM) as work:
        work.session.add_all(
            BucketRow(
                vhost_id=vhost,
                name=f"bucket-{number:05d}",
                status="ignored" if number % 2 else "unrouted",
                discovered_at=datetime.now(UTC),
            )
            for number in range(MANY)
        )
    statements: list[str] = []
    engine = room.services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    async with pages_of(room.services) as pages:
        for path in (f"/web/vhosts/{vhost}/buckets", "/web/buckets"):
            statements.clear()
            shown = words(await pages.get(f"{path}?status=ignored&sort=-name&page=2"))
            assert len(statements) <= MOST_STATEMENTS, statements
            assert "51\u2013100 of 5 000" in shown
            assert "bucket-09899" in shown
            shown = words(await pages.get(f"{path}?q=00042"))
            assert "bucket-00042" in shown
            assert "bucket-00043" not in shown

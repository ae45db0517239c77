"""Pages of migrations, on real S3 servers: the plan, its start, the end of it, what is left."""

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest

from holdfast.gateway.service import choosing
from holdfast.kernel.clock import now
from holdfast.kernel.work import SYSTEM
from holdfast.migrations.model import Options, Phase, Stage
from holdfast.migrations.tables import MigrationLogRow, MigrationRow
from tests.gateway.pages.console import Pages, pages_of, told, words
from tests.gateway.pages.web import column
from tests.gateway.room import Room
from tests.gateway.scene import Scene, fill, keys, open_scene

pytestmark = pytest.mark.real
NEW = "/web/migrations/new"


@pytest.fixture
async def scene(quick_room: Room, tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(quick_room, tmp_path) as opened:
        yield opened


@pytest.fixture
async def pages(scene: Scene) -> AsyncIterator[Pages]:
    async with pages_of(scene.room.services) as opened:
        yield opened


def fields(scene: Scene, **others: str) -> dict[str, str]:
    """What a browser sends of the form."""
    pools = {"src_pool_id": str(scene.old), "dst_pool_id": str(scene.new)}
    return {"bucket": "photos", "mode": "copy", "verify": "listing", **pools, **others}


def address(shown: str) -> str:
    """Where the form of this page is sent."""
    found = re.search(rf'action="({NEW}[^"]*)"', shown)
    assert found
    return unescape(found[1])


async def test_only_what_was_planned_is_begun(scene: Scene, pages: Pages) -> None:
    await fill(scene.old_server, "photos", 3)
    await fill(scene.old_server, "other", 1)
    await scene.call("POST", "/buckets/sync")
    assert "Start the move" not in await pages.get(NEW)
    unplanned = await pages.post(NEW, 200, **fields(scene), do="start")
    assert "was not started" in unplanned.text
    plan = await pages.post(address(await pages.get(NEW)), 200, **fields(scene))
    said = words(plan.text)
    assert "Nothing stands in the way" in said
    assert "Objects 3" in said
    at = address(plan.text)
    for change in ({"bucket": "other"}, {"mode": "sync"}, {"max_hold_seconds": "1"}):
        again = await pages.post(at, 200, **fields(scene, **change), do="start")
        assert "The move was not started: the form was changed" in again.text
        assert address(again.text) != at
    assert "No bucket was moved yet" in await pages.get("/web/migrations")
    begun = await pages.post(at, 303, **fields(scene), do="start")
    assert begun.headers["location"] == "/web/migrations/1"
    assert "photos old new pending" in words(await pages.get("/web/migrations"))


async def test_enter_in_a_planned_form_shows_the_plan_again(scene: Scene, pages: Pages) -> None:
    await fill(scene.old_server, "photos")
    await scene.call("POST", "/buckets/sync")
    plan = (await pages.post(NEW, 200, **fields(scene))).text
    form = plan.partition('<form class="form"')[2].partition("</form>")[0]
    first, *_ = re.findall(r'<button(?![^>]*type="button")[^>]*>([^<]+)', form)
    assert first == "Show the plan"  # a browser presses the first one


async def test_a_move_is_ended_and_its_old_copy_deleted_by_its_name(
    scene: Scene, pages: Pages
) -> None:
    await fill(scene.old_server, "photos")
    await scene.call("POST", "/buckets/sync")
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/photos/promote", body)
    row = MigrationRow(
        vhost_id=scene.vhost,
        bucket="photos",
        src_pool_id=scene.old,
        dst_pool_id=scene.new,
        options=Options(max_hold_seconds=3.0).to_json(),
        phase=Phase.DONE,
        stage=Stage.DONE,
        created_at=now(),
        finished_at=now(),
        orphaned_source_pool_id=scene.old,
        orphaned_at=now(),
        holds=json.dumps([{"number": 1, "result": "late", "seconds": 2.0, "dirty_keys": 0}] * 2),
    )
    async with scene.room.services.database.write(SYSTEM) as work:
        work.session.add(row)
        await work.session.flush()
        line = MigrationLogRow(
            migration_id=row.id, phase=Phase.DONE, message="it is over", created_at=now()
        )
        work.session.add(line)
    at = f"/web/migrations/{row.id}"
    shown = await pages.get(at)
    assert "Longest pause of writes 2.0 s of at most 3.0 s" in words(shown)
    assert "All pauses together 4.0 s" in words(shown)
    assert re.search(r"<time [^>]*>[^<]* UTC</time> done it is over", shown)
    for button in ('id="cancel"', 'id="purge"'):
        assert (button in shown) == (button == 'id="purge"')
    await pages.post(f"{at}/purge", 422, confirm="photo")
    assert await keys(scene.old_server, "photos") == 2
    await pages.post(f"{at}/purge", confirm="photos")
    assert await keys(scene.old_server, "photos") == 0
    assert "Nothing was left behind" in await pages.get("/web/migrations/orphaned")

    await fill(scene.old_server, "other")
    await scene.call("POST", "/buckets/sync")
    begun = await pages.post(
        f"/web/vhosts/{scene.vhost}/buckets/other/promote", pool_id=str(scene.new), do="migrate"
    )
    move = begun.headers["location"]
    assert 'id="cancel"' in await pages.get(move)
    ended = await pages.post(f"{move}/cancel")
    assert "The move of other is being ended." in told(ended)
    shown = await pages.get(move)
    assert "It is being ended." in shown
    assert 'id="cancel"' not in shown


async def test_moves_and_what_they_left_are_searched_sorted_and_in_pages(
    quick_room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await quick_room.pool("old", "127.0.0.1:9001")
    new = await quick_room.pool("new", "127.0.0.1:9002")
    rows = [
        MigrationRow(
            vhost_id=None,
            bucket=f"bucket-{number:02}",
            src_pool_id=old,
            dst_pool_id=new,
            phase=Phase.DONE,
            bytes_total=number * 7 % 60,
            bytes_done=number * 7 % 60,
            created_at=now(),
            orphaned_source_pool_id=old,
            orphaned_at=now(),
        )
        for number in range(60)
    ]
    async with quick_room.services.database.write(SYSTEM) as work:
        work.session.add_all(rows)
    names = [row.bucket for row in rows]
    by_size = [row.bucket for row in sorted(rows, key=lambda row: row.bytes_total)]
    async with pages_of(quick_room.services) as pages:
        for path in ("/web/migrations", "/web/migrations/orphaned"):
            wanted = {
                "": names[:-51:-1],
                "?page=2": names[9::-1],
                "?sort=bucket": names[:50],
                "?sort=-bucket&page=2": names[9::-1],
                "?sort=size": by_size[:50],
                "?q=ET-42": ["bucket-42"],
            }
            for query, buckets in wanted.items():
                shown = await pages.get(path + query)
                assert column(shown, 0) == buckets, path + query
                assert set(column(shown, 1)) == {"old"}
        api = "/api/migrations"
        listed = (await pages.client.get(f"{api}?sort=-size&limit=2")).json()
        assert [row["bucket"] for row in listed] == by_size[:-3:-1]
        assert (await pages.client.get(f"{api}?sort=options")).status_code == 422
        left = await pages.client.get(f"{api}/orphaned?limit=1&offset=1")
        assert [row["bucket"] for row in left.json()] == ["bucket-58"]
        assert left.headers["X-Total-Count"] == "60"
        assert '<select id="f-src_pool_id"' in await pages.get(NEW)
        monkeypatch.setattr(choosing, "POOLS_OFFERED", 1)
        assert '<input type="number" id="f-dst_pool_id"' in await pages.get(NEW)

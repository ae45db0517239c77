"""The calls of the API, on a running server with real pools and a real nginx."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.demo.fleet import NEW, OLD
from tests.migrations.site import OVER, Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
WIRE_FIELDS = {
    "id",
    "vhost_id",
    "bucket",
    "src_pool_id",
    "dst_pool_id",
    "mode",
    "phase",
    "objects_total",
    "objects_done",
    "bytes_total",
    "bytes_done",
    "error_msg",
    "started_at",
    "finished_at",
    "created_at",
    "orphaned_source_pool_id",
    "orphaned_source_prefix",
    "orphaned_at",
    "cascade_warnings",
}


async def test_a_bucket_moves_and_the_answer_tells_how(site: Site) -> None:
    found = await site.moved("told")
    assert found.keys() >= WIRE_FIELDS
    assert (found["objects_total"], found["objects_done"], found["bytes_done"]) == (3, 3, 30)
    assert found["orphaned_source_pool_id"] == site.ids[OLD]
    assert found["orphaned_source_prefix"] == "/told/"
    assert [hold["result"] for hold in found["holds"]][-1] == "switched"
    assert found["started_at"].endswith("Z")
    assert " " in found["created_at"]


async def test_a_destination_that_waits_for_a_reload_is_loaded_before_the_move(site: Site) -> None:
    members = f"/api/pools/{site.ids[NEW]}/members"
    (member,) = (await site.api.get(members)).json()
    await site.fill("waited")
    (vhost,) = (await site.api.get("/api/vhosts")).json()
    route = {"path_prefix": "/waited/", "pool_id": site.ids[OLD]}
    answer = await site.api.post(f"/api/vhosts/{vhost['id']}/routes", json=route)
    assert answer.status_code == 201, answer.text
    path = f"{members}/{member['id']}?reload=false"
    assert (await site.api.put(path, json={"weight": 7})).status_code == 200
    assert (await site.api.get("/api/config/status")).json()["reload_pending"] is True
    begun = await site.post("waited")
    assert begun.status_code == 201, begun.text
    status = (await site.api.get("/api/config/status")).json()
    assert status["reload_pending"] is False
    assert status["loaded_generation"] == status["generation"]
    assert (await site.wait(begun.json()["id"]))["phase"] == "done"


async def test_the_route_of_a_moved_bucket_names_the_new_pool(site: Site) -> None:
    await site.moved("routed")
    routes = (await site.api.get("/api/vhosts/1/routes")).json()
    route = next(route for route in routes if route["path_prefix"] == "/routed/")
    assert route["pool_id"] == site.ids[NEW]
    vhost = (await site.api.get("/api/vhosts/1")).json()["server_name"]
    async with httpx.AsyncClient(base_url=site.fleet.s3_url) as gateway:
        for target, status in (("/stayed/x", 501), ("/routed/x", 403)):
            headers = {"host": vhost, "x-amz-copy-source": "/routed/k0"}
            answer = await gateway.put(target, headers=headers)
            assert answer.status_code == status, "asked where its source is, before its signature"


async def test_its_log_and_events_and_audit_tell_what_was_done(site: Site) -> None:
    found = await site.moved("logged")
    lines = (await site.api.get(f"/api/migrations/{found['id']}/log?limit=1000")).json()
    assert lines[0].keys() == {"id", "migration_id", "phase", "message", "created_at"}
    assert [line["id"] for line in lines] == sorted((x["id"] for x in lines), reverse=True)
    assert {"pending", "copying", "verifying", "switching", "done"} <= {x["phase"] for x in lines}
    audit = (await site.api.get("/api/audit?entity_type=migration")).json()
    actions = [a["action"] for a in audit if str(a["entity_id"]) == str(found["id"])]
    assert actions == ["migration_done", "create_migration"]


async def test_its_record_lies_on_disk(site: Site) -> None:
    found = await site.moved("recorded")
    folder = Path(site.fleet.directory) / "holdfast" / "migrations"
    record = json.loads((folder / f"migration-{found['id']}.done.json").read_text())
    assert (record["source_pool_name"], record["target_pool_name"]) == (OLD, NEW)
    assert record["status"] == "done"
    routes = (await site.api.get(f"/api/vhosts/{record['vhost_id']}/routes")).json()
    assert record["route_id"] in {r["id"] for r in routes if r["path_prefix"] == "/recorded/"}
    older = {"migration_id", "bucket", "mode", "orphaned_at", "written_at", "swept_http_vhosts"}
    older |= {f"{side}_pool_{what}" for side in ("source", "target") for what in ("id", "name")}
    older |= {"orphaned_source_pool_id", "orphaned_source_prefix"}
    assert older <= record.keys()
    assert not (folder / f"migration-{found['id']}.state.json").exists()


async def test_the_plan_changes_nothing(site: Site) -> None:
    await site.fill("planned", objects=4)
    answer = await site.api.post("/api/migrations?dry_run=true", json=site.body("planned"))
    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["objects"], plan["bytes"], plan["objects_to_copy"]) == (4, 40, 4)
    assert plan["conflicts"] == []
    assert plan["vhosts"] == ["s3.localhost"]
    async with site.s3(NEW) as client:
        assert not await client.head_bucket("planned")


async def test_the_plan_names_what_would_be_lost(site: Site) -> None:
    await site.fill("crowded")
    async with site.s3(NEW) as client:
        await client.create_bucket("crowded")
        await client.put("crowded", "theirs", b"y")
    plan = await site.plan("crowded")
    assert plan["would_delete"] == ["theirs"]
    assert "already" in plan["conflicts"][0]
    assert (await site.plan("crowded", confirm="crowded"))["conflicts"] == []


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"dst_pool_id": 1, "src_pool_id": 1}, 400, "must be different"),
        ({"src_pool_id": 999}, 400, "Source pool 999 not found"),
        ({"dst_pool_id": 999}, 400, "Destination pool 999 not found"),
        ({"bucket": "nowhere"}, 400, "does not exist"),
        ({"bucket": ""}, 422, ""),
        ({"mode": "move"}, 422, ""),
        ({"waive": ["everything"]}, 422, "cannot be waived"),
        ({"bandwidth_limit": "fast"}, 422, ""),
    ],
)
async def test_what_cannot_be_moved_is_refused(
    site: Site, change: dict[str, Any], status: int, text: str
) -> None:
    answer = await site.api.post("/api/migrations", json=site.body("refused") | change)
    assert answer.status_code == status, answer.text
    assert text in answer.text
    assert answer.json().keys() >= {"detail", "code", "hint"}


async def test_an_empty_bucket_is_refused(site: Site) -> None:
    await site.fill("empty", objects=0)
    answer = await site.post("empty")
    assert answer.status_code == 400
    assert "empty" in answer.json()["detail"]


async def test_a_bucket_moves_once_at_a_time_and_a_cancel_leaves_the_source(site: Site) -> None:
    await site.fill("slow", objects=10, size=2000)
    slow = {"bandwidth_limit": "1K"}
    first = (await site.post("slow", **slow)).json()
    again = await site.post("slow", **slow)
    assert again.status_code == 409
    await site.fill("slow2", objects=10, size=2000)
    second = (await site.post("slow2", **slow)).json()
    await site.fill("slow3")
    assert (await site.post("slow3")).status_code == 429
    for started in (first, second):
        cancelled = await site.api.post(f"/api/migrations/{started['id']}/cancel")
        assert cancelled.json() == {"ok": True, "migration_id": started["id"]}
    for started in (first, second):
        assert (await site.wait(started["id"]))["phase"] == "cancelled"
    twice = await site.api.post(f"/api/migrations/{first['id']}/cancel")
    assert twice.status_code == 400
    assert twice.json()["detail"] == "Migration is already in terminal state: cancelled"
    listed = (await site.api.get("/api/migrations?phase=cancelled&limit=2")).json()
    assert [row["id"] for row in listed] == [second["id"], first["id"]]


@pytest.mark.parametrize("phase", ["pending", "copying", "verifying", "switching"])
async def test_a_cancel_that_was_accepted_is_kept(site: Site, phase: str) -> None:
    bucket = f"cancel-{phase}"
    await site.fill(bucket, objects=40)
    identifier = (await site.post(bucket)).json()["id"]
    await site.wait(identifier, phase, *OVER)
    answer = await site.api.post(f"/api/migrations/{identifier}/cancel")
    ended = await site.wait(identifier)
    assert ended["phase"] == ("cancelled" if answer.status_code == 200 else "done")
    assert answer.status_code in {200, 400, 409}


async def test_an_unknown_migration_is_not_found(site: Site) -> None:
    for path in ("", "/log"):
        answer = await site.api.get(f"/api/migrations/999999{path}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "Migration not found")
    for path in ("cancel", "purge-source"):
        answer = await site.api.post(f"/api/migrations/999999/{path}", json={})
        assert answer.status_code == 404


async def test_what_was_left_is_purged_only_when_its_name_is_typed(site: Site) -> None:
    found = await site.moved("left")
    path = f"/api/migrations/{found['id']}/purge-source"
    orphans = (await site.api.get("/api/migrations/orphaned")).json()
    assert found["id"] in {orphan["migration_id"] for orphan in orphans}
    assert (await site.api.post(path, json={})).status_code == 422
    counted = (await site.api.post(f"{path}?dry_run=true", json={})).json()
    assert (counted["total"], counted["deleted"]) == (3, 0)
    purged = (await site.api.post(path, json={"confirm": "left"})).json()
    assert (purged["ok"], purged["deleted"]) == (True, 3)
    async with site.s3(NEW) as client:
        assert (await client.totals("left")).objects == 3
    orphans = (await site.api.get("/api/migrations/orphaned")).json()
    assert found["id"] not in {orphan["migration_id"] for orphan in orphans}
    assert (await site.api.post(path, json={"confirm": "left"})).status_code == 400


async def left_of(site: Site, bucket: str) -> list[tuple[int, int]]:
    """Migration and pool of each copy of a bucket that was left behind."""
    orphans = (await site.api.get("/api/migrations/orphaned")).json()
    mine = [orphan for orphan in orphans if orphan["bucket"] == bucket]
    return [(orphan["migration_id"], orphan["orphaned_source_pool_id"]) for orphan in mine]


async def test_what_a_cancelled_move_copied_is_listed_and_can_be_purged(site: Site) -> None:
    await site.fill("dropped", objects=20, size=2000)
    first = (await site.post("dropped", bandwidth_limit="8K", transfers=1)).json()["id"]
    await site.until(first, lambda found: found["objects_done"] > 1)
    assert await left_of(site, "dropped") == []
    await site.api.post(f"/api/migrations/{first}/cancel")
    ended = await site.wait(first)
    assert ended["phase"] == "cancelled"
    assert await left_of(site, "dropped") == [(first, site.ids[NEW])]
    shown = (await site.api.get("/api/migrations/orphaned")).json()
    (orphan,) = [orphan for orphan in shown if orphan["bucket"] == "dropped"]
    assert 0 < orphan["objects"] == ended["objects_done"] < 20
    path = f"/api/migrations/{first}/purge-source"
    assert (await site.api.post(path, json={"confirm": "dropped"})).json()["ok"]
    assert await left_of(site, "dropped") == []
    async with site.s3(NEW) as client:
        assert (await client.totals("dropped")).objects == 0
    async with site.s3(OLD) as client:
        assert (await client.totals("dropped")).objects == 20


async def test_a_copy_that_became_live_again_is_never_purged(site: Site) -> None:
    found = await site.moved("back")
    body = site.body("back", confirm="back") | {
        "src_pool_id": site.ids[NEW],
        "dst_pool_id": site.ids[OLD],
    }
    assert await left_of(site, "back") == [(found["id"], site.ids[OLD])]
    answer = await site.api.post("/api/migrations", json=body)
    returned = await site.wait(answer.json()["id"])
    assert returned["phase"] == "done"
    assert await left_of(site, "back") == [(returned["id"], site.ids[NEW])]
    purge = await site.api.post(
        f"/api/migrations/{found['id']}/purge-source", json={"confirm": "back"}
    )
    assert purge.status_code == 409
    async with site.s3(OLD) as client:
        assert (await client.totals("back")).objects == 3


async def test_buckets_that_can_be_moved_away_are_listed(site: Site) -> None:
    await site.fill("here")
    await site.moved("gone")
    found = (await site.api.get(f"/api/migrations/source-buckets?pool_id={site.ids[OLD]}")).json()
    assert "here" in found["buckets"]
    assert "gone" not in found["buckets"]


async def test_a_vhost_over_the_old_copy_is_warned_of_and_keeps_it_from_the_purge(
    site: Site,
) -> None:
    await site.fill("linked")
    over = {"name": "over", "type": "http", "source_nanio_pool_id": site.ids[OLD]}
    pool = f"/api/pools/{(await site.api.post('/api/pools', json=over)).json()['id']}"
    await site.api.post(f"{pool}/members", json={"address": "127.0.0.1:9"})
    (shown, *_) = (await site.api.get("/api/vhosts")).json()
    web = {"server_name": "web.localhost", "ssl": False, "listen_port": shown["listen_port"]}
    web["default_pool_id"] = int(pool.rpartition("/")[2])
    vhost = f"/api/vhosts/{(await site.api.post('/api/vhosts', json=web)).json()['id']}"
    made = await site.api.post(f"{vhost}/http-bucket-routes/linked")
    assert made.status_code == 201, made.text
    assert any("'web.localhost'" in line for line in (await site.plan("linked"))["warnings"])
    found = await site.moved("linked")
    assert "'web.localhost'" in found["cascade_warnings"]
    record = Path(site.fleet.directory) / f"holdfast/migrations/migration-{found['id']}.done.json"
    async with asyncio.timeout(10):
        while not record.exists():
            await asyncio.sleep(0.02)
    assert json.loads(record.read_text())["swept_http_vhosts"] == ["web.localhost"]
    assert (await site.api.get(f"{vhost}/http-bucket-routes")).json()["routes"] == []
    purge, body = f"/api/migrations/{found['id']}/purge-source", {"confirm": "linked"}
    refused = await site.api.post(purge, json=body)
    assert refused.status_code == 409, refused.text
    assert "over" in refused.json()["detail"]
    assert (await site.api.delete(vhost)).status_code == 204
    assert (await site.api.post(purge, json=body)).json()["deleted"] == 3


async def test_nothing_is_stale_on_a_sound_site(site: Site) -> None:
    assert (await site.api.get("/api/migrations/stale")).json() == []

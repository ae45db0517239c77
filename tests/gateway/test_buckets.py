"""Buckets: discovered, promoted, ignored, orphaned, purged; on real S3 servers."""

from typing import Any

import pytest
from sqlalchemy import select

from holdfast.gateway.service import discovery
from holdfast.gateway.tables import BucketRow, RouteRow
from holdfast.kernel.work import SYSTEM
from tests.gateway.scene import Scene, fill

pytestmark = pytest.mark.real


async def test_a_discovery_keeps_what_it_saw(scene: Scene) -> None:
    await fill(scene.old_server, "alpha", 3)
    await fill(scene.old_server, "beta", 0)
    assert (await scene.call("GET", "/buckets"))["last_synced_at"] is None
    found = await scene.call("POST", "/buckets/sync")
    assert (found["vhost_id"], found["buckets_found"]) == (scene.vhost, 2)
    assert found["synced_at"]
    shown = await scene.call("GET", "/buckets", fetch_counts="true")
    assert shown["last_synced_at"] == found["synced_at"]
    counts = {bucket["name"]: bucket["object_count"] for bucket in shown["buckets"]}
    assert counts == {"alpha": 3, "beta": 0}
    async with scene.old_server.client() as client:
        await client.delete_bucket("beta")
    shown = await scene.call("GET", "/buckets", fetch_counts="true")
    counts = {bucket["name"]: bucket["object_count"] for bucket in shown["buckets"]}
    assert counts == {"alpha": 3, "beta": None}
    tried = await scene.room.ok("POST", "/buckets/sync?dry_run=true")
    assert tried["dry_run"]
    assert (await scene.statuses())["beta"] != "deleted"
    everywhere = await scene.room.ok("POST", "/buckets/sync")
    assert everywhere == {"buckets_found": 1, "vhosts": 1, "warnings": []}
    assert await scene.statuses() == {"alpha": "unrouted", "beta": "deleted"}
    await scene.call("POST", "/buckets/beta/promote", {"pool_id": scene.new}, status=400)


async def test_counts_are_taken_on_the_pool_that_has_the_bucket(scene: Scene) -> None:
    await fill(scene.new_server, "moving", 4)  # on no server of the default pool
    await scene.call("POST", "/buckets/moving/promote", {"pool_id": scene.new})
    async with scene.room.services.database.write(SYSTEM) as work:  # as a move to a third pool
        (route,) = await work.session.scalars(select(RouteRow).where(RouteRow.bucket == "moving"))
        route.migration_id = 7
    (shown,) = (await scene.call("GET", "/buckets", fetch_counts="true"))["buckets"]
    assert (shown["status"], shown["object_count"]) == ("migrating", 4)


async def test_a_discovery_without_an_answer_is_told_and_changes_nothing(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.call("POST", "/buckets/sync")
    before = await scene.call("GET", "/buckets")
    await scene.old_server.kill()
    told = await scene.call("POST", "/buckets/sync")
    assert told["vhost_id"] == scene.vhost
    assert "old" in told["error"]
    assert await scene.call("GET", "/buckets") == before


async def test_a_routed_bucket_that_is_nowhere_loses_its_route(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(scene.new_server, "alpha")
    await scene.call("POST", "/buckets/alpha/promote", {"pool_id": scene.new})
    async with scene.new_server.client() as client:
        for key in ("folder/0", "folder/1"):
            await client.delete("alpha", key)
        await client.delete_bucket("alpha")
        listing = discovery._buckets_on

        async def made_again(*args: Any) -> dict[int, frozenset[str]]:
            listed = await listing(*args)
            await client.create_bucket("alpha")
            return listed

        with monkeypatch.context() as patched:
            patched.setattr(discovery, "_buckets_on", made_again)
            assert "auto_unrouted" not in await scene.call("POST", "/buckets/sync")
        assert scene.room.flags() == {"s3.local/alpha": "new"}
        await client.delete_bucket("alpha")
    told = await scene.call("POST", "/buckets/sync")
    assert told["auto_unrouted"] == [
        {"bucket": "alpha", "action": "auto_unrouted", "target_member": "new"}
    ]
    assert scene.room.flags() == {}


async def test_a_route_made_before_its_bucket_stays_and_goes_when_the_bucket_went(
    scene: Scene,
) -> None:
    route = {"path_prefix": "/later/", "pool_id": scene.new}
    await scene.call("POST", "/routes", route, status=201)
    for _ in range(2):
        told = await scene.call("POST", "/buckets/sync")
        assert "auto_unrouted" not in told
        assert scene.room.flags() == {"s3.local/later": "new"}
    await fill(scene.new_server, "later", 0)
    await scene.call("POST", "/buckets/sync")
    assert await scene.statuses() == {"later": "routed"}
    async with scene.new_server.client() as client:
        await client.delete_bucket("later")
    assert (await scene.call("POST", "/buckets/sync"))["auto_unrouted"]
    assert await scene.statuses() == {"later": "deleted"}
    assert scene.room.flags() == {}
    await scene.call("POST", "/routes", route, status=201)
    assert "auto_unrouted" not in await scene.call("POST", "/buckets/sync")


async def test_a_bucket_missing_on_its_pool_but_on_the_default_keeps_its_route(
    scene: Scene,
) -> None:
    await fill(scene.old_server, "alpha")
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/alpha/promote", body)
    async with scene.new_server.client() as client:
        await client.delete_bucket("alpha")
    told = await scene.call("POST", "/buckets/sync")
    assert "auto_unrouted" not in told
    assert "alpha" in told["warnings"][0]
    assert scene.room.flags() == {"s3.local/alpha": "new"}


async def test_promote_hides_no_objects_unless_told_to(scene: Scene) -> None:
    await fill(scene.old_server, "full")
    await fill(scene.old_server, "empty", 0)
    refused = await scene.call("POST", "/buckets/full/promote", {"pool_id": scene.new}, status=400)
    assert "allow_orphan" in refused["detail"]
    assert scene.room.flags() == {}
    done = await scene.call("POST", "/buckets/empty/promote", {"pool_id": scene.new})
    assert (done["ok"], done["pool"], done["route"]) == (True, "new", "/empty/")
    assert done["migration_started"] is False
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/full/promote", body)
    await scene.call("POST", "/buckets/full/promote", body, status=409)
    assert scene.room.flags() == {"s3.local/empty": "new", "s3.local/full": "new"}
    assert await scene.statuses() == {"empty": "routed", "full": "routed"}


async def test_promote_refuses_what_makes_no_sense(scene: Scene) -> None:
    await fill(scene.old_server, "full")
    for body in ({"pool_id": 999}, {"pool_id": scene.old, "migrate": True}):
        await scene.call("POST", "/buckets/full/promote", body, status=400)
    await scene.call("POST", "/buckets/.bad/promote", {"pool_id": scene.new}, status=422)
    answer = await scene.room.call(
        "POST", "/vhosts/999/buckets/bkt/promote", {"pool_id": scene.new}
    )
    assert answer.status_code == 404


async def test_promote_with_migrate_keeps_the_source_until_the_switch(scene: Scene) -> None:
    await fill(scene.old_server, "full")
    done = await scene.call(
        "POST", "/buckets/full/promote", {"pool_id": scene.new, "migrate": True}
    )
    assert done["migration_started"] is True
    assert scene.room.flags() == {"s3.local/full": "old"}
    (shown,) = (await scene.call("GET", "/buckets"))["buckets"]
    assert (shown["status"], shown["migration_id"]) == ("migrating", done["migration_id"])
    await scene.call("DELETE", "/buckets/full/route", status=409)


async def test_leftovers_are_moved_only_when_the_target_is_empty(scene: Scene) -> None:
    await scene.call("POST", "/buckets/full/migrate", status=400)
    await fill(scene.old_server, "full")
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/full/promote", body)
    await fill(scene.new_server, "full", 1)
    await scene.call("POST", "/buckets/full/migrate", status=409)
    async with scene.new_server.client() as client:
        await client.delete("full", "folder/0")
    done = await scene.call("POST", "/buckets/full/migrate")
    assert (done["ok"], done["bucket"]) == (True, "full")
    assert scene.room.flags() == {"s3.local/full": "old"}


async def test_an_ignored_bucket_stays_ignored_and_a_routed_one_is_not(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.call("POST", "/buckets/alpha/ignore", status=404)
    await scene.call("POST", "/buckets/sync")
    told = await scene.call("POST", "/buckets/alpha/ignore")
    assert told == {"ok": True, "bucket": "alpha", "status": "ignored"}
    await scene.call("POST", "/buckets/sync")
    assert await scene.statuses() == {"alpha": "ignored"}
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/alpha/promote", body)
    await scene.call("POST", "/buckets/alpha/ignore", status=400)
    told = await scene.call("DELETE", "/buckets/alpha/route")
    assert told == {"ok": True, "bucket": "alpha", "route_removed": "/alpha/"}
    await scene.call("DELETE", "/buckets/alpha/route", status=404)


async def test_the_status_of_a_bucket_follows_its_route_without_a_discovery(scene: Scene) -> None:
    await fill(scene.old_server, "alpha")
    await scene.call("POST", "/buckets/sync")
    route = await scene.call(
        "POST", "/routes", {"path_prefix": "/alpha/", "pool_id": scene.new}, status=201
    )
    assert await scene.statuses() == {"alpha": "routed"}
    async with scene.room.services.database.write(SYSTEM) as work:  # as a migration leaves it
        (row,) = (await work.session.scalars(select(BucketRow))).all()
        row.status = "migrating"
    assert await scene.statuses() == {"alpha": "routed"}
    purged = await scene.call("POST", "/buckets/alpha/purge-orphan", {"confirm": "alpha"})
    assert purged["deleted"] == 2
    await scene.room.call("DELETE", f"/vhosts/{scene.vhost}/routes/{route['id']}")
    assert await scene.statuses() == {"alpha": "unrouted"}


async def test_a_discovery_with_nobody_to_ask_says_that_it_was_skipped(scene: Scene) -> None:
    bare = await scene.room.vhost(None, "bare.local")
    told = (await scene.room.call("POST", f"/vhosts/{bare}/buckets/sync")).json()
    assert (told["vhost_id"], told["skipped"]) == (bare, True)
    assert "default_pool_id" in told["reason"]
    (member,) = (await scene.room.call("GET", f"/pools/{scene.old}/members")).json()
    await scene.room.ok("PUT", f"/pools/{scene.old}/members/{member['id']}", enabled=False)
    told = await scene.call("POST", "/buckets/sync")
    assert told["skipped"] is True
    assert "no enabled members" in told["reason"]


async def test_the_buckets_of_a_pool_are_told_with_who_reaches_them(scene: Scene) -> None:
    for name in ("by-default", "bkt"):
        await fill(scene.old_server, name)
    await fill(scene.old_server, "here", 1)
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/bkt/promote", body)
    await scene.call("POST", "/buckets/here/promote", {"pool_id": scene.old})
    shown = await scene.on_pool("/status")
    assert (shown["pool_name"], shown["member_address"]) == ("old", scene.old_server.address)
    found = {bucket["bucket"]: bucket["status"] for bucket in shown["buckets"]}
    assert list(found.items()) == [
        ("bkt", "orphaned"),
        ("by-default", "via_default"),
        ("here", "routed"),
    ]
    assert shown["all_vhosts"] == [{"id": scene.vhost, "server_name": "s3.local"}]
    keys_ = await scene.on_pool("/here/objects")
    assert (keys_["objects"], keys_["count"]) == (["folder/0"], 1)
    await scene.old_server.kill()
    await scene.on_pool("/status", status=502)


async def test_bucket_routes_over_an_http_pool(scene: Scene) -> None:
    room = scene.room
    await scene.call("GET", "/http-bucket-routes", status=400)
    web = await room.pool("web", type="http", source_nanio_pool_id=scene.old)
    host = await room.vhost(web, "web.local")
    await scene.call("POST", "/buckets/linked/promote", {"pool_id": scene.old})
    path = f"/vhosts/{host}/http-bucket-routes"
    made = await room.ok("POST", f"{path}/linked", 201)
    assert made == {"ok": True, "bucket": "linked", "route": "/linked/", "pool_id": web}
    assert (await room.call("POST", f"{path}/linked")).status_code == 409
    shown = await room.ok("GET", path)
    assert (shown["source_nanio_pool_id"], shown["source_nanio_pool_name"]) == (scene.old, "old")
    assert [(r["bucket"], r["pool_name"]) for r in shown["routes"]] == [("linked", "web")]
    assert shown["linked_nanio_buckets"] == [{"bucket": "linked", "has_route": True}]
    gone = await room.ok("DELETE", f"{path}/linked")
    assert gone == {"ok": True, "bucket": "linked", "route_removed": "/linked/"}
    assert (await room.call("DELETE", f"{path}/linked")).status_code == 404
    assert (await room.ok("POST", f"/vhosts/{host}/buckets/sync"))["skipped"] is True
    async with room.services.database.read() as session:
        assert not list(await session.scalars(select(BucketRow).where(BucketRow.vhost_id == host)))

"""Copies that nobody reaches: listed, and purged when their name is typed; never a live one."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from holdfast.gateway.service import orphans
from holdfast.gateway.tables import RouteRow
from holdfast.kernel.errors import Conflict
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.work import SYSTEM
from tests.gateway.scene import Scene, fill, keys
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = pytest.mark.real


async def an_orphan(scene: Scene, objects: int = 2) -> None:
    await fill(scene.old_server, "bkt", objects)
    body = {"pool_id": scene.new, "allow_orphan": True}
    await scene.call("POST", "/buckets/bkt/promote", body)


async def test_an_orphan_is_listed_and_purged_when_its_name_is_typed(scene: Scene) -> None:
    await an_orphan(scene)
    await fill(scene.new_server, "bkt", 1)
    shown = await scene.call("GET", "/buckets/orphans")
    assert shown["checked"] == 1
    assert [(o["bucket"], o["objects"]) for o in shown["orphans"]] == [("bkt", 2)]
    for body in (None, {"confirm": "bucket"}):
        await scene.call("POST", "/buckets/bkt/purge-orphan", body, status=422)
    tried = await scene.call("POST", "/buckets/bkt/purge-orphan", dry_run="true")
    assert (tried["total"], tried["deleted"], tried["dry_run"]) == (2, 0, True)
    assert await keys(scene.old_server, "bkt") == 2
    done = await scene.call("POST", "/buckets/bkt/purge-orphan", {"confirm": "bkt"})
    assert (done["ok"], done["deleted"], done["errors"]) == (True, 2, [])
    assert (await keys(scene.old_server, "bkt"), await keys(scene.new_server, "bkt")) == (0, 1)
    assert (await scene.call("GET", "/buckets/orphans"))["orphans"] == []


async def test_a_copy_that_clients_reach_is_never_purged(scene: Scene, echo_one: str) -> None:
    room, purge = scene.room, "/bkt/purge"
    await an_orphan(scene)
    shared = await room.pool("shared", scene.old_server.address)
    over = await room.pool("over", "127.0.0.1:9", type="http", source_nanio_pool_id=scene.old)
    web, named = await room.pool("web", type="http"), await room.pool("named", "127.0.0.1:9")
    keys_of_old = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    there = {**keys_of_old, "endpoint_url": f"http://{scene.old_server.address}/"}
    assert (await room.call("PUT", f"/pools/{named}/credentials", there)).status_code == 200
    reached_by: list[tuple[str, Any]] = [
        ("a route of another vhost", {"route": ("/bkt/", scene.old)}),
        ("a disabled route", {"route": ("/bkt/", scene.old, {"enabled": False})}),
        ("a pool on the same server", {"route": ("/bkt/", shared)}),
        ("a path below it", {"route": ("/bkt/deep/", scene.old)}),
        ("a key prefix in it", {"route": ("/other/", scene.old, {"key_prefix": "bkt/x"})}),
        ("a default pool", {"default": scene.old}),
        ("a default pool on the same server", {"default": shared}),
        ("a path below it on the same server", {"route": ("/bkt/deep/", shared)}),
        ("a pool whose keys name its server", {"route": ("/bkt/", named)}),
        ("a path into an http pool over it", {"default": web, "route": ("/bkt/deep/", over)}),
        ("a route to an http pool over it", {"default": web, "route": ("/bkt/", over)}),
        ("an http pool over it as the default", {"default": over}),
    ]
    elsewhere = await room.pool("elsewhere", echo_one)
    for what, how in reached_by:
        vhost = await room.vhost(how.get("default", elsewhere), "other.local")
        if "route" in how:
            prefix, pool, *fields = how["route"]
            await room.route(vhost, prefix, pool, **(fields[0] if fields else {}))
        refused = await scene.on_pool(purge, {"confirm": "bkt"}, status=409)
        assert "live" in refused["detail"], what
        await room.ok("DELETE", f"/vhosts/{vhost}", 204)
    assert await keys(scene.old_server, "bkt") == 2
    assert (await scene.on_pool(purge, {"confirm": "bkt"}))["deleted"] == 2


async def test_a_purge_stops_when_the_copy_becomes_live(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await an_orphan(scene, 3)
    delete_many = S3Client.delete_many
    first = asyncio.Event()

    async def slow(self: S3Client, bucket: str, names: list[str]) -> dict[str, str]:
        if not first.is_set():
            first.set()
            async with scene.room.services.database.write(SYSTEM) as work:
                query = select(RouteRow).where(RouteRow.bucket == "bkt")
                route = (await work.session.scalars(query)).one()
                route.pool_id = scene.old
            return await delete_many(self, bucket, names[:1])
        return await delete_many(self, bucket, names)

    monkeypatch.setattr(S3Client, "delete_many", slow)
    with pytest.raises(Conflict):
        await orphans.purge_copy(
            scene.room.services,
            SYSTEM,
            scene.old,
            "bkt",
            confirm="bkt",
            dry_run=False,
            action="purge_orphan",
        )
    assert await keys(scene.old_server, "bkt") == 2


async def test_the_default_pool_serves_a_bucket_whose_route_is_disabled(
    quick_scene: Scene,
) -> None:
    await an_orphan(quick_scene)
    path = f"/vhosts/{quick_scene.vhost}/routes"
    routes = await quick_scene.room.ok("GET", path)
    own = next(route for route in routes if route["path_prefix"] == "/bkt/")
    await quick_scene.room.ok("PUT", f"{path}/{own['id']}", enabled=False)
    assert (await quick_scene.call("GET", "/buckets/orphans"))["orphans"] == []


async def test_only_what_was_routed_away_is_an_orphan(scene: Scene) -> None:
    await fill(scene.old_server, "bkt")
    await scene.call("POST", "/buckets/sync")
    body = {"confirm": "bkt"}
    await scene.call("POST", "/buckets/bkt/purge-orphan", body, status=400)
    await scene.on_pool("/bkt/purge", body, status=409)
    assert await keys(scene.old_server, "bkt") == 2

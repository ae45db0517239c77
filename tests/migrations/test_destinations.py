"""A destination that has the bucket already: what is refused at once, and what goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.demo.fleet import NEW, OLD
from holdfast.kernel.ports import free_port
from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


async def put_theirs(site: Site, bucket: str, key: str = "theirs", body: bytes = b"y") -> None:
    async with site.s3(NEW) as client:
        await client.create_bucket(bucket)
        await client.put(bucket, key, body)


async def test_a_bucket_that_is_on_the_destination_is_refused_at_once(site: Site) -> None:
    await site.fill("foreign")
    await put_theirs(site, "foreign")
    answer = await site.post("foreign")
    assert answer.status_code == 409, answer.text
    refused = answer.json()
    assert "new-disks" in refused["detail"]
    assert "dry_run" in refused["hint"]
    assert '{"confirm": "foreign"}' in refused["hint"]
    started = (await site.api.get("/api/migrations?limit=500")).json()
    assert "foreign" not in {row["bucket"] for row in started}
    async with site.s3(NEW) as client:
        assert (await client.read("foreign", "theirs"))[1] == b"y"


async def test_it_is_replaced_when_its_name_is_typed(site: Site) -> None:
    await site.fill("typed")
    await put_theirs(site, "typed")
    forced = await site.wait((await site.post("typed", confirm="typed")).json()["id"])
    assert forced["phase"] == "done", forced["error_msg"]
    async with site.s3(NEW) as client:
        assert (await client.totals("typed")).objects == 3


async def test_an_equal_copy_of_somebody_else_is_refused_and_planned_as_a_conflict(
    site: Site,
) -> None:
    await site.fill("same", objects=1)
    await put_theirs(site, "same", "k0", b"x" * 10)
    assert (await site.post("same")).status_code == 409
    assert (await site.plan("same"))["conflicts"]


async def test_a_bucket_without_objects_on_the_destination_is_no_obstacle(site: Site) -> None:
    await site.fill("made")
    async with site.s3(NEW) as client:
        await client.create_bucket("made")
    assert (await site.plan("made"))["conflicts"] == []
    assert (await site.wait((await site.post("made")).json()["id"]))["phase"] == "done"


async def test_sync_goes_on_with_equal_copies_of_whomever(site: Site) -> None:
    await site.fill("synced")
    await put_theirs(site, "synced", "k0", b"x" * 10)
    assert (await site.plan("synced", mode="sync"))["conflicts"] == []
    answer = await site.post("synced", mode="sync")
    assert answer.status_code == 201, answer.text
    assert (await site.wait(answer.json()["id"]))["phase"] == "done"


@pytest.mark.parametrize(("bucket", "key"), [("differs", "k0"), ("extra", "only-there")])
async def test_sync_overwrites_and_deletes_only_what_was_confirmed(
    site: Site, bucket: str, key: str
) -> None:
    await site.fill(bucket)
    await put_theirs(site, bucket, key, b"other")
    refused = await site.post(bucket, mode="sync")
    assert refused.status_code == 409, refused.text
    assert f'{{"confirm": "{bucket}"}}' in refused.json()["hint"]
    assert (await site.plan(bucket, mode="sync"))["conflicts"]
    async with site.s3(NEW) as client:
        assert (await client.read(bucket, key))[1] == b"other"
    answer = await site.post(bucket, mode="sync", confirm=bucket)
    assert answer.status_code == 201, answer.text
    assert (await site.wait(answer.json()["id"]))["phase"] == "done"
    async with site.s3(NEW) as client:
        assert (await client.totals(bucket)).objects == 3


async def test_sync_back_to_the_old_source_loses_nothing_unasked(site: Site) -> None:
    await site.moved("there")
    async with site.s3(OLD) as client:
        await client.put("there", "k0", b"the only one")
    back = {"src_pool_id": site.ids[NEW], "dst_pool_id": site.ids[OLD], "mode": "sync"}
    assert (await site.post("there", **back)).status_code == 409
    async with site.s3(OLD) as client:
        assert (await client.read("there", "k0"))[1] == b"the only one"
        await client.put("there", "k0", b"x" * 10)
    answer = await site.post("there", **back)
    assert answer.status_code == 201, answer.text
    assert (await site.wait(answer.json()["id"]))["phase"] == "done"


async def route_of(site: Site, bucket: str) -> tuple[int, dict[str, Any] | None]:
    (vhost, *_) = (await site.api.get("/api/vhosts")).json()
    routes = (await site.api.get(f"/api/vhosts/{vhost['id']}/routes")).json()
    found = [route for route in routes if route["path_prefix"] == f"/{bucket}/"]
    return vhost["id"], found[0] if found else None


async def test_promote_with_a_move_is_refused_before_it_makes_a_route(site: Site) -> None:
    await site.fill("promoted")
    await put_theirs(site, "promoted")
    vhost, _ = await route_of(site, "promoted")
    path = f"/api/vhosts/{vhost}/buckets/promoted/promote"
    body = {"pool_id": site.ids[NEW], "migrate": True}
    refused = await site.api.post(path, json=body)
    assert refused.status_code == 409, refused.text
    assert refused.json()["detail"] == (await site.post("promoted")).json()["detail"]
    assert (await route_of(site, "promoted"))[1] is None
    async with site.s3(NEW) as client:
        await client.delete("promoted", "theirs")
    done = await site.api.post(path, json=body)
    assert done.status_code == 200, done.text
    assert (await site.wait(done.json()["migration_id"]))["phase"] == "done"


async def test_a_route_to_a_pool_with_other_objects_is_not_moved_there(site: Site) -> None:
    await site.fill("rerouted")
    await put_theirs(site, "rerouted")
    vhost, _ = await route_of(site, "rerouted")
    routes = f"/api/vhosts/{vhost}/routes"
    own = {"path_prefix": "/rerouted/", "pool_id": site.ids[OLD]}
    route = (await site.api.post(routes, json=own)).json()["id"]
    to_new = {"pool_id": site.ids[NEW]}
    refused = await site.api.put(f"{routes}/{route}", json=to_new)
    assert refused.status_code == 409, refused.text
    assert "'new-disks' already and is not empty" in refused.json()["detail"]
    operation = {"op": "update", "kind": "route", "id": route, "vhost_id": vhost, **to_new}
    batch = await site.api.post("/api/config/batch", json={"operations": [operation]})
    assert batch.status_code == 409, batch.text
    assert (await site.api.get(f"{routes}/{route}")).json()["pool_id"] == site.ids[OLD]
    async with site.s3(NEW) as client:
        await client.delete("rerouted", "theirs")
    moving = await site.api.put(f"{routes}/{route}", json=to_new)
    assert moving.status_code == 200, moving.text
    assert (await site.wait(moving.json()["migration_id"]))["phase"] == "done"


async def test_what_a_cancelled_move_left_is_gone_on_with(site: Site) -> None:
    await site.fill("again", objects=20, size=2000)
    first = (await site.post("again", bandwidth_limit="8K", transfers=1)).json()["id"]
    await site.until(first, lambda found: found["objects_done"] > 1)
    await site.api.post(f"/api/migrations/{first}/cancel")
    assert (await site.wait(first))["phase"] == "cancelled"
    record = Path(site.fleet.directory) / f"holdfast/migrations/migration-{first}.state.json"
    assert json.loads(record.read_text())["status"] == "cancelled", "a rebuild knows what it left"
    async with site.s3(OLD) as client:
        await client.delete("again", "k0")
    async with site.s3(NEW) as client:
        assert (await client.totals("again")).objects > 0
    assert (await site.plan("again"))["conflicts"] == []
    moved = await site.wait((await site.post("again")).json()["id"])
    assert moved["phase"] == "done", moved["error_msg"]
    async with site.s3(NEW) as client:
        assert (await client.totals("again")).objects == 19


async def test_the_copy_that_a_finished_move_left_is_not_overwritten_unasked(site: Site) -> None:
    await site.moved("return")
    back = {"src_pool_id": site.ids[NEW], "dst_pool_id": site.ids[OLD]}
    assert (await site.post("return", **back)).status_code == 409
    assert (await site.plan("return", **back))["conflicts"]


async def test_a_move_that_was_stopped_by_its_checks_claims_nothing(site: Site) -> None:
    await site.fill("claimed")
    path = f"/api/pools/{site.ids[NEW]}/credentials"
    elsewhere = {"access_key": site.fleet.access_key, "secret_key": site.fleet.secret_key}
    assert (await site.api.put(path, json={**elsewhere, "region": "eu-1"})).status_code == 200
    try:
        stopped = (await site.post("claimed")).json()["id"]
        assert (await site.wait(stopped))["phase"] == "error"
    finally:
        await site.api.delete(path)
    await put_theirs(site, "claimed")
    assert (await site.post("claimed")).status_code == 409


async def test_a_destination_that_refuses_the_keys_is_told_at_the_start(site: Site) -> None:
    await site.fill("locked")
    path = f"/api/pools/{site.ids[NEW]}/credentials"
    wrong = {"access_key": "nobody", "secret_key": "nothing-at-all"}
    assert (await site.api.put(path, json=wrong)).status_code == 200
    try:
        answer = await site.post("locked", waive=["keys"])
        planned = await site.plan("locked", waive=["keys"])
    finally:
        await site.api.delete(path)
    assert answer.status_code == 409, answer.text
    assert "'new-disks' refuses bucket 'locked': InvalidAccessKeyId (403)" in answer.text
    assert "credentials" in answer.json()["hint"]
    assert any("InvalidAccessKeyId" in words for words in planned["conflicts"])


async def test_a_name_that_a_server_does_not_allow_is_told_at_the_start(site: Site) -> None:
    """It can have a route, as other servers may take it."""
    for call in ("/api/migrations", "/api/migrations?dry_run=true"):
        answer = await site.api.post(call, json=site.body("Old_Name"))
        assert answer.status_code == 409, answer.text
        assert "'old-disks' refuses bucket 'Old_Name': InvalidBucketName (400)" in answer.text


async def test_no_move_holds_writes_longer_than_nginx_lets_them_wait(site: Site) -> None:
    await site.fill("patient")
    refused = await site.post("patient", max_hold_seconds=30)
    assert refused.status_code == 422, refused.text
    assert "migration_max_hold_seconds, 5" in refused.json()["detail"]
    (shown,) = site.fleet.directory.rglob("live/http.conf")
    gate = shown.read_text().partition("location @hf_gate {")[2].partition("}")[0]
    assert "proxy_read_timeout 7s;" in gate


async def test_nothing_moves_that_only_a_disabled_vhost_serves(site: Site) -> None:
    await site.fill("shut")
    (vhost, *_) = (await site.api.get("/api/vhosts")).json()
    await site.api.post(
        f"/api/vhosts/{vhost['id']}/routes",
        json={"path_prefix": "/shut/", "pool_id": site.ids[NEW]},
    )
    own = {"server_name": "shut.localhost", "ssl": False, "enabled": False}
    own |= {"listen_port": vhost["listen_port"], "default_pool_id": site.ids[OLD]}
    shut = f"/api/vhosts/{(await site.api.post('/api/vhosts', json=own)).json()['id']}"
    route = {"path_prefix": "/shut/", "pool_id": site.ids[OLD]}
    made = f"{shut}/routes/{(await site.api.post(f'{shut}/routes', json=route)).json()['id']}"
    to_new = {"pool_id": site.ids[NEW]}
    try:
        refused = [await site.post("shut"), await site.api.put(made, json=to_new)]
        assert (await site.api.delete(made)).status_code == 204
        promote = f"{shut}/buckets/shut/promote"
        refused.append(await site.api.post(promote, json={**to_new, "migrate": True}))
        assert [answer.status_code for answer in refused] == [400, 400, 400], refused[0].text
        started = (await site.api.get("/api/migrations?limit=500")).json()
        assert "shut" not in {row["bucket"] for row in started}
    finally:
        assert (await site.api.delete(shut)).status_code == 204


async def test_nothing_moves_for_a_disabled_vhost_beside_one_that_serves(site: Site) -> None:
    await site.fill("beside")
    (vhost, *_) = (await site.api.get("/api/vhosts")).json()
    own = {"server_name": "beside.localhost", "ssl": False, "enabled": False}
    own |= {"listen_port": vhost["listen_port"], "default_pool_id": site.ids[OLD]}
    shut = f"/api/vhosts/{(await site.api.post('/api/vhosts', json=own)).json()['id']}"
    try:
        body = {"pool_id": site.ids[NEW], "migrate": True}
        refused = await site.api.post(f"{shut}/buckets/beside/promote", json=body)
        assert refused.status_code == 400, refused.text
        assert "No nginx route found for bucket 'beside'" in refused.json()["detail"]
    finally:
        assert (await site.api.delete(shut)).status_code == 204


@pytest.mark.parametrize("also", [{"enabled": False}, {"path_prefix": "/b/"}, {"key_prefix": "x"}])
async def test_a_route_that_begins_to_move_changes_nothing_else(
    site: Site, also: dict[str, Any]
) -> None:
    (name,) = also
    bucket = f"only-{name.replace('_', '-')}"
    await site.fill(bucket)
    vhost, _ = await route_of(site, bucket)
    own = {"path_prefix": f"/{bucket}/", "pool_id": site.ids[OLD]}
    made = (await site.api.post(f"/api/vhosts/{vhost}/routes", json=own)).json()
    path = f"/api/vhosts/{vhost}/routes/{made['id']}"
    before = (await site.api.get(path)).json()
    refused = await site.api.put(path, json={"pool_id": site.ids[NEW], **also})
    assert refused.status_code == 400, refused.text
    assert name in refused.json()["detail"]
    assert (await site.api.get(path)).json() == before


async def test_a_way_past_the_move_stops_it_unless_it_is_waived(site: Site) -> None:
    await site.fill("ways")
    routes = "/api/vhosts/1/routes"
    for prefix, keys in (("/near/", "ways-2/x"), ("/pics/", "ways"), ("/ways/2024/", None)):
        body = {"path_prefix": prefix, "key_prefix": keys, "pool_id": site.ids[OLD]}
        made = await site.api.post(routes, json=body)
        assert made.status_code == 201, made.text
        if prefix == "/near/":
            assert not (await site.plan("ways"))["conflicts"]
            continue
        path = f"{routes}/{made.json()['id']}"
        (conflict,) = (await site.plan("ways"))["conflicts"]
        assert prefix in conflict
        assert not (await site.plan("ways", waive=["ways"]))["conflicts"]
        refused = await site.post("ways")
        assert (refused.status_code, prefix in refused.json()["detail"]) == (409, True)
        assert (await site.api.put(path, json={"enabled": False})).status_code == 200
        assert not (await site.plan("ways"))["conflicts"]
    twin = (await site.api.post("/api/pools", json={"name": "twin"})).json()["id"]
    server = {"address": f"127.0.0.1:{site.fleet.pools[OLD]}"}
    assert (await site.api.post(f"/api/pools/{twin}/members", json=server)).status_code == 201
    vhost = {"server_name": "twin.local", "listen_port": free_port(), "ssl": False}
    made = await site.api.post("/api/vhosts", json={**vhost, "default_pool_id": site.ids[NEW]})
    assert made.status_code == 201, made.text
    planned = await site.plan("ways")
    assert any("'twin.local' serves the destination by default" in w for w in planned["warnings"])
    path = f"/api/vhosts/{made.json()['id']}"
    body = {"path_prefix": "/ways/", "pool_id": site.ids[NEW]}
    route = (await site.api.post(f"{path}/routes", json=body)).json()["id"]
    assert "has a route of the bucket to the destination" in (await site.post("ways")).text
    assert (await site.api.delete(f"{path}/routes/{route}")).status_code == 204
    assert (await site.api.put(path, json={"default_pool_id": twin})).status_code == 200
    refused = await site.post("ways")
    assert (refused.status_code, "'twin'" in refused.json()["detail"]) == (409, True)
    waived = await site.post("ways", waive=["ways"])
    assert waived.status_code == 201, waived.text
    assert (await site.wait(waived.json()["id"]))["phase"] == "done"
    assert (await site.api.delete(path)).status_code == 204


async def test_a_vhost_whose_ip_rules_keep_this_machine_out_is_moved_with_the_others(
    site: Site,
) -> None:
    await site.fill("walled")
    vhost = {"server_name": "walled.local", "listen_port": free_port(), "ssl": False}
    vhost |= {"default_pool_id": site.ids[OLD], "extra_directives": "deny all;"}
    made = await site.api.post("/api/vhosts", json=vhost)
    assert made.status_code == 201, made.text
    path = f"/api/vhosts/{made.json()['id']}"
    (conflict,) = (await site.plan("walled"))["conflicts"]
    assert "'walled.local' keeps this machine out (403)" in conflict
    assert not (await site.plan("walled", waive=["canary"]))["conflicts"]
    stopped = await site.wait((await site.post("walled")).json()["id"])
    assert (stopped["phase"], "canary" in stopped["error_msg"]) == ("error", True)
    rules = {"extra_directives": "", "ip_rule_mode": "allow", "ip_rule_ips": ["10.1.2.3"]}
    assert (await site.api.put(path, json=rules)).status_code == 200
    assert not (await site.plan("walled"))["conflicts"]
    begun = (await site.post("walled")).json()
    done = await site.wait(begun["id"])
    assert (done["phase"], len(done["vhosts"])) == ("done", 2), done
    assert done["holds"][-1]["result"] == "switched"
    assert (await site.api.delete(path)).status_code == 204

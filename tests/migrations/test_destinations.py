"""A destination that has the bucket already: what is refused at once, and what goes on."""

import pytest

from holdfast.demo.fleet import NEW, OLD
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


async def test_sync_overwrites_without_asking_but_does_not_delete(site: Site) -> None:
    await site.fill("synced")
    await put_theirs(site, "synced", "k0", b"older")
    answer = await site.post("synced", mode="sync")
    assert answer.status_code == 201, answer.text
    assert (await site.wait(answer.json()["id"]))["phase"] == "done"


async def test_what_a_cancelled_move_left_is_gone_on_with(site: Site) -> None:
    await site.fill("again", objects=20, size=2000)
    first = (await site.post("again", bandwidth_limit="8K", transfers=1)).json()["id"]
    await site.until(first, lambda found: found["objects_done"] > 1)
    await site.api.post(f"/api/migrations/{first}/cancel")
    assert (await site.wait(first))["phase"] == "cancelled"
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
    await put_theirs(site, "claimed")
    stopped = (await site.post("claimed", mode="sync")).json()["id"]
    assert (await site.wait(stopped))["phase"] == "error"
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

"""A move in mode ``sync``, under load, whose destination is killed on the way."""

import asyncio

import pytest

from holdfast.demo.fleet import NEW
from holdfast.demo.traffic import Traffic
from holdfast.demo.wire import Wire
from tests.migrations.clients import LIGHT
from tests.migrations.site import Site

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
OBJECTS, SIZE = 300, 20_000


async def keys_of(site: Site, pool: str, bucket: str) -> dict[str, str]:
    async with site.s3(pool) as client:
        return {o.key: o.etag async for page in client.list_objects(bucket) for o in page}


async def test_sync_ends_equal_though_its_destination_was_killed_under_load(site: Site) -> None:
    await site.fill("mirror", objects=OBJECTS, size=SIZE)
    async with site.s3(NEW) as client:
        await client.create_bucket("mirror")
        await client.put("mirror", "k0", b"older")
        await client.put("mirror", "only-here", b"theirs")
    assert any("only" in words for words in (await site.plan("mirror", mode="sync"))["conflicts"])
    fleet = site.fleet
    async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:
        traffic = Traffic(wire, "mirror", LIGHT, prefix="live/")
        load = asyncio.create_task(traffic.run())
        try:
            wanted = {"mode": "sync", "confirm": "mirror", "transfers": 3}
            answer = await site.post("mirror", **wanted)
            assert answer.status_code == 201, answer.text
            identifier = answer.json()["id"]
            await site.until(identifier, lambda found: found["objects_done"] > 2)
            destination = fleet.programs[NEW]
            await destination.kill()
            waits = await site.until(identifier, lambda found: bool(found["error_msg"]))
            assert waits["phase"] not in {"error", "done"}
            assert "waiting" in waits["error_msg"]
            await destination.start()
            moved = await site.wait(identifier)
        finally:
            traffic.stop()
            await load
        assert moved["phase"] == "done", moved["error_msg"]
        expected = {f"k{number}": b"x" * SIZE for number in range(OBJECTS)}
        await traffic.audit({})
        assert traffic.tally.clean, traffic.tally.examples
    there = await keys_of(site, NEW, "mirror")
    assert "only-here" not in there
    assert expected.keys() <= there.keys()
    async with site.s3(NEW) as client:
        for key, content in expected.items():
            assert (await client.read("mirror", key))[1] == content

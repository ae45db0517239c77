"""Buckets of a pool, as the API answers about them; on a real S3 server."""

from pathlib import Path

import pytest

from holdfast.gateway.service import pool_buckets
from tests.gateway.room import Room
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, nanio_server

pytestmark = pytest.mark.real


async def test_a_purge_on_a_pool_that_is_not_there_is_not_found(quick_room: Room) -> None:
    await quick_room.ok("POST", "/pools/999/buckets/bkt/purge", 404, confirm="bkt")


async def test_a_listing_of_keys_that_is_cut_says_so(
    quick_room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nanio_server(tmp_path / "s3") as server:
        pool = await quick_room.pool("one", server.address)
        path = f"/pools/{pool}/credentials"
        await quick_room.ok("PUT", path, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        async with server.client() as client:
            await client.create_bucket("bkt")
            for number in range(3):
                await client.put("bkt", f"folder/{number}", b"content")
        whole = await quick_room.ok("GET", f"/pools/{pool}/buckets/bkt/objects")
        assert (whole["count"], whole["truncated"]) == (3, False)
        monkeypatch.setattr(pool_buckets, "MOST_KEYS", 2)
        cut = await quick_room.ok("GET", f"/pools/{pool}/buckets/bkt/objects")
        assert (len(cut["objects"]), cut["count"], cut["truncated"]) == (2, 2, True)

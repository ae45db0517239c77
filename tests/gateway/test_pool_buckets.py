"""Buckets of a pool, as the API answers about them; on a real S3 server."""

import shutil
from pathlib import Path

import pytest

from holdfast.gateway.service import pool_buckets
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.service.pools import get_pool
from tests.gateway.room import Room, open_room
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


async def test_a_pool_is_asked_with_the_limit_of_the_settings(
    sqlite_template: Path, tmp_path: Path
) -> None:
    path = shutil.copy(sqlite_template, tmp_path / "holdfast.db")
    url = f"sqlite+aiosqlite:///{path}"
    async with open_room(url, tmp_path, running=False, s3_request_timeout_seconds=7) as room:
        pool_id = await room.pool("one", "127.0.0.1:1")
        async with room.services.database.read() as session:
            client = await s3_for_pool(room.gateway, session, await get_pool(session, pool_id))
        assert client.request_seconds == 7

"""A vhost over two real S3 servers, and migrations beside the gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import holdfast.migrations.service
from tests.gateway.room import Json, Room
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, nanio_server, two_servers


@dataclass(slots=True)
class Scene:
    """A vhost whose default pool is ``old``, beside a pool ``new``."""

    room: Room
    old_server: S3Server
    new_server: S3Server
    old: int
    new: int
    vhost: int

    async def call(
        self, method: str, path: str, body: Json = None, *, status: int = 200, **query: Json
    ) -> Json:
        """A call about the vhost's buckets."""
        path = f"/vhosts/{self.vhost}{path}"
        answer = await self.room.call(method, path, body, **query)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def on_pool(self, path: str, body: Json = None, *, status: int = 200) -> Json:
        """A call about the old pool's buckets."""
        method = "GET" if body is None else "POST"
        path = f"/pools/{self.old}/buckets{path}"
        answer = await self.room.call(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def statuses(self) -> dict[str, str]:
        shown = await self.call("GET", "/buckets")
        return {bucket["name"]: bucket["status"] for bucket in shown["buckets"]}


async def fill(server: S3Server, bucket: str, objects: int = 2) -> None:
    async with server.client() as client:
        await client.create_bucket(bucket)
        for number in range(objects):
            await client.put(bucket, f"folder/{number}", b"content")


async def keys(server: S3Server, bucket: str) -> int:
    async with server.client() as client:
        return (await client.totals(bucket)).objects


@asynccontextmanager
async def open_scene(room: Room, directory: Path) -> AsyncIterator[Scene]:
    async with two_servers(directory / "s3", nanio_server, nanio_server) as (old, new):
        pools = {}
        for name, server in (("old", old), ("new", new)):
            pools[name] = await room.pool(name, server.address)
            path = f"/pools/{pools[name]}/credentials"
            await room.ok("PUT", path, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        vhost = await room.vhost(pools["old"])
        holdfast.migrations.service.build_migrations(room.services)
        yield Scene(room, old, new, pools["old"], pools["new"], vhost)

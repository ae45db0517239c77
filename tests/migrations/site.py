"""A running server with two real pools and a real nginx, one for all tests of a file."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from holdfast.demo.fleet import NEW, OLD, Fleet
from holdfast.kernel.stores.s3.client import S3Client

OVER = {"done", "error", "cancelled"}
LIMIT_SECONDS = 120.0


@dataclass
class Site:
    fleet: Fleet
    api: httpx.AsyncClient
    ids: dict[str, int]

    async def fill(self, bucket: str, objects: int = 3, size: int = 10) -> None:
        async with self.s3(OLD) as client:
            await client.create_bucket(bucket)
            for number in range(objects):
                await client.put(bucket, f"k{number}", b"x" * size)

    def s3(self, pool: str) -> S3Client:
        fleet = self.fleet
        return S3Client(fleet.pool_url(pool), fleet.access_key, fleet.secret_key)

    def body(self, bucket: str, **more: Any) -> dict[str, Any]:
        return {
            "bucket": bucket,
            "src_pool_id": self.ids[OLD],
            "dst_pool_id": self.ids[NEW],
            "probation_seconds": 0.2,
            **more,
        }

    async def post(self, bucket: str, **more: Any) -> httpx.Response:
        return await self.api.post("/api/migrations", json=self.body(bucket, **more))

    async def plan(self, bucket: str, **more: Any) -> dict[str, Any]:
        answer = await self.api.post("/api/migrations?dry_run=true", json=self.body(bucket, **more))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def wait(self, identifier: int, *phases: str) -> dict[str, Any]:
        return await self.until(identifier, lambda found: found["phase"] in (phases or OVER))

    async def until(
        self, identifier: int, reached: Callable[[dict[str, Any]], bool]
    ) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                found: dict[str, Any] = (await self.api.get(f"/api/migrations/{identifier}")).json()
                if reached(found):
                    return found
                await asyncio.sleep(0.05)

    async def moved(self, bucket: str) -> dict[str, Any]:
        await self.fill(bucket)
        answer = await self.post(bucket)
        assert answer.status_code == 201, answer.text
        found = await self.wait(answer.json()["id"])
        assert found["phase"] == "done", found
        return found

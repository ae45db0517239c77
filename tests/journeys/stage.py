"""What every journey needs: a fleet with a filled bucket, busy clients, and a move to watch."""

import asyncio
import contextlib
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.demo.fleet import BUCKET, NEW, OLD, Fleet, running_fleet
from holdfast.demo.history import Fault
from holdfast.demo.traffic import Load, Tally, Traffic
from holdfast.demo.wire import Wire
from holdfast.kernel.stores.s3.client import S3Client

LIMIT_SECONDS = 200.0
TERMINAL = {"done", "error", "cancelled"}
LIGHT = Load(
    writers=4, readers=2, uploaders=1, slow_writers=1, pause_seconds=0.12, part_bytes=65_536
)

SLOWLY: Mapping[str, object] = {"bandwidth_limit": "200K", "transfers": 4}


def as_sdks_do() -> Load:
    """Clients that take SlowDown for an answer and try again, as every SDK does.

    With nobody there to finish an upload that was begun before the switch, its end gets one
    (docs/explanation/live-migration.md).
    """
    return dataclasses.replace(LIGHT, tolerate_slow_down=True)


@dataclass(slots=True)
class Stage:
    """A fleet, what is in its bucket, and the pools' ids."""

    fleet: Fleet
    api: httpx.AsyncClient
    expected: dict[str, str]
    pools: dict[str, int]

    async def start_move(self, **options: object) -> int:
        """Begin to move the bucket from the old pool to the new one."""
        body = {
            "bucket": BUCKET,
            "src_pool_id": self.pools[OLD],
            "dst_pool_id": self.pools[NEW],
            "probation_seconds": 0.5,
            "upload_idle_seconds": 5,
            **options,
        }
        answer = await self.api.post("/api/migrations", json=body)
        assert answer.status_code == 201, answer.text
        identifier: int = answer.json()["id"]
        return identifier

    async def migration(self, identifier: int) -> dict[str, Any]:
        """The migration now."""
        answer = await self.api.get(f"/api/migrations/{identifier}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    async def log(self, identifier: int) -> list[str]:
        """What the migration has told, newest first."""
        answer = await self.api.get(f"/api/migrations/{identifier}/log")
        return [line["message"] for line in answer.json()]

    async def wait(
        self,
        identifier: int,
        reached: Callable[[dict[str, Any]], bool],
        *,
        every_seconds: float = 0.02,
    ) -> dict[str, Any]:
        """Poll until the migration is as wished, or over; the server may be away meanwhile.

        A phase may be short; but who only waits for the end need not ask often.
        """
        ends = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < ends:
            with contextlib.suppress(httpx.TransportError):
                found = await self.migration(identifier)
                if reached(found) or found["phase"] in TERMINAL:
                    return found
            await asyncio.sleep(every_seconds)
        told = await self.log(identifier)
        pytest.fail(
            f"not as wished after {LIMIT_SECONDS:g} s: {await self.migration(identifier)}, {told}"
        )

    async def wait_over(self, identifier: int) -> dict[str, Any]:
        """Poll until the migration is over."""
        return await self.wait(identifier, lambda _: False, every_seconds=0.25)

    async def objects(self, pool: str) -> dict[str, str]:
        """Keys and ETags that a pool itself has."""
        fleet = self.fleet
        found: dict[str, str] = {}
        async with S3Client(fleet.pool_url(pool), fleet.access_key, fleet.secret_key) as s3:
            async for page in s3.list_objects(BUCKET, by_folder=True):
                found |= {listed.key: listed.etag for listed in page}
        return found

    async def flag(self) -> str:
        """The bucket's routing flag: state and pools, without epoch and port."""
        link = self.fleet.directory / "nginx/routes/s3.localhost" / BUCKET / "cur"
        try:
            target = await asyncio.to_thread(link.readlink)
        except FileNotFoundError:
            return ""
        return ".".join(target.name.split(".")[1:])

    async def until_flag(self, state: str) -> None:
        """Poll until the bucket's flag is in this state."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not (await self.flag()).startswith(f"{state}."):
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def staged(
    directory: Path, *, objects: int = 300, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Stage]:
    """A running fleet whose bucket has this many objects."""
    async with running_fleet(directory, settings) as fleet, fleet.api() as api:
        pools = {pool["name"]: pool["id"] for pool in (await api.get("/api/pools")).json()}
        yield Stage(fleet, api, await _fill(fleet, objects), pools)


async def judged(
    stage: Stage, drive: Callable[[], Awaitable[None]], *, load: Load = LIGHT
) -> Tally:
    """What clients saw while ``drive`` ran, with an audit of every key in the end."""
    fleet = stage.fleet
    async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:
        traffic = Traffic(wire, BUCKET, load)
        clients = asyncio.create_task(traffic.run())
        try:
            await _until_busy(traffic)
            await drive()
        finally:
            traffic.stop()
            await clients
        await traffic.audit(stage.expected)
    return traffic.tally


def faults(tally: Tally, *, but: frozenset[Fault] = frozenset()) -> dict[Fault, list[str]]:
    """What must be empty: the faults with examples."""
    return {fault: words for fault, words in tally.examples.items() if fault not in but}


async def _until_busy(traffic: Traffic) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while traffic.tally.total < 50:
            await asyncio.sleep(0.02)


async def _fill(fleet: Fleet, objects: int) -> dict[str, str]:
    etags: dict[str, str] = {}
    places = asyncio.Semaphore(16)
    async with S3Client(fleet.s3_url, fleet.access_key, fleet.secret_key) as s3:
        await s3.create_bucket(BUCKET)

        async def put(number: int) -> None:
            key = f"cold/{number % 5}/{number:05d}"
            async with places:
                etags[key] = await s3.put(BUCKET, key, os.urandom(300 + number))

        async with asyncio.TaskGroup() as group:
            for number in range(objects):
                group.create_task(put(number))
    return etags

"""Steps that several benchmarks take on the demo's fleet."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import httpx

from holdfast.demo.fleet import NEW, OLD, VHOST, Fleet
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.signing import Signer, quote_path

TERMINAL = {"done", "error", "cancelled"}
POLL_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 1800.0
OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Ids:
    """What the fleet's pools and its vhost are called in the API."""

    old: int
    new: int
    vhost: int


async def post(api: httpx.AsyncClient, path: str, body: object) -> dict[str, Any]:
    """POST; an answer that is an error ends the benchmark with its words."""
    answer = await api.post(path, json=body)
    if answer.is_error:
        raise RuntimeError(f"POST {path} answered {answer.status_code}: {answer.text[:500]}")
    result: dict[str, Any] = answer.json()
    return result


async def ids_of(api: httpx.AsyncClient) -> Ids:
    """The ids of the fleet."""
    pools = {pool["name"]: pool["id"] for pool in (await api.get("/api/pools")).json()}
    vhosts = {vhost["server_name"]: vhost["id"] for vhost in (await api.get("/api/vhosts")).json()}
    return Ids(pools[OLD], pools[NEW], vhosts[VHOST])


async def start_move(api: httpx.AsyncClient, bucket: str, **wish: object) -> dict[str, Any]:
    """Begin to move a bucket to the new pool."""
    ids = await ids_of(api)
    body = {"bucket": bucket, "src_pool_id": ids.old, "dst_pool_id": ids.new, **wish}
    return await post(api, "/api/migrations", body)


async def wait_for(api: httpx.AsyncClient, migration: int, phases: set[str]) -> dict[str, Any]:
    """Poll until the migration is in one of these phases, or over."""
    async with asyncio.timeout(LONGEST_WAIT_SECONDS):
        while True:
            now: dict[str, Any] = (await api.get(f"/api/migrations/{migration}")).json()
            if now["phase"] in phases | TERMINAL:
                return now
            await asyncio.sleep(POLL_SECONDS)


async def move(api: httpx.AsyncClient, bucket: str, **wish: object) -> tuple[float, dict[str, Any]]:
    """Move a bucket: seconds from the call until the phase is done, and the migration."""
    started = time.monotonic()
    migration = await start_move(api, bucket, **wish)
    ended = await wait_for(api, migration["id"], {"done"})
    if ended["phase"] != "done":
        raise RuntimeError(f"the migration ended in {ended['phase']}: {ended['error_msg']}")
    return time.monotonic() - started, ended


async def bucket_with_object(fleet: Fleet, pool: str, *buckets: str) -> None:
    """Make buckets with one small object on a pool, past the gateway."""
    async with S3Client(fleet.pool_url(pool), fleet.access_key, fleet.secret_key) as s3:
        for bucket in buckets:
            await s3.create_bucket(bucket)
            await s3.put(bucket, OBJECT, b"x" * 4096)


def presigned(
    fleet: Fleet, host: str, bucket: str, key: str = OBJECT, *, method: str = "GET"
) -> str:
    """Path and query of a request that anybody may send to this host."""
    signer = Signer(fleet.access_key, fleet.secret_key, "us-east-1", host)
    path = quote_path(bucket, key)
    return f"{path}?{signer.presigned_query(method, path, expires_seconds=3600)}"


async def until_found(port: int, host: str, target: str) -> None:
    """Ask again and again, each time on a new connection, until the object is there."""
    request = f"GET {target} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()
    async with asyncio.timeout(60):
        while await _status(port, request) != 200:  # noqa: ASYNC110 - nginx tells no event
            await asyncio.sleep(0.002)


async def _status(port: int, request: bytes) -> int:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(request)
        line = await reader.readline()
        return int(line.split()[1]) if line else 0
    except OSError:
        return 0
    finally:
        writer.close()

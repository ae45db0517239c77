"""How much is in buckets: counted by listing them, on request, for a limited time."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from holdfast.gateway import bucket_page_queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.kernel.errors import AppError
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import BucketTotals

COUNT_SECONDS = 8.0
AT_ONCE = 8
Place = tuple[int, str]
"""A pool's id, and a bucket."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What lies there, or why nobody knows. Neither: no such bucket."""

    totals: BucketTotals | None = None
    problem: str = ""


async def count_buckets(services: Services, places: Iterable[Place]) -> dict[Place, Counted]:
    """Count buckets on their pools, all within ``COUNT_SECONDS``. It never raises."""
    wanted: dict[int, list[str]] = defaultdict(list)
    for pool_id, bucket in set(places):
        wanted[pool_id].append(bucket)
    gateway = services.get(Gateway)
    found: dict[Place, Counted] = {}
    clients: dict[int, S3Client] = {}
    async with services.database.read() as session:
        pools = await bucket_page_queries.pools_by_id(session, list(wanted))
        for pool_id, pool in pools.items():
            try:
                clients[pool_id] = await s3_for_pool(gateway, session, pool)
            except AppError as error:
                found |= {(pool_id, b): Counted(problem=error.message) for b in wanted[pool_id]}
    places_left = asyncio.Semaphore(AT_ONCE)
    deadline = asyncio.get_running_loop().time() + COUNT_SECONDS

    async def count(pool_id: int, bucket: str) -> None:
        async with places_left:
            found[pool_id, bucket] = await _count(clients[pool_id], bucket, deadline)

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for pool_id, client in clients.items():
            await stack.enter_async_context(client)
            for bucket in wanted[pool_id]:
                group.create_task(count(pool_id, bucket))
    return found


async def _count(client: S3Client, bucket: str, deadline: float) -> Counted:
    try:
        async with asyncio.timeout_at(deadline):
            return Counted(await client.totals(bucket))
    except TimeoutError:
        return Counted(problem=f"not counted within {COUNT_SECONDS:.0f} s")
    except S3Error as error:
        return Counted(problem="" if error.is_missing else error.message)
    except AppError as error:
        return Counted(problem=error.message)

"""Does a bucket have objects on the pool that a route leaves? Asked outside of transactions."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error

LOOK_SECONDS = 15.0
Look = Callable[[], Awaitable[bool]]


async def prepare_look(
    session: AsyncSession, gateway: Gateway, move: tuple[PoolRow, PoolRow, str]
) -> Look:
    """Read what is needed to ask; the answer is asked for later, without the session.

    ``move``: old pool, new pool and bucket. Asking raises ``Conflict`` when a move would overwrite
    what is on the new pool.
    """
    pool, target, bucket = move
    ids, port = {"source_id": pool.id, "destination_id": target.id}, gateway.ports.migrations
    client = await s3_for_pool(gateway, session, pool, limit=2)

    async def look() -> bool:
        if not await has_objects(client, pool.name, bucket):
            return False
        if port is not None:
            await port.check_destination(bucket=bucket, **ids)
        return True

    return look


async def has_objects(client: S3Client, pool_name: str, bucket: str) -> bool:
    """Whether the bucket is there and not empty.

    Raises ``Unavailable`` without an answer in time, ``BadGateway`` when it is an error.
    """
    try:
        async with asyncio.timeout(LOOK_SECONDS), client as s3:
            page = await s3.list_page(bucket, max_keys=1)
            return bool(page.objects)
    except S3Error as error:
        if error.is_missing:
            return False
        raise
    except TimeoutError:
        raise Unavailable(
            f"pool {pool_name!r} does not answer: nobody knows whether bucket {bucket!r} is empty",
            hint="mend the pool, or send allow_orphan to leave the objects behind",
        ) from None

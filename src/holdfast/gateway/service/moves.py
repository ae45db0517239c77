"""Does a bucket have anything on the pool that a route leaves? Asked outside of transactions."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.errors import BadGateway, Unavailable
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error

LOOK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look before the transaction has found."""

    must_move: bool
    left: "Look | None"
    """Nothing was there: to be seen once more when the route changes."""


NOT_ASKED = Seen(must_move=False, left=None)


@dataclass(frozen=True, slots=True)
class Look:
    """A bucket on a pool that it may leave."""

    pool_name: str
    bucket: str
    _client: S3Client
    _check_move: Callable[[], Awaitable[None]] | None = None

    async def seen(self) -> Seen:
        """Whether there is something to move.

        Raises ``Conflict`` when a move would overwrite what is on the new pool, and as
        `has_something` does.
        """
        if not await self.has_something():
            return Seen(must_move=False, left=self)
        if self._check_move is not None:
            await self._check_move()
        return Seen(must_move=True, left=None)

    async def has_something(self) -> bool:
        """Whether the bucket is there and has objects, or uploads that were begun.

        Raises ``Unavailable`` without an answer in time, ``BadGateway`` when it is an error.
        """
        try:
            async with asyncio.timeout(LOOK_SECONDS), self._client as s3:
                page = await s3.list_page(self.bucket, max_keys=1)
                return bool(page.objects) or await _has_uploads(s3, self.bucket)
        except S3Error as error:
            if error.is_missing:
                return False
            raise
        except TimeoutError:
            raise Unavailable(
                f"pool {self.pool_name!r} does not answer: nobody knows whether bucket "
                f"{self.bucket!r} is empty",
                hint="mend the pool, or send allow_orphan to leave the objects behind",
            ) from None


async def prepare_look(
    session: AsyncSession, gateway: Gateway, move: tuple[PoolRow, PoolRow, str]
) -> Look:
    """Read what is needed to ask; the answer is asked for later, without the session.

    ``move``: old pool, new pool and bucket.
    """
    pool, target, bucket = move
    ids, port = {"source_id": pool.id, "destination_id": target.id}, gateway.ports.migrations

    async def check_move() -> None:
        if port is not None:
            await port.check_destination(bucket=bucket, **ids)

    return Look(pool.name, bucket, await s3_for_pool(gateway, session, pool, limit=2), check_move)


async def _has_uploads(s3: S3Client, bucket: str) -> bool:
    """Begun and not ended: their parts are hidden by a new pool. False where nobody can tell."""
    try:
        async for _ in s3.list_uploads(bucket):
            return True
    except S3Error as error:
        if error.retryable:
            raise
    except BadGateway:
        pass  # it took the question for another one
    return False

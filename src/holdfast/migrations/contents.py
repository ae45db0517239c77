"""``verify=hash``: the content of every object, read on both sides and compared."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ListedObject
from holdfast.migrations.compare import is_unfinished_write
from holdfast.migrations.move import Parts
from holdfast.migrations.switch import together


async def compare_contents(parts: Parts) -> None:
    """Objects whose content differs are copied again; what is read counts for the bandwidth."""
    different = 0
    bucket, pace = parts.move.bucket, parts.copier.pace
    checkers = asyncio.Semaphore(parts.move.options.checkers)

    async def check(listed: ListedObject) -> None:
        nonlocal different
        async with checkers:
            one, other = await asyncio.gather(
                _md5(parts.source, bucket, listed.key, pace),
                _md5(parts.destination, bucket, listed.key, pace),
            )
        if one != other:
            different += 1
            _ = await parts.copier.sync_key(listed.key, force=True)

    async for page in parts.source.list_objects(bucket, by_folder=True):
        await together(*(check(listed) for listed in page if not is_unfinished_write(listed)))
    await parts.report.note(
        f"contents compared: {different} objects differed and were copied again"
        if different
        else "contents compared: equal"
    )


async def _md5(
    client: S3Client, bucket: str, key: str, pace: Callable[[int], Awaitable[None]]
) -> str:
    found = hashlib.md5(usedforsecurity=False)
    try:
        async with client.get(bucket, key) as reader:
            async for chunk in reader.chunks():
                found.update(chunk)
                await pace(len(chunk))
    except S3Error as error:
        if error.is_missing:
            return ""
        raise
    return found.hexdigest()

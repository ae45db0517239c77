"""Makes objects of one bucket equal to those of another: content, headers, layout, absence.

Promises: two copies of one key never overlap, so the destination never goes back to an older
content; what was written is proved by MD5 on the way, against the ETag of the source and the answer
of the destination; memory holds at most ``SMALL_BYTES`` an object.
"""

import asyncio
import random
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager

from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Unreachable
from holdfast.migrations.compare import Comparison, ComparisonTotals, Copied
from holdfast.migrations.copier_bandwidth import TokenBucket
from holdfast.migrations.copier_ends import Ends
from holdfast.migrations.copier_model import (
    CopyFailed,
    CopyTotals,
    OnProgress,
    Outcome,
    SyncReport,
    TornRead,
    may_pass,
)
from holdfast.migrations.copier_object import ObjectTransfer
from holdfast.migrations.groups import unwrapped

DEFAULT_TRANSFERS = 16
TORN_TRIES = 25
TORN_PAUSE_SECONDS = 0.02
FAILURE_TRIES = 5
FIRST_PAUSE_SECONDS = 0.1
MAX_FAILED_KEYS = 1000
REMEMBER_BATCH = 500


class ObjectCopier:
    """Copies from bucket to bucket; both clients are open and stay open."""

    def __init__(
        self,
        source: S3Client,
        source_bucket: str,
        destination: S3Client,
        destination_bucket: str,
        *,
        transfers: int = DEFAULT_TRANSFERS,
        bandwidth: TokenBucket | None = None,
        on_progress: OnProgress | None = None,
        comparison: Comparison | None = None,
    ) -> None:
        """``transfers``: keys at once; ``comparison``: where it is remembered what was proved."""
        self.totals = CopyTotals()
        self._source, self._source_bucket = source, source_bucket
        self._destination, self._destination_bucket = destination, destination_bucket
        self._transfers = transfers
        self._comparison = comparison
        self._proved: list[Copied] = []
        self._on_progress = on_progress or _nobody
        self._locks = _KeyLocks()
        ends = Ends(
            source,
            source_bucket,
            destination,
            destination_bucket,
            self.totals,
            bandwidth,
            self._on_progress,
        )
        self.pace = ends.pace
        self._transfer = ObjectTransfer(ends)

    async def sync_key(
        self, key: str, *, force: bool = False, part_sizes: list[int] | None = None
    ) -> Outcome:
        """Make the destination's object equal to the source's: copy it, or delete it.

        A large object that the destination has already (ETag and headers) is not sent again, unless
        ``force``. ``part_sizes``: the layout, when the caller knows it. Raises ``S3Unreachable`` or
        ``S3Error`` when a server goes on failing, ``CopyFailed`` when the content cannot be proved.
        """
        async with self._locks.hold(key):
            outcome = await self._sync(key, force=force, part_sizes=part_sizes)
        self._count(outcome)
        if len(self._proved) >= REMEMBER_BATCH:
            await self.flush()
        return outcome

    async def sync_many(self, keys: Iterable[str] | AsyncIterable[str]) -> SyncReport:
        """Sync keys, ``transfers`` at once.

        A key that fails for itself is reported, and the others go on. Raises ``S3Unreachable`` as
        soon as a server is gone for good.
        """
        report = SyncReport()
        stream = _as_stream(keys)
        async with unwrapped(), asyncio.TaskGroup() as workers:
            for _ in range(self._transfers):
                workers.create_task(self._work(stream, report))
        await self.flush()
        return report

    async def full_pass(self, *, by_folder: bool = True) -> tuple[ComparisonTotals, SyncReport]:
        """Compare both buckets and sync what differs; returns what was found and what was done."""
        comparison = self._need_comparison()
        found = await self.compare(by_folder=by_folder)
        return found, await self.sync_many(_different_keys(comparison))

    async def compare(self, *, by_folder: bool = True) -> ComparisonTotals:
        """Compare both buckets by their listings and change nothing."""
        await self.flush()
        return await self._need_comparison().scan(
            self._source,
            self._source_bucket,
            self._destination,
            self._destination_bucket,
            by_folder=by_folder,
        )

    async def abort_uploads(self) -> int:
        """Throw away the uploads that were begun on the destination's bucket; returns how many.

        For a start after a crash: until clients write there, only a copier can have left them.
        """
        pages = self._destination.list_uploads(self._destination_bucket)
        uploads = [upload async for page in pages for upload in page]
        for upload in uploads:
            await self._destination.abort_multipart(
                self._destination_bucket, upload.key, upload.upload_id
            )
        return len(uploads)

    async def flush(self) -> None:
        """Hand over what was proved."""
        proved, self._proved = self._proved, []
        if proved and self._comparison is not None:
            await self._comparison.remember(proved)

    def _need_comparison(self) -> Comparison:
        if self._comparison is None:
            raise RuntimeError("this copier was made without a comparison")
        return self._comparison

    async def _work(self, keys: "_KeyStream", report: SyncReport) -> None:
        while (key := await keys.following()) is not None:
            try:
                report.count(await self.sync_key(key))
            except S3Unreachable:
                raise
            except AppError as error:
                report.failed[key] = error.message
                if not may_pass(error):
                    report.refused.add(key)
                if len(report.failed) > MAX_FAILED_KEYS:
                    raise CopyFailed(
                        f"more than {MAX_FAILED_KEYS} objects cannot be copied",
                        details=error.message,
                    ) from error

    async def _sync(self, key: str, *, force: bool, part_sizes: list[int] | None) -> Outcome:
        torn: list[str] = []
        failures = 0
        while True:
            try:
                done = await self._transfer.run(key, force=force, part_sizes=part_sizes, torn=torn)
            except TornRead as read:
                torn.append(str(read))
                self.totals.torn_reads += 1
                if len(torn) >= TORN_TRIES:
                    raise CopyFailed(f"{key!r} never matches its ETag on the source") from None
                await asyncio.sleep(min(1.0, TORN_PAUSE_SECONDS * 2 ** (len(torn) // 3)))
            except AppError as error:
                failures += 1
                if failures >= FAILURE_TRIES or not may_pass(error):
                    raise _for_this_key(key, error) from error
                self.totals.retries += 1
                pause = FIRST_PAUSE_SECONDS * 2 ** (failures - 1)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 jitter
            else:
                if isinstance(done, Outcome):
                    return done
                self._proved.append(done)
                return Outcome.COPIED

    def _count(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.COPIED:
                self.totals.objects_copied += 1
            case Outcome.DELETED:
                self.totals.objects_deleted += 1
            case Outcome.SAME:
                self.totals.objects_same += 1
        self._on_progress(self.totals)


def _for_this_key(key: str, error: AppError) -> AppError:
    """A server that always breaks off one object is not gone: this object is broken there."""
    if isinstance(error, S3Unreachable) and error.cut_off:
        return CopyFailed(f"the source breaks off {key!r} again and again", details=error.message)
    return error


def _nobody(_totals: CopyTotals) -> None:
    pass


class _KeyLocks:
    """One lock a key, there only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        lock, users = self._held.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._held[key]


class _KeyStream:
    """Keys for many workers, one at a time."""

    def __init__(self, keys: AsyncIterator[str]) -> None:
        self._keys = keys
        self._turn = asyncio.Lock()

    async def following(self) -> str | None:
        async with self._turn:
            return await anext(self._keys, None)


def _as_stream(keys: Iterable[str] | AsyncIterable[str]) -> _KeyStream:
    return _KeyStream(aiter(keys) if isinstance(keys, AsyncIterable) else _each(keys))


async def _each(keys: Iterable[str]) -> AsyncIterator[str]:
    for key in keys:
        yield key


async def _different_keys(comparison: Comparison) -> AsyncIterator[str]:
    async for batch in comparison.differences():
        for difference in batch:
            yield difference.key

"""Both ends of a copy, and the bytes between them."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable
from holdfast.kernel.stores.s3.model import ObjectHead
from holdfast.kernel.stores.s3.objects import ObjectReader
from holdfast.migrations.copier_bandwidth import TokenBucket
from holdfast.migrations.copier_layout import LayoutProbe
from holdfast.migrations.copier_model import CopyTotals, OnProgress, TornRead


@dataclass(slots=True)
class Ends:
    """Where objects come from and go to, and who is told of the bytes that move."""

    source: S3Client
    source_bucket: str
    destination: S3Client
    destination_bucket: str
    totals: CopyTotals
    bandwidth: TokenBucket | None
    on_progress: OnProgress

    async def moved(self, size_bytes: int) -> None:
        """Count bytes that are about to be sent, and wait for the limit."""
        await self.pace(size_bytes)
        self.totals.bytes_copied += size_bytes

    async def pace(self, size_bytes: int) -> None:
        """Wait for the limit with bytes that are only read: to compare, or to read back."""
        if self.bandwidth is not None:
            await self.bandwidth.take(size_bytes)

    @contextmanager
    def writing(self, key: str) -> Iterator[None]:
        """Around a write: remembers the key when it is not known how it ended."""
        try:
            yield
        except S3Error:
            raise
        except S3Unreachable as error:
            if error.maybe_done:
                self.totals.uncertain_keys.add(key)
            raise
        except BaseException:
            self.totals.uncertain_keys.add(key)
            raise

    @asynccontextmanager
    async def feeding(
        self, reader: ObjectReader, probe: LayoutProbe | None = None
    ) -> AsyncIterator["Feeder"]:
        """A body made of the source's answer; a failure of the source comes out as itself."""
        feeder = Feeder(self, reader, probe)
        try:
            yield feeder
        except AppError:
            if feeder.error is not None:
                raise feeder.error from None
            raise


class Feeder:
    """Passes on content and takes its MD5."""

    def __init__(self, ends: Ends, reader: ObjectReader, probe: LayoutProbe | None) -> None:
        self.error: AppError | None = None
        self._ends = ends
        self._reader = reader
        self._probe = probe
        self._md5 = hashlib.md5(usedforsecurity=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content, once."""
        try:
            async for chunk in self._reader.chunks():
                self._md5.update(chunk)
                if self._probe is not None:
                    self._probe.feed(chunk)
                await self._ends.moved(len(chunk))
                self._ends.on_progress(self._ends.totals)
                yield chunk
        except AppError as error:
            self.error = error
            raise

    @property
    def md5(self) -> bytes:
        """Of what was passed on."""
        return self._md5.digest()


def same_object(before: ObjectHead, now: ObjectHead) -> None:
    """Raises ``TornRead`` when the source's object was replaced between two looks."""
    if (before.etag, before.size_bytes) != (now.etag, now.size_bytes):
        raise TornRead

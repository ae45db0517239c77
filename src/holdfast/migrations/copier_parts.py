"""Objects uploaded in parts: the copy is cut in the same places, so that it has the same ETag."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ObjectHead
from holdfast.migrations.compare import Copied
from holdfast.migrations.copier_ends import Ends, same_object
from holdfast.migrations.copier_layout import (
    LayoutProbe,
    is_usual,
    md5_of,
    multipart_etag,
    part_count,
    part_size_guesses,
    uniform,
)
from holdfast.migrations.copier_model import CopyFailed, TornRead

PARTS_AT_ONCE = 4
PART_TRIES = 3
PART_PAUSE_SECONDS = 0.2
BUFFERED_PART_BYTES = 1024 * 1024
"""Smaller parts are held in memory, larger ones are passed on as they come in."""
MAX_PUT_BYTES = 5 * 1024**3
"""The largest object that S3 takes in one request."""
FALLBACK_PART_BYTES = 1024**3
MAX_LISTED_KEYS = 1000


class PartsTransfer:
    """Copies objects that have a part layout, as long as the destination keeps layouts."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._last_part_bytes = 0
        self._keeps_layout: bool | None = None
        self._tells_parts: bool | None = None

    def guesses(self, head: ObjectHead) -> list[list[int]]:
        """Layouts that an object of this size and ETag may have, the likeliest first."""
        sizes = part_size_guesses(
            head.size_bytes, part_count(head.etag), first=self._last_part_bytes
        )
        return [uniform(head.size_bytes, size) for size in sizes]

    async def copy_small(
        self, key: str, head: ObjectHead, content: bytes, part_sizes: list[int] | None
    ) -> Copied | None:
        """Copy an object that is in memory; None when its layout cannot be found or kept."""
        layouts = [part_sizes] if _fits(part_sizes, head) else self.guesses(head)
        probe = LayoutProbe(head.etag, [layout for layout in layouts if layout])
        probe.feed(content)
        layout = probe.found()
        if layout is None:
            # Torn or unknown: look at it again with all the means there are.
            return await self.copy(key, head, part_sizes)
        return await self._upload(key, head, layout) if self._keeps_layout is not False else None

    async def copy(self, key: str, head: ObjectHead, part_sizes: list[int] | None) -> Copied | None:
        """Copy an object part by part; None when its layout cannot be found or kept."""
        if self._keeps_layout is False:
            return None
        layout = part_sizes if _fits(part_sizes, head) else await self._told_layout(key, head)
        guesses = [] if layout else self.guesses(head)
        if layout is None and guesses and self._worth_trying(guesses):
            layout = guesses[0]
        if layout and (copied := await self._upload(key, head, layout)):
            return copied
        layout = await self._proved_layout(key, head, guesses or self.guesses(head))
        if layout is None:
            self._report(key)
            return None
        if copied := await self._upload(key, head, layout):
            return copied
        raise TornRead

    async def copy_anyhow(self, key: str, head: ObjectHead) -> Copied:
        """Copy what is too large for one request and has no layout that could be found."""
        layout = uniform(head.size_bytes, FALLBACK_PART_BYTES)
        copied = await self._upload(key, head, layout, same_etag=False)
        if copied is None:
            raise CopyFailed(f"{key!r} could not be copied in parts")
        return copied

    def _worth_trying(self, guesses: list[list[int]]) -> bool:
        """Whether to upload with the first guess at once, or to read the object and know."""
        part_bytes = guesses[0][0]
        return len(guesses) == 1 or part_bytes == self._last_part_bytes or is_usual(part_bytes)

    def _report(self, key: str) -> None:
        unknown = self._ends.totals.layout_unknown
        if len(unknown) < MAX_LISTED_KEYS and key not in unknown:
            unknown.append(key)

    async def _told_layout(self, key: str, head: ObjectHead) -> list[int] | None:
        """Ask the server for the sizes; most ignore the question, and are asked once."""
        if self._tells_parts is False:
            return None
        first = await self._ask_part(key, head, 1)
        self._tells_parts = first is not None
        if first is None:
            return None
        count = part_count(head.etag)
        even = uniform(head.size_bytes, first) if first else []
        if len(even) == count:
            return even
        sizes = [first]
        for number in range(2, count + 1):
            size = await self._ask_part(key, head, number)
            if size is None:
                return None
            sizes.append(size)
        return sizes if sum(sizes) == head.size_bytes else None

    async def _ask_part(self, key: str, head: ObjectHead, number: int) -> int | None:
        ends = self._ends
        try:
            part = await ends.source.head(ends.source_bucket, key, part_number=number)
        except S3Error as error:
            if error.status >= 500:  # noqa: PLR2004 HTTP: the server failed, and did not refuse
                raise
            return None
        return part.body_bytes if part.part_count == part_count(head.etag) else None

    async def _proved_layout(
        self, key: str, head: ObjectHead, layouts: list[list[int]]
    ) -> list[int] | None:
        """Read the object once to find out which layout has its ETag."""
        if not layouts:
            return None
        probe = LayoutProbe(head.etag, layouts)
        async with self._ends.source.get(self._ends.source_bucket, key) as reader:
            same_object(head, reader.head)
            async for chunk in reader.chunks():
                probe.feed(chunk)
        return probe.found()

    async def _upload(
        self, key: str, head: ObjectHead, layout: list[int], *, same_etag: bool = True
    ) -> Copied | None:
        """Upload with this layout; None, and nothing changed, when that does not give the ETag."""
        ends = self._ends
        there = ends.destination_bucket
        upload_id = await ends.destination.create_multipart(there, key, headers=head.headers)
        try:
            md5s, etags = await self._send_parts(key, head, layout, upload_id)
            if same_etag and multipart_etag(md5s) != head.etag:
                await ends.destination.abort_multipart(there, key, upload_id)
                return None
            with ends.writing(key):
                etag = await ends.destination.complete_multipart(
                    there, key, upload_id, list(enumerate(etags, 1))
                )
        except BaseException:
            with suppress(AppError):
                await ends.destination.abort_multipart(there, key, upload_id)
            raise
        if same_etag:
            self._last_part_bytes = layout[0]
            etag = await self._check_layout_kept(key, head, etag)
        return Copied(key, head.etag, head.modified, etag, "")

    async def _check_layout_kept(self, key: str, head: ObjectHead, etag: str) -> str:
        """The ETag that the copy has from now on: some servers answer otherwise at first."""
        if not self._keeps_layout or etag != head.etag:
            there = await self._ends.destination.head(self._ends.destination_bucket, key)
            self._keeps_layout = there.etag == head.etag
            return there.etag
        return etag

    async def _send_parts(
        self, key: str, head: ObjectHead, layout: list[int], upload_id: str
    ) -> tuple[list[bytes], list[str]]:
        md5s = [b""] * len(layout)
        etags = [""] * len(layout)
        pieces = _pieces(layout)

        async def work() -> None:
            for index, first, size in pieces:
                md5s[index], etags[index] = await self._send_part(
                    key, head, upload_id, index + 1, first, size
                )

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(PARTS_AT_ONCE, len(layout))):
                    workers.create_task(work())
        except* (AppError, TornRead) as group:
            raise group.exceptions[0] from None
        return md5s, etags

    async def _send_part(
        self, key: str, head: ObjectHead, upload_id: str, number: int, first: int, size: int
    ) -> tuple[bytes, str]:
        for attempt in range(1, PART_TRIES + 1):
            try:
                return await self._try_part(key, head, upload_id, number, first, size)
            except AppError as error:
                if attempt == PART_TRIES or not error.retryable:
                    raise
                self._ends.totals.retries += 1
            await asyncio.sleep(PART_PAUSE_SECONDS * attempt)
        raise AssertionError("there is at least one try")

    async def _try_part(
        self, key: str, head: ObjectHead, upload_id: str, number: int, first: int, size: int
    ) -> tuple[bytes, str]:
        ends = self._ends
        last = first + size - 1
        async with ends.source.get(ends.source_bucket, key, first=first, last=last) as reader:
            same_object(head, reader.head)
            if reader.head.body_bytes != size:
                raise CopyFailed("the source does not answer to ranges")
            if size <= BUFFERED_PART_BYTES:
                content = await reader.read()
                await ends.moved(size)
                md5 = md5_of(content)
                etag = await ends.destination.upload_part(
                    ends.destination_bucket, key, upload_id, number, content
                )
            else:
                async with ends.feeding(reader) as feeder:
                    etag = await ends.destination.upload_part(
                        ends.destination_bucket,
                        key,
                        upload_id,
                        number,
                        feeder.chunks(),
                        size_bytes=size,
                    )
                md5 = feeder.md5
        return md5, etag


def _fits(layout: list[int] | None, head: ObjectHead) -> bool:
    return (
        bool(layout)
        and len(layout or ()) == part_count(head.etag)
        and sum(layout or ()) == head.size_bytes
    )


def _pieces(layout: list[int]) -> Iterator[tuple[int, int, int]]:
    first = 0
    for index, size in enumerate(layout):
        yield index, first, size
        first += size

"""One object from server to server; objects uploaded in parts are in ``copier_parts``."""

import base64
import hashlib
from contextlib import AsyncExitStack

from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ObjectHead
from holdfast.kernel.stores.s3.objects import ObjectReader
from holdfast.migrations.compare import Copied
from holdfast.migrations.copier_ends import Ends, same_object
from holdfast.migrations.copier_layout import LayoutProbe, is_md5, md5_of, part_count
from holdfast.migrations.copier_model import CopyFailed, Outcome, TornRead
from holdfast.migrations.copier_parts import MAX_PUT_BYTES, PartsTransfer

SMALL_BYTES = 1024 * 1024
"""Up to this an object is held in memory: one GET, one PUT."""
OPAQUE_AFTER_READS = 4
"""An ETag that so many reads of one content do not match is not the MD5 of the content."""
LEARNED_AFTER_OBJECTS = 8
"""When no object at all matched its ETag by then, two reads are enough."""


class ObjectTransfer:
    """Copies single objects and learns what the servers do; the caller holds the key's lock."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._parts = PartsTransfer(ends)
        self._checked_headers: set[str] = set()
        self._objects_matched = 0
        self._objects_opaque = 0

    async def run(
        self, key: str, *, force: bool, part_sizes: list[int] | None, torn: list[str]
    ) -> Copied | Outcome:
        """One attempt; ``torn``: MD5s of the reads of this key that did not match their ETag."""
        ends = self._ends
        content = b""
        async with AsyncExitStack() as stack:
            try:
                reader = await stack.enter_async_context(ends.source.get(ends.source_bucket, key))
            except S3Error as error:
                if error.s3_code != "NoSuchKey":
                    raise
                return await self._delete(key)
            head = reader.head
            if head.has_tags:
                ends.totals.tagged_key = ends.totals.tagged_key or key
            if head.size_bytes > SMALL_BYTES:
                if not force and await self._is_there(key, head):
                    return Outcome.SAME
                if not part_count(head.etag) and head.size_bytes <= MAX_PUT_BYTES:
                    return await self._stream(key, reader, torn)
            else:
                content = await reader.read()
        if head.size_bytes > SMALL_BYTES:
            copied = await self._parts.copy(key, head, part_sizes)
        elif part_count(head.etag):
            copied = await self._parts.copy_small(key, head, content, part_sizes)
        else:
            return await self._put(key, head, content, torn)
        if copied is None:
            copied = await self._without_layout(key, head)
        await self._check_headers(key, head)
        return copied

    async def _delete(self, key: str) -> Outcome:
        with self._ends.writing(key):
            await self._ends.destination.delete(self._ends.destination_bucket, key, tries=1)
        return Outcome.DELETED

    async def _put(self, key: str, head: ObjectHead, content: bytes, torn: list[str]) -> Copied:
        ends = self._ends
        md5 = md5_of(content).hex()
        self._check_read(head, md5, torn)
        await ends.moved(len(content))
        with ends.writing(key):
            etag = await ends.destination.put(
                ends.destination_bucket, key, content, headers=head.headers, tries=1
            )
        return await self._proved(key, head, md5, etag)

    async def _stream(self, key: str, reader: ObjectReader, torn: list[str]) -> Copied:
        """A large object as it comes in; the destination compares it to the source's ETag first."""
        head = reader.head
        headers = dict(head.headers)
        if is_md5(head.etag) and not torn:
            headers["content-md5"] = base64.b64encode(bytes.fromhex(head.etag)).decode()
        etag, md5 = await self._put_stream(key, reader, headers, None)
        self._check_read(head, md5, torn)
        return await self._proved(key, head, md5, etag)

    async def _without_layout(self, key: str, head: ObjectHead) -> Copied:
        """Copy as one piece what was uploaded in parts."""
        ends = self._ends
        if head.size_bytes > MAX_PUT_BYTES:
            return await self._parts.copy_anyhow(key, head)
        probe = LayoutProbe(head.etag, self._parts.guesses(head))
        async with ends.source.get(ends.source_bucket, key) as reader:
            same_object(head, reader.head)
            etag, md5 = await self._put_stream(key, reader, head.headers, probe)
        if (
            probe.found() is None
        ):  # nothing proves what was read, but that it did not change meanwhile
            same_object(head, await ends.source.head(ends.source_bucket, key))
        return await self._proved(key, head, md5, etag)

    async def _put_stream(
        self,
        key: str,
        reader: ObjectReader,
        headers: dict[str, str],
        probe: LayoutProbe | None,
    ) -> tuple[str, str]:
        ends = self._ends
        async with ends.feeding(reader, probe) as feeder:
            try:
                with ends.writing(key):
                    etag = await ends.destination.put(
                        ends.destination_bucket,
                        key,
                        feeder.chunks(),
                        size_bytes=reader.head.size_bytes,
                        headers=headers,
                    )
            except S3Error as error:
                if error.s3_code in {"BadDigest", "InvalidDigest"}:
                    raise TornRead(feeder.md5.hex()) from None
                raise
        return etag, feeder.md5.hex()

    def _check_read(self, head: ObjectHead, md5: str, torn: list[str]) -> None:
        if head.etag == md5:
            self._objects_matched += 1
            return
        if not is_md5(head.etag):
            return
        learned = self._objects_opaque > LEARNED_AFTER_OBJECTS and not self._objects_matched
        needed = 2 if learned else OPAQUE_AFTER_READS
        seen = torn[1 - needed :]
        if len(seen) < needed - 1 or set(seen) != {md5}:
            raise TornRead(md5)
        self._objects_opaque += 1

    async def _proved(self, key: str, head: ObjectHead, md5: str, etag: str) -> Copied:
        """What the destination has is what was sent: its answer says so, or it is read back."""
        if etag != md5:
            etag = await self._read_back(key, md5)
        await self._check_headers(key, head)
        return Copied(key, head.etag, head.modified, etag, md5)

    async def _read_back(self, key: str, md5: str) -> str:
        ends = self._ends
        found = hashlib.md5(usedforsecurity=False)
        async with ends.destination.get(ends.destination_bucket, key) as reader:
            async for chunk in reader.chunks():
                found.update(chunk)
                await ends.pace(len(chunk))
        if found.hexdigest() != md5:
            raise CopyFailed(f"the destination has another content under {key!r} than was sent")
        return reader.head.etag

    async def _is_there(self, key: str, head: ObjectHead) -> bool:
        ends = self._ends
        try:
            there = await ends.destination.head(ends.destination_bucket, key)
        except S3Error as error:
            if error.is_missing:
                return False
            raise
        wanted = {
            name: value
            for name, value in head.headers.items()
            if _kind(name) not in ends.totals.headers_lost
        }
        same_content = bool(head.etag) and (head.etag, head.size_bytes) == (
            there.etag,
            there.size_bytes,
        )
        return same_content and wanted == there.headers

    async def _check_headers(self, key: str, head: ObjectHead) -> None:
        """Look once for each kind of header whether the destination keeps it."""
        if all(_kind(name) in self._checked_headers for name in head.headers):
            return
        self._checked_headers.update(_kind(name) for name in head.headers)
        kept = (await self._ends.destination.head(self._ends.destination_bucket, key)).headers
        for name, value in head.headers.items():
            if kept.get(name) != value:
                self._ends.totals.headers_lost.setdefault(_kind(name), key)


def _kind(header: str) -> str:
    return "x-amz-meta-*" if header.startswith("x-amz-meta-") else header

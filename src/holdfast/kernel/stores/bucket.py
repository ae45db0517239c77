"""A store in a bucket of an S3 server."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from holdfast.kernel.errors import AppError, NotFound
from holdfast.kernel.stores.content import Measured, nothing
from holdfast.kernel.stores.model import (
    DamagedOnTheWay,
    Entry,
    HashKind,
    Powers,
    Store,
    checked_path,
    checked_prefix,
)
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable
from holdfast.kernel.stores.s3.model import Part

PART_BYTES = 16 * 1024 * 1024
"""Content up to here is one request; longer content goes in parts, one of them in memory."""
PIECE_BYTES = 256 * 1024
TRIES = 3
PAUSE_SECONDS = 0.5
MAX_PARTS = 10_000
_MD5 = re.compile(r"[0-9a-f]{32}")


class BucketStore:
    """Objects of one bucket, by a client that its owner keeps open.

    Modification times are never asked for: a listing does not have them, and a request an object is
    ten times the cost of the listing.
    """

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self.name = f"bucket {bucket} at {client.endpoint}"
        self.can = Powers(
            hashes=frozenset({HashKind.MD5}),
            atomic_write=True,
            copies_among=f"s3 {client.endpoint}",
        )

    async def stat(self, path: str) -> Entry:
        try:
            head = await self._client.head(self._bucket, checked_path(path))
        except S3Error as error:
            raise self._told(error, path) from error
        return _entry(path, head.size_bytes, head.etag)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        folder = checked_prefix(prefix)
        pages = self._client.list_objects(
            self._bucket, prefix=f"{folder}/" if folder else "", by_folder=True
        )
        async for page in pages:
            for listed in page:
                if not listed.key.endswith("/"):  # a marker of an empty folder
                    yield _entry(listed.key, listed.size_bytes, listed.etag)

    @asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        # An empty range is an error in S3, so a start at or behind the end needs a look first.
        if offset and offset >= (await self.stat(path)).size_bytes:
            yield nothing()
            return
        try:
            opened = self._client.get(self._bucket, checked_path(path), first=offset or None)
            async with opened as reader:
                yield reader.chunks()
        except S3Error as error:
            raise self._told(error, path) from error

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> Entry:
        checked_path(path)
        measured = Measured(content, [HashKind.MD5], announced_bytes=size_bytes)
        part_bytes = max(PART_BYTES, -(-(size_bytes or 0) // MAX_PARTS))
        blocks = _blocks(aiter(measured), part_bytes)
        first = await anext(blocks, b"")
        if len(first) < part_bytes:
            etag = await _tried(
                first,
                lambda body: self._client.put(self._bucket, path, body, size_bytes=len(first)),
            )
            expected = measured.hashes[HashKind.MD5]
        else:
            etag, expected = await self._write_parts(path, first, blocks)
        try:
            self._compare(f"{path!r}", etag, expected)
            stored = await self.stat(path)
            measured.compare(stored, self.name)
        except DamagedOnTheWay:
            await self.delete(path)
            raise
        return stored

    async def _write_parts(
        self,
        path: str,
        first: bytes,
        rest: AsyncIterator[bytes],
    ) -> tuple[str, str]:
        """The ETag that the server gave, and the one that it should give."""
        upload = await self._client.create_multipart(self._bucket, path)
        parts: list[Part] = []
        digests = hashlib.md5(usedforsecurity=False)
        block = first
        try:
            while block:
                number = len(parts) + 1
                etag = await _tried(
                    block, partial(self._put_part, path, upload, number, len(block))
                )
                digest = hashlib.md5(block, usedforsecurity=False)
                self._compare(f"part {number} of {path!r}", etag, digest.hexdigest())
                digests.update(digest.digest())
                parts.append(Part(number, etag, len(block)))
                block = await anext(rest, b"")
            etag = await self._client.complete_multipart(
                self._bucket, path, upload, [(part.number, part.etag) for part in parts]
            )
        except BaseException:
            with suppress(AppError):  # what went wrong first is what counts
                await self._client.abort_multipart(self._bucket, path, upload)
            raise
        return etag, f"{digests.hexdigest()}-{len(parts)}"

    async def _put_part(
        self, path: str, upload: str, number: int, size_bytes: int, body: AsyncIterator[bytes]
    ) -> str:
        return await self._client.upload_part(
            self._bucket, path, upload, number, body, size_bytes=size_bytes
        )

    async def hash_on_server(self, path: str, kind: HashKind) -> str | None:
        raise NotImplementedError("a bucket declares no hashes_on_server")

    async def delete(self, path: str) -> None:
        await self._client.delete(self._bucket, checked_path(path))

    async def copy_from(
        self, source: Store, path: str, to: str, *, bytes_per_second: int | None = None
    ) -> Entry:
        """Inside the server; its speed is not ours to set."""
        del bytes_per_second
        if not isinstance(source, BucketStore):
            raise TypeError(f"{source.name} is not a bucket")
        before = await source.stat(path)
        origin = source._bucket  # noqa: SLF001 - one of us
        await self._client.copy(origin, path, self._bucket, checked_path(to))
        stored = await self.stat(to)
        if stored.size_bytes != before.size_bytes:
            raise DamagedOnTheWay(f"{self.name} copied another length of {path!r} than it has")
        return stored

    def _compare(self, what: str, etag: str, expected: str) -> None:
        if _is_md5_based(etag) and etag != expected:
            raise DamagedOnTheWay(f"{self.name} holds another {what} than was sent")

    def _told(self, error: S3Error, path: str) -> Exception:
        if error.is_missing and error.s3_code != "NoSuchBucket":
            return NotFound(f"{path!r} is not in {self.name}")
        return error


def _entry(path: str, size_bytes: int, etag: str) -> Entry:
    hashes = {HashKind.MD5: etag} if _MD5.fullmatch(etag) else {}
    return Entry(path=path, size_bytes=size_bytes, hashes=hashes)


def _is_md5_based(etag: str) -> bool:
    """Whether an ETag is made of MD5 as the first S3 server made it; others may answer anything."""
    return _MD5.fullmatch(etag.partition("-")[0]) is not None


async def _tried(block: bytes, send: Callable[[AsyncIterator[bytes]], Awaitable[str]]) -> str:
    """Send a block piece by piece, and again when the connection breaks: it replaces itself."""
    for _ in range(TRIES - 1):
        try:
            return await send(_pieces(block))
        except S3Unreachable:
            await asyncio.sleep(PAUSE_SECONDS)
    return await send(_pieces(block))


async def _pieces(block: bytes) -> AsyncIterator[bytes]:
    view = memoryview(block)
    for start in range(0, len(block), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


async def _blocks(content: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """The same content in blocks of one size, the last one shorter."""
    block = bytearray()
    async for chunk in content:
        block += chunk
        while len(block) >= size_bytes:
            yield bytes(block[:size_bytes])
            del block[:size_bytes]
    if block:
        yield bytes(block)

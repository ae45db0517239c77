"""A store in memory, for tests; it passes the contract suite."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from holdfast.kernel.errors import NotFound
from holdfast.kernel.stores.content import Measured
from holdfast.kernel.stores.model import (
    Entry,
    HashKind,
    Powers,
    Store,
    checked_path,
    checked_prefix,
)

CHUNK_BYTES = 64 * 1024


class MemoryStore:
    """Files in a dictionary."""

    name = "memory"
    can = Powers(
        hashes=frozenset({HashKind.SHA256}),
        atomic_write=True,
        modification_times=True,
    )

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, datetime]] = {}

    async def stat(self, path: str) -> Entry:
        content, modified = self._file(path)
        digest = hashlib.sha256(content).hexdigest()
        return Entry(
            path=path,
            size_bytes=len(content),
            hashes={HashKind.SHA256: digest},
            modified=modified,
        )

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        folder = checked_prefix(prefix)
        for path in list(self._files):
            if not folder or path.startswith(f"{folder}/"):
                yield await self.stat(path)

    @asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        yield _chunks(self._file(path)[0][offset:])

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> Entry:
        checked_path(path)
        measured = Measured(content, announced_bytes=size_bytes)
        received = b"".join([chunk async for chunk in measured])
        self._files[path] = (received, datetime.now(UTC))
        return await self.stat(path)

    async def hash_on_server(self, path: str, kind: HashKind) -> str | None:
        raise NotImplementedError("memory declares no hashes_on_server")

    async def delete(self, path: str) -> None:
        self._files.pop(checked_path(path), None)

    async def copy_from(
        self, source: Store, path: str, to: str, *, bytes_per_second: int | None = None
    ) -> Entry:
        raise NotImplementedError("memory declares no copies_among")

    def _file(self, path: str) -> tuple[bytes, datetime]:
        try:
            return self._files[checked_path(path)]
        except KeyError:
            raise NotFound(f"{path!r} is not in memory") from None


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]

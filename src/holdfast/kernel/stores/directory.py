"""A store in a directory of this machine."""

import asyncio
import os
import secrets
import stat as modes
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from holdfast.kernel.errors import Invalid, NotFound, Unavailable
from holdfast.kernel.stores.content import Measured
from holdfast.kernel.stores.model import (
    Entry,
    HashKind,
    Powers,
    Store,
    checked_path,
    checked_prefix,
    is_temporary,
    temporary_name,
)

CHUNK_BYTES = 256 * 1024
LISTED_AT_ONCE = 256


class DirectoryStore:
    """Regular files below a root. Symbolic links are neither listed nor followed."""

    can = Powers(atomic_write=True, modification_times=True)

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.name = f"directory {self._root}"

    async def stat(self, path: str) -> Entry:
        return await asyncio.to_thread(self._stat, path)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        if not await asyncio.to_thread(self._root.is_dir):
            raise Unavailable(f"{self.name} is not there", hint="is its file system mounted?")
        walk = self._walk(checked_prefix(prefix))
        while batch := await asyncio.to_thread(_some, walk):
            for entry in batch:
                yield entry

    @asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        file = await asyncio.to_thread(self._open, path)
        try:
            await asyncio.to_thread(file.seek, offset)
            yield _chunks(file)
        finally:
            file.close()

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> Entry:
        target = await asyncio.to_thread(self._target, path)
        temporary = target.with_name(temporary_name(secrets.token_hex(8)))
        measured = Measured(content, announced_bytes=size_bytes)
        file = await asyncio.to_thread(_create, temporary)
        try:
            with file:
                async for chunk in measured:
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_sync, file)
            measured.compare(_entry(path, temporary.stat()), self.name)
            await asyncio.to_thread(_put_in_place, temporary, target)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
        return await self.stat(path)

    async def hash_on_server(self, path: str, kind: HashKind) -> str | None:
        raise NotImplementedError("a directory declares no hashes_on_server")

    async def delete(self, path: str) -> None:
        await asyncio.to_thread(self._delete, path)

    async def copy_from(
        self, source: Store, path: str, to: str, *, bytes_per_second: int | None = None
    ) -> Entry:
        raise NotImplementedError("a directory declares no copies_among")

    def _located(self, path: str) -> Path:
        """The absolute path; raises when a link on the way leads out of the root, or anywhere."""
        located = self._root / checked_path(path)
        if located.parent.resolve() != located.parent:
            raise NotFound(f"{path!r} is not in {self.name}: there is a symbolic link on the way")
        return located

    def _stat(self, path: str) -> Entry:
        try:
            found = self._located(path).lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(path) from None
        if not modes.S_ISREG(found.st_mode):
            raise self._missing(path)
        return _entry(path, found)

    def _open(self, path: str) -> BinaryIO:
        try:
            descriptor = os.open(self._located(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError, OSError) as error:
            raise self._missing(path) from error
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise self._missing(path)
        return os.fdopen(descriptor, "rb", buffering=0)

    def _target(self, path: str) -> Path:
        target = self._located(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise Invalid(f"{path!r} lies below a file in {self.name}") from None
        if target.is_dir():
            raise Invalid(f"{path!r} is a folder in {self.name}")
        return target

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError, NotFound):
            located = self._located(path)
            located.unlink()
            _sync_directory(located.parent)

    def _walk(self, folder: str) -> Iterator[Entry]:
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            try:
                found = os.scandir(self._root / folder)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed meanwhile, or not there from the start
            with found:
                for item in found:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif item.is_file(follow_symlinks=False) and not is_temporary(path):
                        with suppress(FileNotFoundError):
                            yield _entry(path, item.stat(follow_symlinks=False))

    def _missing(self, path: str) -> NotFound:
        return NotFound(f"{path!r} is not in {self.name}")


def _some(walk: Iterator[Entry]) -> list[Entry]:
    return list(islice(walk, LISTED_AT_ONCE))


def _entry(path: str, found: os.stat_result) -> Entry:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return Entry(path=path, size_bytes=found.st_size, modified=modified)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
        yield chunk


def _create(path: Path) -> BinaryIO:
    return path.open("xb")


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except IsADirectoryError:
        raise Invalid(f"{target} is a folder") from None
    _sync_directory(target.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What a place has: its listing as a sorted file. Only a listing that ended whole is one.

Buckets are asked by our own client, folder by folder (some servers lose keys where a flat listing
is cut into pages), several at a time, and never for modification times: those are a request an
object. Everything else is asked by rclone, as CSV: a newline in a name cannot pass for a record.
"""

import asyncio
import csv
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import quote

from holdfast.kernel.errors import BadGateway
from holdfast.kernel.process import ProcessFailed, stream
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.model import HashKind, Powers, is_temporary
from holdfast.kernel.stores.place import Place, S3Place
from holdfast.kernel.stores.rclone import RcloneStore
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, find_rclone, rclone_environment
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.rclone_words import LOG_IN_JSON, listing_failure, spoils_listing
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ListedObject
from holdfast.tiers.filters import literal
from holdfast.tiers.merge import (
    REST_MARK,
    Count,
    lists,
    path_of,
    rests_of,
    size_of,
    split_records,
    write_list,
)
from holdfast.tiers.merge import read_listing as read_listing  # noqa: PLC0414 - asked for here
from holdfast.tiers.model import inside
from holdfast.tiers.names import from_remote_listing, from_s3_key, remote_name, s3_key
from holdfast.tiers.scan import sort

FOLDERS_AT_ONCE = 8
MOST_LEFT_NAMES = 10_000
SFTP_CONNECTIONS = 4
"""Each costs more than the listing of many a folder: a keys' exchange."""
SILENCE_SECONDS = 3600.0
"""How long rclone may look without telling of a file."""
PREFERRED = (HashKind.MD5, HashKind.SHA1, HashKind.SHA256)
"""The first that a place has; MD5 is what most files of most places have."""
DIGITS = {HashKind.MD5: 32, HashKind.SHA1: 40, HashKind.SHA256: 64}
_HEX = re.compile(r"[0-9a-f]+")
_BROKEN_WRITE = re.compile(r"(?:.*/)?\.tmp\.[0-9a-f]{32}", re.DOTALL)
_SAFE = "-_.~:+=,;@"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingTotals:
    """What was listed."""

    listed: Count
    hash_kind: HashKind | None
    """What the digests are; None: the place has none that cost nothing."""
    ended: float = field(default_factory=time.monotonic, compare=False)
    """When it was whole, by the monotonic clock."""
    left_out: int = 0
    """Names that cannot be files here, or that two files of the store would have here."""
    left_names: tuple[tuple[bytes, int], ...] = ()
    """The first of them, and the files' sizes."""


@dataclass(slots=True)
class _LeftOut:
    files: int = 0
    names: list[tuple[bytes, int]] = field(default_factory=list)

    def add(self, name: bytes, size_bytes: int) -> None:
        self.files += 1
        if len(self.names) < MOST_LEFT_NAMES:
            self.names.append((name, size_bytes))


class _Records:
    """The file of records that is written."""

    def __init__(self, file: IO[bytes], times: IO[bytes] | None = None) -> None:
        self._file = file
        self._times = times
        self.left_out = _LeftOut()

    def add(
        self,
        path: bytes | None,
        size_bytes: int,
        rest: str,
        name: bytes,
        stored_as: bytes = b"",
        *,
        put_at: int = 0,
    ) -> None:
        """``name``: as the store has it; ``put_at``: when a bucket got it, Unix time."""
        if path is None or size_bytes < 0:
            self.left_out.add(name, max(0, size_bytes))
        else:
            end = rest.encode() + b" " + stored_as
            self._file.write(b"%b//%d//:%b\0" % (path, size_bytes, end))
            if self._times is not None and put_at:
                self._times.write(b"%b//%d\0" % (path, put_at))


async def list_place(
    services: Services,
    place: Place,
    below: bytes,
    to: Path,
    *,
    folders: Path | None = None,
    times: Path | None = None,
) -> ListingTotals:
    """Write what a place has at or below a path (b"": all of it) to a file sorted by path.

    Raises when the listing did not end whole, and leaves no file then. A folder that is not there
    is an empty listing; a place that is not there raises. ``folders``: where the folders' paths go,
    NUL-separated, in no order; a bucket has none. ``times``: where goes when a bucket got each, as
    `read_times` reads it; of others the listing itself has their times.
    """
    if times is not None:
        await asyncio.to_thread(times.write_bytes, b"")
    if folders is not None:
        await asyncio.to_thread(folders.write_bytes, b"")
    if place.s3 is not None:
        return await list_bucket(place.s3, below, to, times=times)
    daemon = services.get(RcloneHub).daemon
    return await list_remote(daemon, place.remote, below, to, folders=folders)


def read_times(path: Path) -> Iterator[tuple[bytes, int]]:
    """Of objects in the order of a listing: the path, and when they were put there (Unix time)."""
    for block in lists(path):
        for record in block:
            yield path_of(record), size_of(record)


async def list_bucket(
    place: S3Place, below: bytes, to: Path, *, times: Path | None = None
) -> ListingTotals:
    """The same of a prefix of a bucket."""
    raw = _beside(to, "raw")
    try:
        with raw.open("wb") as file, ExitStack() as stack:
            kept = stack.enter_context(times.open("wb")) if times is not None else None
            records = _Records(file, kept)
            key = s3_key(below) if below else ""
            if key is not None:
                async with place.client(limit=FOLDERS_AT_ONCE) as client:
                    await _Bucket(client, place, records).read(key)
        if times is not None:
            await sort(times, times)
        return await _finish(raw, to, records, HashKind.MD5)
    finally:
        raw.unlink(missing_ok=True)


async def list_remote(
    daemon: RcloneDaemon, remote: Remote, below: bytes, to: Path, *, folders: Path | None = None
) -> ListingTotals:
    """The same of any remote of rclone."""
    store = await RcloneStore.connect(daemon, remote)
    kind = next((kind for kind in PREFERRED if kind in store.can.hashes), None)
    raw, table = _beside(to, "raw"), _beside(to, "csv")
    try:
        words = _words(remote, store.can, kind, below)
        if words and folders is None:
            words.insert(-2, "--files-only")
        if words:
            with table.open("wb") as file:
                await _ask(daemon, remote, words, file)
        else:
            table.touch()
        with raw.open("wb") as file:
            records = _Records(file)
            await asyncio.to_thread(_convert, table, below, kind, records)
        if folders is not None:
            await asyncio.to_thread(_keep_folders, table, below, folders)
        table.unlink()
        return await _finish(raw, to, records, kind)
    finally:
        table.unlink(missing_ok=True)
        raw.unlink(missing_ok=True)


class _Bucket:
    """Reads a prefix of a bucket, several folders at a time."""

    def __init__(self, client: S3Client, place: S3Place, records: _Records) -> None:
        self._client = client
        self._place = place
        self._records = records
        self._waiting: asyncio.LifoQueue[str] = asyncio.LifoQueue()

    async def read(self, key: str) -> None:
        """The object of this key, and what is below it; all for an empty one."""
        if key:
            await self._one(key)
        self._waiting.put_nowait(f"{self._place.prefix}{key}/" if key else self._place.prefix)
        readers = [asyncio.create_task(self._reader()) for _ in range(FOLDERS_AT_ONCE)]
        done = asyncio.create_task(self._waiting.join())
        try:
            await asyncio.wait([done, *readers], return_when=asyncio.FIRST_COMPLETED)
            for reader in readers:
                if reader.done():
                    await reader
        finally:
            for task in (done, *readers):
                task.cancel()
            await asyncio.gather(done, *readers, return_exceptions=True)

    async def _one(self, key: str) -> None:
        try:
            head = await self._client.head(self._place.bucket, self._place.prefix + key)
        except S3Error as error:
            if not error.is_missing:
                raise
        else:
            self._add(key, head.size_bytes, head.etag, head.modified)

    async def _reader(self) -> None:
        while True:
            folder = await self._waiting.get()
            await self._folder(folder)
            self._waiting.task_done()

    async def _folder(self, folder: str) -> None:
        token = ""
        seen: set[str] = set()
        while True:
            page = await self._client.list_page(
                self._place.bucket, prefix=folder, delimiter="/", token=token
            )
            for listed in page.objects:
                if not listed.key.endswith("/"):  # a marker of an empty folder
                    self._put(listed)
            seen.update(page.folders)
            if not page.next_token:
                break
            if page.next_token == token:
                raise BadGateway(f"the listing of {folder!r} does not get on: the same page again")
            token = page.next_token
        for name in sorted(seen - {folder}):
            self._waiting.put_nowait(name)

    def _put(self, listed: ListedObject) -> None:
        key = listed.key
        if not listed.etag and _BROKEN_WRITE.fullmatch(key):
            return
        if not is_temporary(key):
            inner = key.removeprefix(self._place.prefix)
            self._add(inner, listed.size_bytes, listed.etag, listed.modified)

    def _add(self, key: str, size_bytes: int, etag: str, put_at: int = 0) -> None:
        name = key.encode("utf-8", "surrogateescape")
        rest = _told_by_etag(etag)
        self._records.add(from_s3_key(key), size_bytes, rest, name, put_at=put_at)


def _told_by_etag(etag: str) -> str:
    """An ETag is the MD5 of the content only when it looks like one."""
    if len(etag) == DIGITS[HashKind.MD5] and _HEX.fullmatch(etag):
        return f"{etag} "
    return " " + quote(etag, safe=_SAFE)


def _words(remote: Remote, can: Powers, kind: HashKind | None, below: bytes) -> list[str]:
    """How rclone is asked; empty when it cannot have what is asked for."""
    columns = "ps" + ("t" if can.modification_times else "") + ("h" if kind else "")
    words = [find_rclone(), "lsf", "-R", "--csv", "--config=", LOG_IN_JSON]
    words += ["--format", columns, "--time-format", "unixnano"]
    words += ["--hash", kind.value] if kind else []
    words += [f"--checkers={SFTP_CONNECTIONS}"] if remote.kind == "sftp" else []
    if below:
        name = remote_name(below)
        if name is None:
            return []
        start = "/" + literal(os.fsdecode(name))
        words += ["--filter", f"+ {start}", "--filter", f"+ {start}/**", "--filter", "- **"]
    return [*words, "--", f"hf:{remote.root}"]


async def _ask(daemon: RcloneDaemon, remote: Remote, words: list[str], file: IO[bytes]) -> None:
    """Keep what rclone says; raises when it did not end well."""
    pieces = stream(
        words,
        silence_seconds=SILENCE_SECONDS,
        env={**rclone_environment(daemon.directory), **remote.environment()},
        cwd=daemon.directory,
        separator=b"\0",  # there is none, so what comes is as large as it may be
        fails_at=spoils_listing,
    )
    try:
        async with aclosing(pieces):
            async for piece in pieces:
                file.write(piece)
    except ProcessFailed as error:
        raise listing_failure(error, remote, "the store") from None


def _convert(table: Path, below: bytes, kind: HashKind | None, records: _Records) -> None:
    with table.open(encoding="latin-1", newline="") as file:
        for row in csv.reader(file):
            if row[0].endswith("/"):
                continue
            name = row[0].encode("latin-1")
            path = from_remote_listing(name)
            if path is not None and (not inside(path, below) or is_temporary(row[0])):
                continue
            digest = row[-1] if kind and len(row[-1]) == DIGITS[kind] else ""
            modified = row[2] if len(row) - bool(kind) > 2 else ""  # noqa: PLR2004 - path and size
            odd = path is not None and remote_name(path) != name
            records.add(path, int(row[1]), f"{digest} {modified}", name, name if odd else b"")


def _keep_folders(table: Path, below: bytes, to: Path) -> None:
    with table.open(encoding="latin-1", newline="") as file, to.open("wb") as folders:
        for row in csv.reader(file):
            if row[0].endswith("/"):
                path = from_remote_listing(row[0][:-1].encode("latin-1"))
                if path is not None and inside(path, below):
                    folders.write(path + b"\0")


async def _finish(raw: Path, to: Path, records: _Records, kind: HashKind | None) -> ListingTotals:
    """Sort, and leave out what would be the same file here."""
    await sort(raw, raw, unique=True)
    left_out = records.left_out
    listed = await asyncio.to_thread(_split, raw, to, left_out)
    return ListingTotals(
        listed=listed, hash_kind=kind, left_out=left_out.files, left_names=tuple(left_out.names)
    )


def _split(raw: Path, to: Path, left_out: _LeftOut) -> Count:
    """What is in the listing; records that are not are left out."""
    try:
        listed, repeated = split_records(raw, to)
        if repeated:
            _without(raw, repeated, left_out)
            listed, _ = split_records(raw, to)
    except BaseException:
        to.unlink(missing_ok=True)
        rests_of(to).unlink(missing_ok=True)
        raise
    return listed


def _without(raw: Path, repeated: set[bytes], left_out: _LeftOut) -> None:
    kept = _beside(raw, "kept")
    with kept.open("wb") as file:
        for block in lists(raw):
            keys = [record.partition(REST_MARK)[0] for record in block]
            pairs = zip(keys, block, strict=True)
            write_list(file, [record for key, record in pairs if path_of(key) not in repeated])
            for key in keys:
                if path_of(key) in repeated:
                    left_out.add(path_of(key), size_of(key))
    kept.replace(raw)


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.name}.{end}")

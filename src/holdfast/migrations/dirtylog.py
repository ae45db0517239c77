"""The dirty log: which keys were changed while a bucket is tracked, as nginx wrote it down.

One line a finished mutation, in JSON, unbuffered; the format is specified in
docs/reference/nginx-files.md. Whatever cannot be understood for certain owes a full pass: it never
loses a key.
"""

import asyncio
import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote_to_bytes
from xml.parsers.expat import ExpatError, ParserCreate

from holdfast.migrations.dirtylog_room import Room

CHUNK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 40 * 1024 * 1024
"""A batch of 3 MiB in which every byte had to be escaped, and the rest of the line."""
MAX_DIRTY_KEYS = 200_000
"""More than that are forgotten for a full pass, which costs less then."""
KEPT_BYTES = 64 * 1024 * 1024
"""A larger log is emptied when no migration reads it any more."""
KEPT_FILES = 3
"""The live file and those it was rotated from: workers may go on writing to them for a while."""
WARNED_OF = 20
"""Buckets that copies name: more of them tell nothing more."""
_REFUSED = range(400, 500)


@dataclass(frozen=True, slots=True)
class Change:
    """What one line tells."""

    vhost: str
    bucket: str
    keys: frozenset[str] = frozenset()
    unclear: str = ""
    """Why the keys are not known; not empty: a full pass is owed."""
    foreign_source: str = ""
    """Another bucket that a copy read from."""
    counter: str = ""
    """Under which it was counted, so under which flag it began."""


class Unreadable(ValueError):
    """A line from which not even the bucket can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The fields of a line, as text."""

    v: str
    b: str
    m: str
    u: str
    c: str
    s: str
    us: str = ""
    cs: str = ""
    rb: str = ""
    k: str = ""


_FIELDS = tuple(field.name for field in fields(_Line))


def parse_line(line: bytes) -> Change:
    """Read one line. Raises `Unreadable`; what is clear but for its keys says so in ``unclear``."""
    try:
        row = json.loads(line.decode("utf-8", "surrogateescape"))
        found = _Line(**{name: str(row[name]) for name in _FIELDS if name in row})
    except (ValueError, TypeError):
        raise Unreadable("a line of the dirty log is not complete") from None
    keys, unclear = _keys(found)
    return Change(
        found.v,
        found.b,
        keys,
        unclear=unclear,
        foreign_source=_foreign_source(found.cs, found.b),
        counter=found.k,
    )


def _keys(line: _Line) -> tuple[frozenset[str], str]:
    """The keys that changed, or why they are not known."""
    nothing: frozenset[str] = frozenset()
    path, _, query = line.u.partition("?")
    raw_key = path[len(line.b) + 2 :]
    refused = _was_refused(line.s, line.us)
    if line.c == "part" or (line.m == "POST" and raw_key and _begins_upload(query)):
        return nothing, ""
    if line.c == "batch":
        keys = _batch_keys(line.rb)
        return keys, "" if keys or refused else "a batch delete could not be read"
    if not raw_key:
        form = line.m == "POST" and not refused
        return nothing, "a form upload names its key inside" if form else ""
    try:
        key = unquote_to_bytes(raw_key.encode("utf-8", "surrogateescape")).decode()
    except UnicodeDecodeError:
        return nothing, "" if refused else "a key is not UTF-8"
    return frozenset(_spellings(key)), ""


def _spellings(key: str) -> Iterator[str]:
    """The key, and what a server that tidies paths up may have made of it."""
    yield key
    tidy = normpath(f"/{key}").lstrip("/")
    if tidy != key.rstrip("/") and tidy:
        yield tidy


def _begins_upload(query: str) -> bool:
    names = {pair.partition("=")[0] for pair in query.split("&")}
    return "uploads" in names and "uploadId" not in names


def _was_refused(status: str, upstream: str) -> bool:
    """Whether the server (or nginx before it) answered that nothing was done."""
    answers = [status, *upstream.replace(":", ",").split(",")]
    codes = [int(text) for text in (a.strip() for a in answers) if text.isdigit()]
    return bool(codes) and all(code in _REFUSED for code in codes)


def _foreign_source(header: str, bucket: str) -> str:
    name = unquote_to_bytes(header.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
    source = name.lstrip("/").partition("/")[0]
    return source if source != bucket else ""


def _batch_keys(body: str) -> frozenset[str]:
    """Keys of a DeleteObjects body; empty when it is not one that is understood to its end."""
    keys: set[str] = set()
    path: list[str] = []
    text: list[str] = []

    def start(name: str, _: dict[str, str]) -> None:
        path.append(name.rpartition(":")[2])
        text.clear()

    def end(_: str) -> None:
        if path == ["Delete", "Object", "Key"]:
            keys.add("".join(text))
        path.pop()

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(body.encode("utf-8", "surrogateescape"), True)  # noqa: FBT003 expat takes its "last piece" by position
    except (ExpatError, ValueError, LookupError):
        return frozenset()
    return frozenset(keys - {""})


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type has no place in a batch")


@dataclass(slots=True)
class Dirty:
    """What is known to be changed of one bucket since somebody began to look. Bounded."""

    places: frozenset[tuple[str, str]]
    """``(vhost, bucket)``: all the ways in."""
    keys: set[str] = field(default_factory=set)
    owed: str = ""
    """Why a full pass is owed; empty: none is."""
    foreign_sources: set[str] = field(default_factory=set)
    """Buckets that were copied from, into this one."""
    foreign_targets: set[str] = field(default_factory=set)
    """Buckets that were copied into, from this one."""
    seen: int = 0

    def take(self) -> set[str]:
        """All dirty keys; they are the caller's now, until `put_back`."""
        taken, self.keys = self.keys, set()
        return taken

    def put_back(self, keys: Iterable[str]) -> None:
        """These were not copied after all."""
        self._add(keys)

    def owe(self, reason: str) -> None:
        """Only a full pass can tell now what was changed."""
        self.owed = self.owed or reason

    def settle(self) -> None:
        """A full pass is about to begin: it will see everything that was finished before."""
        self.owed = ""

    def note(self, change: Change) -> None:
        """Take one line in."""
        self.seen += 1
        self._add(change.keys)
        if change.unclear:
            self.owe(change.unclear)
        if change.foreign_source and len(self.foreign_sources) < WARNED_OF:
            self.foreign_sources.add(change.foreign_source)

    def note_copy_out(self, change: Change) -> None:
        """Take a line of another bucket in that was copied into from this one."""
        if len(self.foreign_targets) < WARNED_OF:
            self.foreign_targets.add(change.bucket)

    def _add(self, keys: Iterable[str]) -> None:
        self.keys.update(keys)
        if len(self.keys) > MAX_DIRTY_KEYS:
            self.keys.clear()
            self.owe(f"more than {MAX_DIRTY_KEYS} keys were changed")


class _File:
    """One file of the log, read from where it ended when it was opened (or from its start)."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._file = _open(path)
        self.room = Room(self._file, lambda: free_bytes(path.parent))
        status = os.fstat(self._file)
        self.identity = (status.st_dev, status.st_ino)
        self._offset = 0 if from_start else status.st_size
        self._rest = b""
        self._skipping = False

    def close(self) -> None:
        os.close(self._file)

    def shrunk(self) -> bool:
        """Whether somebody cut it; if so, reading goes on at its start."""
        if os.fstat(self._file).st_size >= self._offset:
            return False
        self._offset, self._rest = 0, b""
        return True

    def lines(self) -> list[bytes]:
        """The next complete lines, about a chunk of them; nothing: the end is reached."""
        while True:
            chunk = os.pread(self._file, CHUNK_BYTES, self._offset)
            self._offset += len(chunk)
            *complete, self._rest = (self._rest + chunk).split(b"\n")
            if complete or not chunk:
                return complete
            if len(self._rest) > MAX_LINE_BYTES:
                self._rest = b""
                return [b"too long"]

    def look_for_room(self) -> str:
        """Call it at the end of the file; gives why lines may be lost, if they may."""
        return self.room.look(self._offset)


def _open(path: Path) -> int:
    """For writing too if that is allowed: only so room can be set aside."""
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def free_bytes(folder: Path) -> int:
    """Space left on the disk of a folder."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


class DirtyLog:
    """The log of this machine's nginx, read once for all migrations of this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[_File] = []
        self._readers: list[Dirty] = []
        self._turn = asyncio.Lock()

    async def follow(self, places: Iterable[tuple[str, str]]) -> Dirty:
        """Begin to collect for a bucket: everything that is logged from now on."""
        async with self._turn:
            if not self._files:
                self._open(from_start=False)
            else:
                await self._read()
            dirty = Dirty(frozenset(places))
            if not self._files:
                dirty.owe("there is no dirty log yet")
            self._readers.append(dirty)
            return dirty

    def leave(self, dirty: Dirty) -> None:
        """Stop collecting; the last one closes the files."""
        self._readers = [reader for reader in self._readers if reader is not dirty]
        if not self._readers:
            self._shorten()
            self.close()

    def _shorten(self) -> None:
        """Nobody needs what it holds. A reader in another process sees that it was cut."""
        with suppress(OSError):
            if self._path.stat().st_size > KEPT_BYTES:
                os.truncate(self._path, 0)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()
        self._files = []

    async def read(self) -> None:
        """Read to the end as it is now.

        Every line written before this call is noted when it returns.
        """
        async with self._turn:
            await self._read()

    async def changes_under(self, counters: Collection[str]) -> list[Change]:
        """What the file tells, from its start, of mutations that were counted under these keys."""

        def look() -> list[Change]:
            found = []
            with self._path.open("rb") as file:
                for line in file:
                    with suppress(Unreadable):
                        change = parse_line(line)
                        if change.counter in counters:
                            found.append(change)
            return found

        return await asyncio.to_thread(look)

    def free_bytes(self) -> int:
        """Space left where nginx writes the log."""
        return free_bytes(self._path.parent)

    @property
    def full(self) -> bool:
        """Whether at the last read there was no room for what nginx may write since."""
        return bool(self._files) and self._files[-1].room.full

    async def _read(self) -> None:
        if not self._files:
            self._open(from_start=True)
        for file in list(self._files):
            await self._drain(file)
        if self._was_rotated():
            self._owe_all("the dirty log was rotated")
            self._open(from_start=True)
            await self._drain(self._files[-1])
        if self._files and (reason := self._files[-1].look_for_room()):
            self._owe_all(reason)

    async def _drain(self, file: _File) -> None:
        if file.shrunk():
            self._owe_all("the dirty log was cut")
        while lines := file.lines():
            for line in lines:
                self._note(line)
            await asyncio.sleep(0)  # others have their turn between two chunks

    def _open(self, *, from_start: bool) -> None:
        try:
            self._files.append(_File(self._path, from_start=from_start))
        except FileNotFoundError:
            return
        while len(self._files) > KEPT_FILES:
            self._files.pop(0).close()

    def _was_rotated(self) -> bool:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return False  # not made yet by nginx; what is open is read on
        return bool(self._files) and (status.st_dev, status.st_ino) != self._files[-1].identity

    def _note(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            change = parse_line(line)
        except Unreadable as error:
            self._owe_all(str(error))
            return
        for reader in self._readers:
            if (change.vhost, change.bucket) in reader.places:
                reader.note(change)
            elif (change.vhost, change.foreign_source) in reader.places:
                reader.note_copy_out(change)

    def _owe_all(self, reason: str) -> None:
        for reader in self._readers:
            reader.owe(reason)

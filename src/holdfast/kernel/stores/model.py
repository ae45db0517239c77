"""What a store is, and what it may be able to do besides."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from holdfast.kernel.errors import BadGateway, Invalid

TEMPORARY_PREFIX = ".holdfast-"
TEMPORARY_SUFFIX = ".part"
_TEMPORARY = re.compile(r"(?:.*/)?\.holdfast-[0-9a-f]{16}\.part", re.DOTALL)
LONGEST_PATH_BYTES = 1024


class HashKind(StrEnum):
    """Hashes that more than one kind of store knows."""

    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Powers:
    """What a store can do besides; `transfer.py` has a slow way for the others."""

    hashes: frozenset[HashKind] = frozenset()
    """Hashes that entries carry at no cost; a file without one is possible."""
    hashes_on_server: frozenset[HashKind] = frozenset()
    """Hashes that the place itself makes, by reading the content, when it is asked to."""
    atomic_write: bool = False
    """Who reads while a path is written again gets the old content or the new, never nothing."""
    modification_times: bool = False
    """Entries carry the time at which the content was last changed, at no extra cost."""
    copies_among: str = ""
    """Stores with the same word here copy among themselves, and no byte passes through us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A stored file, as far as its store tells."""

    path: str
    size_bytes: int
    hashes: Mapping[HashKind, str] = field(default_factory=dict)
    """In hex, lower case; empty when the store knows none."""
    modified: datetime | None = None
    """None when asking for it would cost a request a file."""


class Store(Protocol):
    """A place where files lie below relative paths such as ``a/b.txt``.

    Failures: ``NotFound`` for a path that is not there, ``Invalid`` for one that the store cannot
    have, ``Unavailable`` or ``BadGateway`` when the place cannot be reached or misbehaves.
    """

    @property
    def name(self) -> str:
        """For people: kind and place, never a secret."""

    @property
    def can(self) -> Powers:
        """What it can do besides."""

    async def stat(self, path: str) -> Entry:
        """One file."""

    def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """All files below a folder (all, without one), in no promised order, streamed.

        A listing that cannot be finished raises, at its end at the latest: what came before is then
        not the whole. A missing folder is an empty listing; a missing store raises.
        """

    def open(
        self, path: str, *, offset: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The content from ``offset`` on, in chunks."""

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> Entry:
        """Store content under ``path``: complete and checked, or not at all.

        ``size_bytes``, when known, is compared with what came. ``BadGateway`` when what was stored
        is not what was sent.
        """

    async def hash_on_server(self, path: str, kind: HashKind) -> str | None:
        """A hash of ``can.hashes_on_server``; None if not of this file. For `hash_of` only."""

    async def delete(self, path: str) -> None:
        """Delete a file; that it is not there is no failure."""

    async def copy_from(
        self, source: "Store", path: str, to: str, *, bytes_per_second: int | None = None
    ) -> Entry:
        """Copy from a store that has the same ``copies_among``; for `transfer.copy` only."""


class DamagedOnTheWay(BadGateway):
    """What a store holds after a write is not what was sent; it was removed again."""

    code = "damaged_on_the_way"


def checked_path(path: str) -> str:
    """A path that names one file below a root, and nothing else; raises ``Invalid``."""
    parts = path.split("/")
    if not path or any(part in {"", ".", ".."} for part in parts) or "\0" in path:
        raise Invalid(f"{path!r} is not a path in a store", hint="for example folder/file.txt")
    if len(path.encode("utf-8", "surrogateescape")) > LONGEST_PATH_BYTES:
        raise Invalid(f"a path in a store has at most {LONGEST_PATH_BYTES} bytes")
    return path


def checked_prefix(prefix: str) -> str:
    """A folder, without the slash at its end; empty for all."""
    return checked_path(prefix.removesuffix("/")) if prefix else ""


def temporary_name(token: str) -> str:
    """The name under which content lies until it is checked; ``token``: 16 hex digits."""
    return f"{TEMPORARY_PREFIX}{token}{TEMPORARY_SUFFIX}"


def is_temporary(path: str) -> bool:
    """Whether a path was made by `temporary_name`: not listed, and free to be removed when old."""
    return _TEMPORARY.fullmatch(path) is not None

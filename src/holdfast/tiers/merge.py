"""Both sides of a tier, side by side: sorted files, joined in memory of one size.

A side is a file of keys, ``path//size`` and a NUL, sorted by their bytes; no path has two slashes
in a row, so they are sorted by path, and by size. What else is known of a file stands beside it, in
`rests_of` that file, in the same order. Keys are joined by sets, a block at a time: Python touches
only what differs.
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from holdfast.tiers.model import Candidate, Skip
from holdfast.tiers.names import remote_name

SIZE_MARK = b"//"
REST_MARK = b"//:"
"""Between a key and the rest, while both are in one file to be sorted."""
BLOCK_BYTES = 128 * 1024
Staying = Callable[[list[bytes], bytes], Mapping[Skip, set[bytes]]]
"""Which of these keys stay by their paths, and why; given too: the keys with a NUL between them."""
_LINK_END = b".rclonelink" + SIZE_MARK
"""What a pull would make a symlink of does not leave."""
_GONE = (0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Count:
    """How many files, and how large they are together."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.files + other.files, self.size_bytes + other.size_bytes)


class Listed(NamedTuple):
    """A file as the listing of its store shows it. ``path``: as it would be called here."""

    path: bytes
    size_bytes: int
    digest: str
    """In hex, of the listing's kind of hash; empty: not known."""
    version: str
    """Changes with the content, as far as the store tells: its ETag, or its modification time."""
    odd_name: bytes
    """How the store's rclone calls it, where that is not its `names.remote_name`."""

    @property
    def stored_as(self) -> bytes:
        """How the store's rclone calls it."""
        return self.odd_name or remote_name(self.path) or self.path


@dataclass(slots=True)
class JoinTotals:
    """What a join found."""

    matched: Count = field(default_factory=Count)
    skipped: dict[Skip, Count] = field(default_factory=dict)


def rests_of(path: Path) -> Path:
    """Where the rest of what is known of a file's keys stands."""
    return path.with_name(f"{path.name}.rest")


def split_records(given: Path, to: Path) -> tuple[Count, set[bytes]]:
    """Make a side of a sorted file of ``path//size//:rest``.

    Gives what is in it, and the paths that come more than once.
    """
    files = size_bytes = 0
    repeated: set[bytes] = set()
    last = b""
    with to.open("wb") as keys_file, rests_of(to).open("wb") as rests_file:
        for block in lists(given):
            parts = b"\0".join(block).replace(REST_MARK, b"\0").split(b"\0")
            keys, rests = parts[::2], parts[1::2]
            if len(keys) != len(block) or len(rests) != len(block):
                raise ValueError(f"{given.name} has a record that is not whole")
            write_list(keys_file, keys)
            write_list(rests_file, rests)
            files += len(keys)
            size_bytes += sum(map(size_of, keys))
            paths = [last, *map(path_of, keys)]
            last = paths[-1]
            if len(set(paths)) != len(paths):
                repeated.update(name for name, times in Counter(paths).items() if times > 1)
    return Count(files, size_bytes), repeated


def lists(path: Path) -> Iterator[list[bytes]]:
    """What stands between the NULs of a file, a block at a time."""
    rest = b""
    with path.open("rb", buffering=0) as file:
        while read := file.read(BLOCK_BYTES):
            *whole, rest = (rest + read).split(b"\0")
            if whole:
                yield whole
    if rest:
        raise ValueError(f"{path.name} ends within a record")


def write_list(file: IO[bytes], items: Sequence[bytes]) -> None:
    """Append items, each with a NUL behind it."""
    if items:
        file.write(b"\0".join(items) + b"\0")


def join(
    candidates: Path,
    listing: Path,
    *,
    of: Count,
    matched: Path,
    skipped: Path,
    stays: Staying | None = None,
) -> JoinTotals:
    """Find the candidates that are in a listing with the same size, and do not stay by their names.

    ``of``: how many candidates there are. The found ones are written to ``matched``, a file of keys
    that can be joined with a second listing; the others are added to ``skipped``: `read_skipped`.
    """
    totals = JoinTotals()
    files = 0
    ours, theirs = _Side(candidates), _Side(listing)
    with matched.open("wb") as found, skipped.open("ab") as left:
        while ours.filled():
            upto = min(ours.end(), theirs.end()) if theirs.filled() else ours.end()
            keys, known = ours.take(upto), theirs.take(upto)
            both = set(keys).intersection(known)
            if len(both) < len(keys):
                _leave([key for key in keys if key not in both], known, totals, left)
                keys = [key for key in keys if key in both]
            text = b"\0".join(keys)
            if _LINK_END in text:
                links = [key for key in keys if _LINK_END in key]
                _skip(Skip.NOT_PROVABLE, links, totals, left)
                keys = [key for key in keys if _LINK_END not in key]
            for reason, named in (stays(keys, text) if stays else {}).items():
                _skip(reason, named, totals, left)
                keys = [key for key in keys if key not in named]
            write_list(found, keys)
            files += len(keys)
    left_bytes = sum(count.size_bytes for count in totals.skipped.values())
    totals.matched = Count(files, of.size_bytes - left_bytes)
    return totals


def read_candidates(path: Path, root: bytes) -> Iterator[Candidate]:
    """The files of a scan; where it kept no more than keys, each is looked at now.

    One that went away meanwhile has inode 0.
    """
    rests = _Rests(path) if rests_of(path).exists() else None
    for keys in lists(path):
        told = rests.take(len(keys)) if rests else []
        found = (
            map(_candidate, keys, told)
            if rests
            else map(partial(_look, root.rstrip(b"/") + b"/"), keys)
        )
        yield from found


def read_listing(path: Path) -> Iterator[Listed]:
    """The files of a listing."""
    rests = _Rests(path)
    for keys in lists(path):
        yield from map(_listed, map(path_of, keys), map(size_of, keys), rests.take(len(keys)))


def read_matched(
    path: Path, root: bytes, listings: Sequence[Path]
) -> Iterator[tuple[Candidate, tuple[Listed, ...]]]:
    """What `join` found, each looked at now, and what the joined listings say of it.

    A file that went away meanwhile has inode 0; its size is always the one that was compared.
    """
    sides = [_Side(listing, rests=True) for listing in listings]
    start = root.rstrip(b"/") + b"/"
    for keys in lists(path):
        told = [side.look_up(keys) for side in sides]
        for key, *rests in zip(keys, *told, strict=True):
            file = _look(start, key)
            yield file, tuple([_listed(file.path, file.size_bytes, rest) for rest in rests])


def read_skipped(path: Path) -> Iterator[tuple[bytes, int, Skip]]:
    """What `join` left: path, size and reason."""
    for block in lists(path):
        for record in block:
            key, _, reason = record.rpartition(REST_MARK)
            yield path_of(key), size_of(key), Skip[reason.decode()]


def path_of(key: bytes) -> bytes:
    """The path in a key."""
    return key.rpartition(SIZE_MARK)[0]


def size_of(key: bytes) -> int:
    """The size in a key."""
    return int(key.rpartition(SIZE_MARK)[2])


class _Rests:
    """What stands beside keys, taken as they are."""

    def __init__(self, path: Path) -> None:
        self._lists = lists(rests_of(path))
        self._items: list[bytes] = []

    def take(self, count: int) -> list[bytes]:
        """The next ones."""
        while len(self._items) < count:
            self._items += next(self._lists)
        taken, self._items = self._items[:count], self._items[count:]
        return taken


class _Side:
    """A side, taken piece by piece; no path comes twice."""

    def __init__(self, path: Path, *, rests: bool = False) -> None:
        self._lists = lists(path)
        self._keys: list[bytes] = []
        self._rests = _Rests(path) if rests else None

    def filled(self) -> bool:
        """Whether there is more; looks for it when nothing is at hand."""
        if not self._keys:
            self._keys = next(self._lists, [])
        return bool(self._keys)

    def end(self) -> bytes:
        """What is right behind the last path at hand."""
        return path_of(self._keys[-1]) + REST_MARK

    def take(self, end: bytes) -> list[bytes]:
        """The keys at hand that lie before ``end``."""
        cut = bisect_left(self._keys, end)
        taken, self._keys = self._keys[:cut], self._keys[cut:]
        return taken

    def look_up(self, keys: list[bytes]) -> list[bytes]:
        """The rests of keys that are here, and behind those looked up before."""
        known: dict[bytes, bytes] = {}
        wanted = set(keys)
        end = path_of(keys[-1]) + REST_MARK
        while self._rests is not None and self.filled():
            taken = self.take(end)
            pairs = zip(taken, self._rests.take(len(taken)), strict=True)
            known.update(pair for pair in pairs if pair[0] in wanted)
            if self._keys:
                break
        return [known[key] for key in keys]


def _leave(missing: list[bytes], known: list[bytes], totals: JoinTotals, left: IO[bytes]) -> None:
    paths = set(map(path_of, known))
    here = [key for key in missing if path_of(key) in paths]
    _skip(Skip.OTHER_SIZE, here, totals, left)
    _skip(
        Skip.MISSING_ON_STORE, [key for key in missing if path_of(key) not in paths], totals, left
    )


def _skip(reason: Skip, keys: Collection[bytes], totals: JoinTotals, left: IO[bytes]) -> None:
    if keys:
        count = Count(len(keys), sum(map(size_of, keys)))
        totals.skipped[reason] = totals.skipped.get(reason, Count()) + count
        end = REST_MARK + reason.name.encode()
        write_list(left, [key + end for key in keys])


def rest_of(info: os.stat_result) -> bytes:
    """What a scan keeps of a file besides its path and size."""
    moments = (info.st_mtime_ns, info.st_ctime_ns, info.st_atime_ns)
    times = [b"%d.%09d" % divmod(moment, 1_000_000_000) for moment in moments]
    return b" ".join([b"%d %d %d" % (info.st_dev, info.st_ino, info.st_nlink), *times])


def _look(root: bytes, key: bytes) -> Candidate:
    path, _, size = key.rpartition(SIZE_MARK)
    try:
        info = os.lstat(root + path)
    except OSError:
        return Candidate(path, int(size), *_GONE)
    return Candidate(
        path,
        int(size),
        info.st_dev,
        info.st_ino,
        info.st_nlink,
        info.st_mtime_ns,
        info.st_ctime_ns,
        info.st_atime_ns,
    )


def _candidate(key: bytes, rest: bytes) -> Candidate:
    path, _, size = key.rpartition(SIZE_MARK)
    device, inode, links, modified, changed, read = rest.split(b" ")
    return Candidate(
        path,
        int(size),
        int(device),
        int(inode),
        int(links),
        _nanoseconds(modified),
        _nanoseconds(changed),
        _nanoseconds(read),
    )


def _nanoseconds(seconds: bytes) -> int:
    """Of seconds with a point and at least nine digits behind it."""
    whole, _, fraction = seconds.partition(b".")
    return int(whole) * 1_000_000_000 + int(fraction[:9] or b"0")


def _listed(path: bytes, size_bytes: int, rest: bytes) -> Listed:
    digest, version, odd_name = rest.split(b" ", 2)
    told = digest.decode()
    return Listed(path, size_bytes, told, version.decode() or told, odd_name)

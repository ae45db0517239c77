"""Both sides of a tier, side by side: sorted files of records, joined in memory of one size.

A record is ``path//size//:rest`` and a NUL; no path has two slashes in a row, so records sort by
path, and by path and size. A joined record has a NUL between its parts, and one ``rest`` a side.
The joining itself is done by sets and dictionaries, a block at a time: Python touches no record.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import IO

from holdfast.tiers.model import PARTIAL_SUFFIX, Candidate, Skip
from holdfast.tiers.names import remote_name

SIZE_MARK = b"//"
REST_MARK = b"//:"
BLOCK_BYTES = 2 * 1024 * 1024
_PARTIAL_END = PARTIAL_SUFFIX.encode() + SIZE_MARK

Columns = list[list[bytes]]
"""Keys (``path//size``) of consecutive records, and then each of their further parts."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many files, and how large they are together."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.files + other.files, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as the listing of its store shows it. ``path``: as it would be called here."""

    path: bytes
    size_bytes: int
    digest: str
    """In hex, of the listing's kind of hash; empty: not known."""
    version: str
    """Changes with the content, as far as the store tells: its ETag, or its modification time."""
    stored_as: bytes
    """How the store's rclone calls it; differs from `names.remote_name` for odd names only."""


@dataclass(slots=True)
class JoinTotals:
    """What a join found."""

    matched: Count = field(default_factory=Count)
    skipped: dict[Skip, Count] = field(default_factory=dict)

    def skip(self, reason: Skip, keys: Sequence[bytes]) -> None:
        """Count files that stay."""
        if keys:
            self.skipped[reason] = self.skipped.get(reason, Count()) + _count(keys)


def join(
    candidates: Path, listing: Path, *, matched: Path, skipped: Path, width: int = 2
) -> JoinTotals:
    """Find the candidates that are in a listing with the same size.

    They are written to ``matched`` with what the listing says of them, which is a file to be joined
    with a second listing (``width``: parts of a record; 3 then). The others are added to
    ``skipped``: see `read_skipped`.
    """
    totals = JoinTotals()
    ours, theirs = _Side(candidates, width), _Side(listing, 2)
    with matched.open("wb") as found, skipped.open("ab") as left:
        while ours.filled():
            end = min(ours.end(), theirs.end()) if theirs.filled() else ours.end()
            columns, known = ours.take(end), dict(zip(*theirs.take(end), strict=True))
            here = [key in known for key in columns[0]]
            if not all(here):
                _leave([key for key in columns[0] if key not in known], known, totals, left)
            if any(here):
                chosen = [_chosen(column, here) for column in columns]
                chosen.append(list(map(known.__getitem__, chosen[0])))
                totals.matched += _count(chosen[0])
                write_joined(found, chosen)
    return totals


def write_joined(file: IO[bytes], columns: Columns) -> None:
    """Append records to a file of joined ones."""
    if columns[0]:
        file.write(b"\0".join(chain.from_iterable(zip(*columns, strict=True))) + b"\0")


def blocks(path: Path, width: int = 2) -> Iterator[Columns]:
    """A file of records in columns, a block at a time; what a pull left unfinished is not in it."""
    rest = b""
    with path.open("rb", buffering=0) as file:
        while read := file.read(BLOCK_BYTES):
            block = rest + read
            parts = block.replace(REST_MARK, b"\0").split(b"\0")
            whole = (len(parts) - 1) // width * width
            rest = b"\0".join(parts[whole:])
            del parts[whole:]
            columns = [parts[number::width] for number in range(width)]
            if _PARTIAL_END in block:
                here = [_PARTIAL_END not in key for key in columns[0]]
                columns = [_chosen(column, here) for column in columns]
            if columns[0]:
                yield columns
    if rest:
        raise ValueError(f"{path.name} ends within a record")


def read_candidates(path: Path) -> Iterator[Candidate]:
    """The records of a scan."""
    for keys, rests in blocks(path):
        yield from map(_candidate, keys, rests)


def read_listing(path: Path) -> Iterator[Listed]:
    """The records of a listing."""
    for keys, rests in blocks(path):
        yield from map(_listed, keys, rests)


def read_matched(path: Path, listings: int = 1) -> Iterator[tuple[Candidate, tuple[Listed, ...]]]:
    """What `join` found: each candidate, and what each of the joined listings says of it."""
    for keys, seen, *told in blocks(path, listings + 2):
        for key, rest, *others in zip(keys, seen, *told, strict=True):
            yield _candidate(key, rest), tuple(_listed(key, other) for other in others)


def read_skipped(path: Path) -> Iterator[tuple[bytes, int, Skip]]:
    """What `join` left: path, size and reason."""
    for keys, reasons in blocks(path):
        for key, reason in zip(keys, reasons, strict=True):
            name, _, size = key.rpartition(SIZE_MARK)
            yield name, int(size), Skip[reason.decode()]


def outer_join(
    local: Iterable[Candidate], listed: Iterable[Listed]
) -> Iterator[tuple[Candidate | None, Listed | None]]:
    """All files of both sides in their order; the same path comes as one pair."""
    ours, theirs = iter(local), iter(listed)
    one, two = next(ours, None), next(theirs, None)
    while one is not None or two is not None:
        mine = one is not None and (two is None or _order(one) <= _order(two))
        other = two is not None and (one is None or _order(two) <= _order(one))
        yield (one if mine else None), (two if other else None)
        one = next(ours, None) if mine else one
        two = next(theirs, None) if other else two


def repeated_paths(path: Path) -> set[bytes]:
    """Paths that more than one record of a sorted file has."""
    found: set[bytes] = set()
    last = b""
    for keys, _ in blocks(path):
        paths = [last, *map(_path, keys)]
        last = paths[-1]
        if len(set(paths)) != len(paths):
            found.update(name for name, times in Counter(paths).items() if times > 1)
    return found


class _Side:
    """A sorted file of records, taken piece by piece; no path comes twice."""

    def __init__(self, path: Path, width: int) -> None:
        self._blocks = blocks(path, width)
        self._columns: Columns = [[] for _ in range(width)]

    def filled(self) -> bool:
        """Whether there is more; looks for it when nothing is at hand."""
        if not self._columns[0]:
            self._columns = next(self._blocks, self._columns)
        return bool(self._columns[0])

    def end(self) -> bytes:
        """What is right behind the last record at hand."""
        return _path(self._columns[0][-1]) + REST_MARK

    def take(self, end: bytes) -> Columns:
        """The records at hand that lie before ``end``."""
        cut = bisect_left(self._columns[0], end)
        taken = [column[:cut] for column in self._columns]
        self._columns = [column[cut:] for column in self._columns]
        return taken


def _leave(
    missing: list[bytes], known: dict[bytes, bytes], totals: JoinTotals, left: IO[bytes]
) -> None:
    paths = set(map(_path, known))
    for reason, there in ((Skip.OTHER_SIZE, True), (Skip.MISSING_ON_STORE, False)):
        keys = [key for key in missing if (_path(key) in paths) is there]
        totals.skip(reason, keys)
        write_joined(left, [keys, [reason.name.encode()] * len(keys)])


def _chosen(column: list[bytes], here: list[bool]) -> list[bytes]:
    return [item for item, is_here in zip(column, here, strict=True) if is_here]


def _path(key: bytes) -> bytes:
    return key.rpartition(SIZE_MARK)[0]


def _count(keys: Sequence[bytes]) -> Count:
    return Count(len(keys), sum([int(key.rpartition(SIZE_MARK)[2]) for key in keys]))


def _order(item: Candidate | Listed) -> bytes:
    return item.path + SIZE_MARK


def _candidate(key: bytes, rest: bytes) -> Candidate:
    path, _, size = key.rpartition(SIZE_MARK)
    device, inode, links, modified, changed, read = rest.split(b" ")
    return Candidate(
        path=path,
        size_bytes=int(size),
        device=int(device),
        inode=int(inode),
        links=int(links),
        mtime_ns=_nanoseconds(modified),
        ctime_ns=_nanoseconds(changed),
        atime_ns=_nanoseconds(read),
    )


def _nanoseconds(seconds: bytes) -> int:
    """Of seconds with a point and at least nine digits behind it."""
    whole, _, fraction = seconds.partition(b".")
    nanoseconds = int(fraction[:9] or b"0")
    return int(whole) * 1_000_000_000 + nanoseconds


def _listed(key: bytes, rest: bytes) -> Listed:
    path, _, size = key.rpartition(SIZE_MARK)
    digest, version, stored_as = rest.split(b" ", 2)
    return Listed(
        path=path,
        size_bytes=int(size),
        digest=digest.decode(),
        version=version.decode() or digest.decode(),
        stored_as=stored_as or remote_name(path) or path,
    )

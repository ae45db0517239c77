"""What freezes took from a folder and the tree has not got back, by the journal.

Asked for by ranges of paths, in the order of an index: it costs what the folder holds, however long
the journal is.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.tiers.browsing import check_size
from holdfast.tiers.model import FileState
from holdfast.tiers.queries import LEFT, is_sqlite, path_key
from holdfast.tiers.tables import KEY_BYTES, TierFileRow

BLOCK_ROWS = 1000
RANGES_AT_ONCE = 50
_LAST = b"\xff" * 256
"""Behind all paths: no name is longer than 255 bytes."""
AnyRow = Row[*tuple[Any, ...]]
Range = tuple[bytes, bytes]
"""Of paths: the first, and the first that is not in it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A file that a freeze took, as it was then."""

    size_bytes: int
    mtime_ns: int
    waits: bool
    """In quarantine: an undo brings it back."""
    row_id: int


@dataclass(slots=True)
class LeftBelow:
    """What was found. Paths are relative to the tier's root."""

    files: dict[bytes, Left] = field(default_factory=dict)
    folders: dict[bytes, Left] = field(default_factory=dict)
    """Those that lie too deep to be looked into, with a file of each."""

    def add(self, path: bytes, left: Left) -> None:
        """One more row; of a path, the latest tells, and what waits comes first."""
        known = self.files.get(path)
        if known is None or (left.waits, left.row_id) > (known.waits, known.row_id):
            self.files[path] = left


async def left_in(
    session: AsyncSession,
    tier_id: int,
    below: bytes,
    *,
    depth: int,
    known: Iterable[bytes] = (),
) -> LeftBelow:
    """What left a folder, so many folders deep (0: all), or the one file of that path.

    ``known``: folders so deep that need not be found. Raises ``Conflict`` for too many files.
    """
    found = LeftBelow()
    waiting = list(_ranges(below, known if depth else ()))
    while waiting:
        part, waiting = waiting[:RANGES_AT_ONCE], waiting[RANGES_AT_ONCE:]
        parts = [_query(session, tier_id, one, number) for number, one in enumerate(part)]
        rows: list[list[AnyRow]] = [[] for _ in part]
        for row in await session.execute(union_all(*parts)):
            rows[row.number].append(row)
        for (_, end), of_range in zip(part, rows, strict=True):
            following = _take(found, of_range, below, depth)
            if len(of_range) == BLOCK_ROWS and following < end:
                waiting.append((following, end))
        check_size(found.files)
    return found


async def left_rows(
    session: AsyncSession, tier_id: int, below: bytes
) -> AsyncIterator[tuple[bytes, Left]]:
    """All that left at or below a path, however much: some rows of a path may come again."""
    for first, end in _ranges(below, ()):
        start = first
        while start < end:
            query = _query(session, tier_id, (start, end), 0)
            rows = (await session.execute(query)).all()
            for row in rows:
                yield row.path, _left(row)
            start = _behind(rows) if len(rows) == BLOCK_ROWS else end


def _ranges(below: bytes, known: Iterable[bytes]) -> Iterator[Range]:
    """What lies below a folder, less these folders in it."""
    start, end = (below + b"/", below + b"0") if below else (b"", _LAST)
    if below:
        yield below, below + b"\0"
    for folder in sorted(folder + b"/" for folder in known):
        if start < folder:
            yield start, folder
        start = folder[:-1] + b"0"
    yield start, end


def _query(
    session: AsyncSession, tier_id: int, part: Range, number: int
) -> Select[*tuple[Any, ...]]:
    first, end = part
    path, in_order = TierFileRow.path, [TierFileRow.path.expression]
    query: Select[*tuple[Any, ...]] = select(
        path,
        TierFileRow.id,
        TierFileRow.size_bytes,
        TierFileRow.mtime_ns,
        TierFileRow.state,
        literal_column(str(number)).label("number"),
    ).where(TierFileRow.tier_id == tier_id, path >= first, path < end, TierFileRow.state.in_(LEFT))
    if not is_sqlite(session):
        query = query.where(path_key >= first[:KEY_BYTES], path_key <= end[:KEY_BYTES])
        in_order.insert(0, path_key)
    return select(query.order_by(*in_order).limit(BLOCK_ROWS).subquery())


def _take(found: LeftBelow, rows: Sequence[AnyRow], below: bytes, depth: int) -> bytes:
    """Take rows in the order of their paths; gives where to go on."""
    following = b""
    for row in rows:
        if row.path < following:
            continue
        left = _left(row)
        folder = _too_deep(row.path, below, depth)
        if folder is None:
            found.add(row.path, left)
        else:
            found.folders[folder] = left
            following = folder + b"0"
    return max(following, _behind(rows)) if rows else following


def _left(row: AnyRow) -> Left:
    return Left(
        size_bytes=row.size_bytes,
        mtime_ns=row.mtime_ns,
        waits=row.state != FileState.FROZEN,
        row_id=row.id,
    )


def _behind(rows: Sequence[AnyRow]) -> bytes:
    """Where to go on: there may be more rows of the last path."""
    last: bytes = rows[-1].path
    return last if last != rows[0].path else last + b"\0"


def _too_deep(path: bytes, below: bytes, depth: int) -> bytes | None:
    """The folder of this path that is not looked into."""
    names = path.split(b"/")
    deepest = depth + (below.count(b"/") + 1 if below else 0)
    return b"/".join(names[:deepest]) if depth and len(names) > deepest else None

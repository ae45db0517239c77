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
FEW_ROWS = 20
"""Where folders are found that are not looked into: of each, one row would do."""
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
    folders: set[bytes] = field(default_factory=set)
    """Those that lie too deep to be looked into: something left from each."""

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

    ``known``: folders so deep that need not be found; many of them cost little where nothing left
    from them. Raises ``Conflict`` for too many files.
    """
    found = LeftBelow()
    ranges = await _ranges_to_ask(session, tier_id, below, known if depth else ())
    most = min(FEW_ROWS, BLOCK_ROWS) if depth else BLOCK_ROWS
    waiting = [(one, most) for one in ranges]
    while waiting:
        part, waiting = waiting[:RANGES_AT_ONCE], waiting[RANGES_AT_ONCE:]
        for (_, end), limit, rows in await _rows(session, tier_id, part):
            following, is_deep = _take(found, rows, below, depth)
            if len(rows) == limit and following < end:
                waiting.append(((following, end), most if is_deep else BLOCK_ROWS))
        check_size(found.files)
    return found


async def _ranges_to_ask(
    session: AsyncSession, tier_id: int, below: bytes, known: Iterable[bytes]
) -> list[Range]:
    """What lies between the known folders; of many, only where anything left near them at all."""
    ranges = list(_ranges(below, known))
    if len(ranges) <= RANGES_AT_ONCE:
        return ranges
    count = -(-len(ranges) // RANGES_AT_ONCE)
    parts = [ranges[start : start + count] for start in range(0, len(ranges), count)]
    wide = [((part[0][0], part[-1][1]), 1) for part in parts]
    found = await _rows(session, tier_id, wide)
    return [one for part, (*_, rows) in zip(parts, found, strict=True) if rows for one in part]


async def _rows(
    session: AsyncSession, tier_id: int, part: Sequence[tuple[Range, int]]
) -> list[tuple[Range, int, list[AnyRow]]]:
    """The first rows of some ranges, of each at most so many."""
    parts = [
        _query(session, tier_id, one, number, limit) for number, (one, limit) in enumerate(part)
    ]
    found: list[tuple[Range, int, list[AnyRow]]] = [(one, limit, []) for one, limit in part]
    for row in await session.execute(union_all(*parts)):
        found[row.number][2].append(row)
    return found


async def left_rows(
    session: AsyncSession, tier_id: int, below: bytes
) -> AsyncIterator[tuple[bytes, Left]]:
    """All that left at or below a path, however much: some rows of a path may come again."""
    for first, end in _ranges(below, ()):
        start = first
        while start < end:
            query = _query(session, tier_id, (start, end), 0, BLOCK_ROWS)
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
    session: AsyncSession, tier_id: int, part: Range, number: int, limit: int
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
    return select(query.order_by(*in_order).limit(limit).subquery())


def _take(found: LeftBelow, rows: Sequence[AnyRow], below: bytes, depth: int) -> tuple[bytes, bool]:
    """Take rows in the order of their paths; gives where to go on, and if behind a folder."""
    following = b""
    for row in rows:
        if row.path < following:
            continue
        folder = _too_deep(row.path, below, depth)
        if folder is None:
            found.add(row.path, _left(row))
        else:
            found.folders.add(folder)
            following = folder + b"0"
    behind = _behind(rows) if rows else b""
    return max(following, behind), following > behind


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
    return last if last != rows[0].path or len(rows) < BLOCK_ROWS else last + b"\0"


def _too_deep(path: bytes, below: bytes, depth: int) -> bytes | None:
    """The folder of this path that is not looked into."""
    names = path.split(b"/")
    deepest = depth + (below.count(b"/") + 1 if below else 0)
    return b"/".join(names[:deepest]) if depth and len(names) > deepest else None

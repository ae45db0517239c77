"""Are two buckets equal? Decided on two listings, whatever their order and size.

Equal are objects with the same size and ETag. Where a server's ETags do not come from the content,
or do not keep the part layout, what was proved while copying is remembered: this ETag there belongs
to that ETag here. Remembered is also when the source's object was last changed: new headers on the
same content change no ETag. For the same reason an object that was on the destination before counts
as equal only when it is younger than the source's: a copy left by an earlier move has old headers.
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.model import BucketTotals, ListedObject
from holdfast.migrations.groups import unwrapped

BATCH_KEYS = 500
_TEMPORARY = re.compile(r"(?:.*/)?\.tmp\.[0-9a-f]{32}", re.DOTALL)
_T = TypeVar("_T")

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE IF NOT EXISTS copied (
    key TEXT PRIMARY KEY, s_etag TEXT, s_modified INT, d_etag TEXT, md5 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS source (
    key TEXT PRIMARY KEY, etag TEXT, size INT, modified INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS destination (
    key TEXT PRIMARY KEY, etag TEXT, size INT, modified INT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS difference (
    n INTEGER PRIMARY KEY, key TEXT, action TEXT, size INT, etag TEXT);
"""

# Large objects come first, so that the last ones to be copied are short.
# Times are compared with a second to spare: headers and listings round differently.
_DIFFERENCES = """
INSERT INTO difference (key, action, size, etag)
SELECT key, action, size, etag FROM (
    SELECT s.key AS key, 'copy' AS action, s.size AS size, s.etag AS etag
    FROM source s LEFT JOIN destination d ON d.key = s.key LEFT JOIN copied c ON c.key = s.key
    WHERE d.key IS NULL OR d.size <> s.size
       OR NOT ((s.etag = d.etag AND s.etag <> '') OR (c.s_etag IS s.etag AND c.d_etag IS d.etag))
       OR (s.modified <> 0 AND c.s_modified <> 0 AND abs(s.modified - c.s_modified) > 1)
       OR (c.key IS NULL AND d.modified <> 0 AND s.modified >= d.modified - 1)
    UNION ALL
    SELECT d.key, 'delete', d.size, d.etag
    FROM destination d LEFT JOIN source s ON s.key = d.key WHERE s.key IS NULL
) ORDER BY size >= 8388608 DESC, key
"""

_CHANGED = """
SELECT count(*), total(d.size)
FROM destination d JOIN source s ON s.key = d.key LEFT JOIN copied c ON c.key = s.key
WHERE d.size <> s.size
   OR NOT ((s.etag = d.etag AND s.etag <> '') OR (c.s_etag IS s.etag AND c.d_etag IS d.etag))
"""


class Action(StrEnum):
    """What makes a key of the destination equal to the source's."""

    COPY = "copy"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that is not the same on both sides, with what the object there is to copy or delete."""

    key: str
    action: Action
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What was proved of a copied object."""

    key: str
    source_etag: str
    source_modified: int
    """Unix time in seconds, 0 when unknown."""
    destination_etag: str
    md5: str
    """Of the whole content, empty when it was checked part by part."""


@dataclass(frozen=True, slots=True)
class ComparisonTotals:
    """The result of a comparison."""

    source: BucketTotals
    destination: BucketTotals
    to_copy: BucketTotals
    to_delete: BucketTotals
    changed: BucketTotals
    """What is on the destination with another content; the rest to copy is new, or has headers that
    may be older."""

    @property
    def equal(self) -> bool:
        """Nothing to copy and nothing to delete."""
        return not (self.to_copy.objects or self.to_delete.objects)


class Comparison:
    """Compares two buckets in a scratch file; one comparison at a time. An async context manager.

    The file may be kept over restarts (what was proved stays known) and may be lost (more is copied
    again). It is not durable on purpose: delete it when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turn = asyncio.Lock()
        self._spoilt = False

    async def __aenter__(self) -> Self:
        self._connection = await asyncio.to_thread(_open, self._path)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                await asyncio.to_thread(connection.close)

    async def remember(self, copied: Sequence[Copied]) -> None:
        """Keep what was proved while copying; what cannot be kept is copied again."""
        if self._spoilt:
            return
        rows = [
            (c.key, c.source_etag, c.source_modified, c.destination_etag, c.md5) for c in copied
        ]
        await self._run(
            lambda db: db.executemany("INSERT OR REPLACE INTO copied VALUES (?, ?, ?, ?, ?)", rows)
        )

    async def scan(
        self,
        source: S3Client,
        source_bucket: str,
        destination: S3Client,
        destination_bucket: str,
        *,
        by_folder: bool = True,
    ) -> ComparisonTotals:
        """List both buckets at the same time and work out their differences.

        Raises what listing raises, and ``Unavailable`` when the scratch file cannot be written.
        """
        if self._spoilt:
            await self._start_over()
        await self._run(_forget_listings)
        async with unwrapped(), asyncio.TaskGroup() as both:
            both.create_task(
                self._list("source", source.list_objects(source_bucket, by_folder=by_folder))
            )
            both.create_task(
                self._list(
                    "destination", destination.list_objects(destination_bucket, by_folder=by_folder)
                )
            )
        return await self._run(_compute)

    async def differences(self) -> AsyncIterator[list[Difference]]:
        """The differences that ``scan`` found, in batches: large objects first, then by key."""
        after = 0
        while rows := await self._run(partial(_batch, after)):
            after = rows[-1][0]
            yield [
                Difference(key, Action(action), size, etag) for _, key, action, size, etag in rows
            ]

    async def _list(self, table: str, pages: AsyncIterator[list[ListedObject]]) -> None:
        async for page in pages:
            await self._run(partial(_insert, table, page))

    async def _run(self, action: Callable[[sqlite3.Connection], _T]) -> _T:
        async with self._turn:
            if self._connection is None:
                raise RuntimeError("the comparison is not open: use `async with`")
            if self._spoilt:
                raise Unavailable(f"{self._path.name} was spoilt: everything is compared again")
            try:
                return await asyncio.to_thread(_transact, self._connection, action)
            except sqlite3.DatabaseError as error:  # a full disk, above all
                self._spoilt = True
                raise Unavailable(f"{self._path.name} cannot be written: {error}") from error

    async def _start_over(self) -> None:
        """Nothing in the file can be believed any more."""
        async with self._turn:
            if self._connection is not None:
                self._connection.close()
            self._path.unlink(missing_ok=True)
            try:
                self._connection = await asyncio.to_thread(_open, self._path)
            except sqlite3.DatabaseError as error:
                self._connection = sqlite3.connect(":memory:")
                raise Unavailable(f"{self._path.name} cannot be written: {error}") from error
            self._spoilt = False


def is_unfinished_write(listed: ListedObject) -> bool:
    """Whether a listed key is the temporary file of a running or broken write of nanio."""
    return not listed.etag and _TEMPORARY.fullmatch(listed.key) is not None


def _transact(connection: sqlite3.Connection, action: Callable[[sqlite3.Connection], _T]) -> _T:
    with connection:
        return action(connection)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.executescript(_SCHEMA)
    return connection


def _insert(table: str, page: list[ListedObject], connection: sqlite3.Connection) -> None:
    if table == "source":  # a broken write of ours on the destination is to be removed
        page = [listed for listed in page if not is_unfinished_write(listed)]
    rows = [(listed.key, listed.etag, listed.size_bytes, listed.modified) for listed in page]
    statement = f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)"  # noqa: S608 a name of ours
    connection.executemany(statement, rows)


def _forget_listings(connection: sqlite3.Connection) -> None:
    for table in ("source", "destination", "difference"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 a name of ours


def _compute(connection: sqlite3.Connection) -> ComparisonTotals:
    connection.execute(_DIFFERENCES)
    return ComparisonTotals(
        source=_totals(connection, "SELECT count(*), total(size) FROM source"),
        destination=_totals(connection, "SELECT count(*), total(size) FROM destination"),
        to_copy=_totals(
            connection, "SELECT count(*), total(size) FROM difference WHERE action = 'copy'"
        ),
        to_delete=_totals(
            connection, "SELECT count(*), total(size) FROM difference WHERE action = 'delete'"
        ),
        changed=_totals(connection, _CHANGED),
    )


def _totals(connection: sqlite3.Connection, query: str) -> BucketTotals:
    with closing(connection.execute(query)) as cursor:
        objects, size_bytes = cursor.fetchone()
    return BucketTotals(int(objects), int(size_bytes))


def _batch(after: int, connection: sqlite3.Connection) -> list[tuple[int, str, str, int, str]]:
    query = "SELECT n, key, action, size, etag FROM difference WHERE n > ? ORDER BY n LIMIT ?"
    return connection.execute(query, (after, BATCH_KEYS)).fetchall()

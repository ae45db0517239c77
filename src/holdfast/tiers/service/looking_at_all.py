"""All files below a folder of a tier, here and on its stores, however many: in memory of one size.

Both sides are listed into sorted files, as a verify does, and read side by side.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby
from pathlib import Path

from holdfast.kernel.errors import TooMany, Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.stores.place import Place, open_place
from holdfast.tiers.browsing import Seen
from holdfast.tiers.differing import known_differences, seem_to_differ
from holdfast.tiers.files import clear_work_dir, work_dir
from holdfast.tiers.left import left_rows
from holdfast.tiers.listing import ListingTotals, list_place, read_times
from holdfast.tiers.merge import SIZE_MARK
from holdfast.tiers.merge import Listed as Stored
from holdfast.tiers.present import Present, at_home, is_hidden, list_present, read_records
from holdfast.tiers.proof import Pair
from holdfast.tiers.running import block_of
from holdfast.tiers.scan import sort
from holdfast.tiers.service.looking import Listed, is_somewhere, nowhere, place_of
from holdfast.tiers.tables import TierRow
from holdfast.tiers.verifying import aligned

BLOCK_FILES = 1000
Found = tuple[Listed, Pair | None]
"""A file, and what may be known of its content."""
LOOKS_AT_ONCE = 4
"""Of one process: each writes some hundred bytes a file to the data directory."""
SECOND_NS = 1_000_000_000
_LINK = b"l"
_FOLDER = b"d"


async def all_files(services: Services, path: bytes) -> AsyncGenerator[list[Listed], None]:
    """Files at or below an absolute path, some at a time, by their paths; an empty block is first.

    Raises ``BadRequest`` outside every tier, ``Unavailable`` when the tier's folder cannot be
    looked at or the list not be kept, ``NotFound`` for what nothing is known of, ``TooMany`` while
    others are looking, and what a store has to say.
    """
    row, below = await place_of(services, path)
    name = f"list-{secrets.token_hex(8)}"
    if _looks.locked():
        raise TooMany(
            f"{LOOKS_AT_ONCE} lists of all files are made already",
            hint="try again when one of them has ended, or list less deep",
        )
    async with _looks:
        try:
            work = await asyncio.to_thread(work_dir, services.settings.data_dir, name)
            look = _Look(services, row, below, work)
            files = await look.begin()
            block = await asyncio.to_thread(block_of, files, BLOCK_FILES)
            if not block and not await is_somewhere(services, row, look.places[0], below):
                raise nowhere(path)
            yield await look.known(block)
            while block := await asyncio.to_thread(block_of, files, BLOCK_FILES):
                yield await look.known(block)
        except OSError as error:
            raise Unavailable(
                f"the list could not be kept: {error}", hint="is the data directory's disk full?"
            ) from error
        finally:
            clear_work_dir(services.settings.data_dir, name)


_looks = asyncio.Semaphore(LOOKS_AT_ONCE)


@dataclass(frozen=True, slots=True)
class _Gone:
    """Of a path, what the journal says. ``waits``: in quarantine."""

    path: bytes
    size_bytes: int
    waits: bool


class _Look:
    """At one folder."""

    def __init__(self, services: Services, row: TierRow, below: bytes, work: Path) -> None:
        self._services = services
        self._row = row
        self._below = below
        self._work = work
        self._unreadable = 0
        self._totals: list[ListingTotals] = []
        self._times: _Times
        self.places: list[Place] = []

    async def begin(self) -> Iterator[Found]:
        """List each side; what is given then is read in a thread."""
        here, left = self._work / "here", self._work / "left"
        root, tell = self._row.root, lambda _: None
        self._unreadable = await list_present(root, self._below, here, tell=tell)
        listings = []
        self.places = await self._places()
        for number, place in enumerate(self.places):
            listings.append(self._work / f"there-{number}")
            times = self._work / "times" if not number else None
            totals = await list_place(self._services, place, self._below, listings[-1], times=times)
            self._totals.append(totals)
        self._times = _Times(self._work / "times")
        await self._write_left(left)
        return self._joined(aligned(here, listings), _read_left(left))

    async def known(self, block: Sequence[Found]) -> list[Listed]:
        """A block, with what was found out about its files before."""
        pairs = [pair for _, pair in block if pair is not None]
        place, kind = self.places[0], self._totals[0].hash_kind
        async with self._services.database.read() as session:
            known = await known_differences(session, self._row.id, place, pairs, kind)
        return [
            replace(one, differing=known[one.path]) if pair and one.path in known else one
            for one, pair in block
        ]

    async def _places(self) -> list[Place]:
        row = self._row
        wanted = [(row.store_id, row.prefix)]
        if row.second_store_id is not None:
            wanted.append((row.second_store_id, row.second_prefix))
        async with self._services.database.read() as session:
            return [await open_place(session, self._services, *one) for one in wanted]

    async def _write_left(self, to: Path) -> None:
        with to.open("wb") as file:
            async with self._services.database.read() as session:
                async for path, left in left_rows(session, self._row.id, self._below):
                    told = (path, left.row_id, left.waits, left.size_bytes)
                    file.write(b"%b//%020d//%d//%d\0" % told)
        await sort(to, to)

    def _joined(
        self,
        rows: Iterator[tuple[Present | None, tuple[Stored | None, ...]]],
        left: Iterator[_Gone],
    ) -> Iterator[Found]:
        gone = next(left, None)
        for mine, theirs in chain(rows, [(None, ())]):
            path = next((one.path for one in (mine, *theirs) if one is not None), None)
            while gone and (path is None or gone.path + SIZE_MARK < path + SIZE_MARK):
                yield from self._listed(gone.path, None, (None,), gone)
                gone = next(left, None)
            if path is None:
                return
            of_it = gone if gone and gone.path == path else None
            yield from self._listed(path, mine, theirs, of_it)
            gone = next(left, None) if of_it else gone

    def _listed(
        self,
        path: bytes,
        mine: Present | None,
        theirs: Sequence[Stored | None],
        gone: _Gone | None,
    ) -> Iterator[Found]:
        """Nothing of a folder, and of what is only on the second store."""
        mine = mine if mine is not None and mine.kind != _FOLDER else None
        shown = mine or theirs[0] or gone
        if shown is None:
            return
        its, name = theirs[0], at_home(path)
        is_here = mine is not None or self._if_hidden(name)
        differing = self._differ(mine, its) if mine is not None and its is not None else False
        listed = Listed(
            path=name,
            size_bytes=shown.size_bytes,
            local=is_here,
            remote=its is not None,
            frozen=gone is not None and mine is None,
            differing=differing,
            lost=gone is not None and not gone.waits and is_here is False and not any(theirs),
        )
        is_open = mine is not None and its is not None and not differing and mine.kind != _LINK
        yield listed, (mine.candidate(), (its,)) if mine and its and is_open else None

    def _differ(self, mine: Present, its: Stored) -> bool | None:
        is_link, keeps_times = mine.kind == _LINK, self.places[0].s3 is None
        if keeps_times:
            there_ns = int(its.version) if its.version.isdecimal() else None
        else:
            there_ns = self._times.of(its.path)
        here = Seen(mine.size_bytes, is_link, mine.mtime_ns)
        there = Seen(its.size_bytes, is_link, there_ns)
        return seem_to_differ(here, there, keeps_times=keeps_times)

    def _if_hidden(self, name: bytes) -> bool | None:
        """Of what was not listed here: False, or None where that says nothing."""
        return None if self._unreadable and is_hidden(self._row.root, name) else False


class _Times:
    """When a bucket got its objects, asked for in their order."""

    def __init__(self, path: Path) -> None:
        self._told = read_times(path)
        self._next = next(self._told, None)

    def of(self, path: bytes) -> int | None:
        """In nanoseconds; None: it does not say."""
        key = path + SIZE_MARK
        while self._next is not None and self._next[0] + SIZE_MARK < key:
            self._next = next(self._told, None)
        if self._next is None or self._next[0] != path:
            return None
        return self._next[1] * SECOND_NS


def _read_left(path: Path) -> Iterator[_Gone]:
    """What was written of each path, in the order of the keys of listings."""
    told = (record.rsplit(SIZE_MARK, 3) for record in read_records(path))
    for name, rows in groupby(told, key=lambda fields: fields[0]):
        each = list(rows)
        yield _Gone(name, int(each[-1][3]), waits=any(one[2] == b"1" for one in each))

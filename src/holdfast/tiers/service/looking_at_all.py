"""All files below a folder of a tier, here and on its stores, however many: in memory of one size.

Both sides are listed into sorted files, as a verify does, and read side by side.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from holdfast.kernel.services import Services
from holdfast.kernel.stores.place import Place, open_place
from holdfast.tiers.files import work_dir
from holdfast.tiers.left import left_rows
from holdfast.tiers.listing import list_place
from holdfast.tiers.merge import SIZE_MARK
from holdfast.tiers.merge import Listed as Stored
from holdfast.tiers.present import Present, absolute, at_home, list_present, read_records
from holdfast.tiers.running import block_of
from holdfast.tiers.scan import sort
from holdfast.tiers.service.looking import Listed, is_somewhere, nowhere, place_of
from holdfast.tiers.tables import TierRow
from holdfast.tiers.verifying import aligned

BLOCK_FILES = 1000
_LINK = b"l"
_FOLDER = b"d"


async def all_files(services: Services, path: bytes) -> AsyncGenerator[list[Listed], None]:
    """Files at or below an absolute path, some at a time, by their paths; an empty block is first.

    Raises ``BadRequest`` outside every tier, ``Unavailable`` when the tier's folder cannot be
    looked at, ``NotFound`` for what nothing is known of, and what a store has to say.
    """
    row, below = await place_of(services, path)
    name = f"list-{secrets.token_hex(8)}"
    work = await asyncio.to_thread(work_dir, services.settings.data_dir, name)
    try:
        files = await _Look(services, row, below, work).begin()
        block = await asyncio.to_thread(block_of, files, BLOCK_FILES)
        if not block:
            async with services.database.read() as session:
                place = await open_place(session, services, row.store_id, row.prefix)
            if not await is_somewhere(services, row, place, below):
                raise nowhere(path)
        yield block
        while block := await asyncio.to_thread(block_of, files, BLOCK_FILES):
            yield block
    finally:
        shutil.rmtree(work, ignore_errors=True)


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

    async def begin(self) -> Iterator[Listed]:
        """List each side; what is given then is read in a thread."""
        here, left = self._work / "here", self._work / "left"
        root, tell = self._row.root, lambda _: None
        self._unreadable = await list_present(root, self._below, here, tell=tell)
        listings = []
        for number, place in enumerate(await self._places()):
            listings.append(self._work / f"there-{number}")
            _ = await list_place(self._services, place, self._below, listings[-1])
        await self._write_left(left)
        return self._joined(aligned(here, listings), _read_left(left))

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
    ) -> Iterator[Listed]:
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
    ) -> Iterator[Listed]:
        """Nothing of a folder, and of what is only on the second store."""
        mine = mine if mine is not None and mine.kind != _FOLDER else None
        shown = mine or theirs[0] or gone
        if shown is None:
            return
        its, name = theirs[0], at_home(path)
        is_here = mine is not None or self._if_hidden(name)
        yield Listed(
            path=name,
            size_bytes=shown.size_bytes,
            local=is_here,
            remote=its is not None,
            frozen=gone is not None and mine is None,
            differing=mine is not None and its is not None and _differ(mine, its),
            lost=gone is not None and not gone.waits and is_here is False and not any(theirs),
        )

    def _if_hidden(self, name: bytes) -> bool | None:
        """Of what was not listed here: False, or None where that says nothing."""
        if not self._unreadable:
            return False
        try:
            os.lstat(absolute(self._row.root, name))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return None
        return None


def _differ(mine: Present, its: Stored) -> bool:
    return mine.kind != _LINK and mine.size_bytes != its.size_bytes


def _read_left(path: Path) -> Iterator[_Gone]:
    """What was written of each path, in the order of the keys of listings."""
    told = (record.rsplit(SIZE_MARK, 3) for record in read_records(path))
    for name, rows in groupby(told, key=lambda fields: fields[0]):
        each = list(rows)
        yield _Gone(name, int(each[-1][3]), waits=any(one[2] == b"1" for one in each))

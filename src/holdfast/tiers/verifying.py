"""Verify: compare a tree with the stores of its tier, by content, and change nothing."""

import os
from asyncio import to_thread
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import TypeVar

from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.web.console.formats import size
from holdfast.tiers.filters import Filters
from holdfast.tiers.holding import Stays
from holdfast.tiers.left import left_rows
from holdfast.tiers.listing import ListingTotals, list_place, read_listing
from holdfast.tiers.merge import SIZE_MARK, Count, Listed
from holdfast.tiers.model import UNLIKE, Skip, is_own
from holdfast.tiers.present import (
    Present,
    absolute,
    at_home,
    is_hidden,
    list_present,
    read_present,
    read_records,
)
from holdfast.tiers.proof import prove
from holdfast.tiers.running import Outcome, Run, Tally, block_of, tallying
from holdfast.tiers.scan import sort

BLOCK_FILES = 500
T = TypeVar("T")
Row = tuple[Present | None, tuple[Listed | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOutcome(Outcome):
    """``files``, ``size_bytes``: the same here and on each store. ``skipped``: what is not."""

    missing_files: int = 0
    """On a store, and not here."""
    missing_bytes: int = 0


async def verify(run: Run, paths: Sequence[bytes]) -> VerifyOutcome:
    """Compare what is at or below these paths with each store of the tier.

    A hash of a local file that was made before is used again while the file is as it was then; the
    stores are asked anew. What differs, or is
    on one side only, is told file by file in the run's report.
    """
    await to_thread(run.report.unlink, missing_ok=True)
    with tallying(run.report) as tally:
        comparison = _Comparison(run, tally)
        for path in paths:
            await comparison.compare(path)
    found = tally.outcome()
    return VerifyOutcome(
        files=comparison.same.files,
        size_bytes=comparison.same.size_bytes,
        skipped=found.skipped,
        missing_files=comparison.missing.files,
        missing_bytes=comparison.missing.size_bytes,
    )


class _Comparison:
    """Of all asked paths, one after the other."""

    def __init__(self, run: Run, tally: Tally) -> None:
        self.same = Count()
        self.missing = Count()
        self._run = run
        self._tally = tally
        self._filters = Filters(run.tier.options.filters)
        self._listings: list[ListingTotals] = []
        self._seen = 0
        self._unreadable = 0
        """Of the path at hand: what could not be looked at on this machine."""

    async def compare(self, path: bytes) -> None:
        """What is at or below one path."""
        run, here = self._run, self._run.work / "here"
        self._unreadable = await list_present(run.tier.root, path, here, tell=run.ctx.log)
        self._tally.count(Skip.NOT_PERMITTED, self._unreadable, 0)
        listings, self._listings = [], []
        for number, place in enumerate(run.places):
            listing = run.work / f"there-{number}"
            totals = await list_place(run.ctx.services, place, path, listing)
            listings.append(listing)
            self._listings.append(totals)
        rows = aligned(here, listings)
        while block := await to_thread(block_of, rows, BLOCK_FILES):
            await self._compare_block(block)
            self._seen += len(block)
            text = f"{size(self.same.size_bytes)} are the same"
            run.ctx.progress(self._seen, unit="files", text=text)
        await self._tell_lost(path, here, listings)

    async def _tell_lost(self, below: bytes, here: Path, listings: Sequence[Path]) -> None:
        """What a freeze took away and no store has any more."""
        left = self._run.work / "left"
        if not await _write_left(self._run, below, left):
            return
        await sort(left, left, unique=True)
        rows = lost(aligned(here, listings), read_records(left))
        while block := await to_thread(block_of, rows, BLOCK_FILES):
            for path, size_bytes, waits in block:
                self._tally.count(Skip.LOST, 1, size_bytes)
                detail = ": it waits in quarantine, an undo brings it back" if waits else ""
                self._tally.tell(path, size_bytes, UNLIKE[Skip.LOST], f"{Skip.LOST}{detail}")

    async def _compare_block(self, block: Sequence[Row]) -> None:
        pairs = []
        for mine, theirs in block:
            listed = self._to_prove(mine, theirs)
            if mine is not None and listed is not None:
                pairs.append((mine.candidate(), listed))
        if not pairs:
            return
        proofs = await prove(self._run, pairs, self._listings, again=True)
        for (file, _), proof in zip(pairs, proofs, strict=True):
            if isinstance(proof, Stays):
                self._differs(file.path, file.size_bytes, proof.reason, proof.detail)
            else:
                self.same += Count(1, file.size_bytes)

    def _to_prove(
        self, mine: Present | None, theirs: tuple[Listed | None, ...]
    ) -> tuple[Listed, ...] | None:
        """What the stores say of a file whose content must be compared; else it is counted."""
        listed = tuple(one for one in theirs if one is not None)
        path = mine.path if mine is not None else listed[0].path
        length = mine.size_bytes if mine is not None else listed[0].size_bytes
        if is_own(path) or (mine is not None and mine.kind == b"d" and not listed):
            return None
        if not self._filters.takes(at_home(path)):
            self._differs(path, length, Skip.EXCLUDED, "")
        elif mine is None and self._unreadable and is_hidden(self._run.tier.root, at_home(path)):
            self._differs(path, length, Skip.NOT_PERMITTED, "its folder cannot be read here")
        elif mine is None or mine.kind == b"d":
            self.missing += Count(1, length)
            self._tally.tell(path, length, "only on the store", "")
        elif mine.kind not in {b"f", b"l"}:
            self._differs(path, length, Skip.NOT_A_FILE, "")
        elif len(listed) < len(theirs):
            names = [p.name for p, one in zip(self._run.places, theirs, strict=True) if one is None]
            self._differs(path, length, Skip.MISSING_ON_STORE, ", ".join(names))
        elif any(one.size_bytes != length for one in listed):
            sizes = ", ".join(str(one.size_bytes) for one in listed)
            self._differs(path, length, Skip.OTHER_SIZE, f"{length} bytes here, {sizes} there")
        elif mine.kind == b"l":
            self._compare_link(mine, listed)
        else:
            return listed
        return None

    def _compare_link(self, mine: Present, listed: Sequence[Listed]) -> None:
        path = at_home(mine.path)
        known = [
            one.digest
            for one, listing in zip(listed, self._listings, strict=True)
            if listing.hash_kind is HashKind.MD5 and one.digest
        ]
        try:
            target = os.readlink(absolute(self._run.tier.root, path))  # noqa: PTH115 - bytes
        except OSError:
            self._differs(path, mine.size_bytes, Skip.CHANGED, "")
            return
        digest = md5(target, usedforsecurity=False).hexdigest()
        if len(known) < len(listed):
            self._differs(path, mine.size_bytes, Skip.NOT_PROVABLE, "a symlink")
        elif set(known) != {digest}:
            self._differs(path, mine.size_bytes, Skip.OTHER_CONTENT, "a symlink")
        else:
            self.same += Count(1, mine.size_bytes)

    def _differs(self, path: bytes, size_bytes: int, reason: Skip, detail: str) -> None:
        self._tally.count(reason, 1, size_bytes)
        what = UNLIKE.get(reason, "not compared")
        self._tally.tell(
            at_home(path), size_bytes, what, f"{reason}: {detail}" if detail else reason
        )


async def _write_left(run: Run, below: bytes, to: Path) -> bool:
    """Write what a freeze took from below a path, for `lost`; False when there is nothing."""
    with to.open("wb") as file:
        async with run.ctx.read() as session:
            async for path, left in left_rows(session, run.tier.id, below):
                file.write(b"%s//%d//%d\0" % (path, left.size_bytes, left.waits))
        return bool(file.tell())


def lost(rows: Iterator[Row], left: Iterator[bytes]) -> Iterator[tuple[bytes, int, bool]]:
    """What left and is neither here nor on a store, and whether it waits in quarantine.

    Both are in the order of their paths.
    """
    row = next(rows, None)
    before = b""
    for record in left:
        path, size_bytes, waits = record.rsplit(SIZE_MARK, 2)
        key = path + SIZE_MARK
        while row is not None and _key(row) < key:
            row = next(rows, None)
        if key != before and (row is None or _key(row) != key):
            yield path, int(size_bytes), waits == b"1"
        before = key


def _key(row: Row) -> bytes:
    return next(one.path for one in (row[0], *row[1]) if one is not None) + SIZE_MARK


def aligned(present: Path, listings: Sequence[Path]) -> Iterator[Row]:
    """A tree and listings in their order: a row for each path, with None where it is not."""
    here = read_present(present)
    mine = next(here, None)
    there = [read_listing(listing) for listing in listings]
    theirs = [next(one, None) for one in there]
    while mine is not None or any(theirs):
        paths = [each.path + SIZE_MARK for each in (mine, *theirs) if each is not None]
        first = min(paths)
        is_mine = mine is not None and mine.path + SIZE_MARK == first
        at_first = [one is not None and one.path + SIZE_MARK == first for one in theirs]
        row = tuple(one if now else None for one, now in zip(theirs, at_first, strict=True))
        yield (mine if is_mine else None), row
        mine = next(here, None) if is_mine else mine
        theirs = [
            next(side, None) if now else one
            for side, one, now in zip(there, theirs, at_first, strict=True)
        ]

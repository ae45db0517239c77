"""What a freeze would take: scan, listings, join, rules, and last the proof of each file.

Nothing is moved here. Listings that did not end whole end the plan; a file that cannot be proven
stays, and the report says why.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import TextIO, TypeVar

from sqlalchemy import Select, func, select

from holdfast.kernel.errors import Conflict
from holdfast.kernel.web.console import formats
from holdfast.tiers import journal, proof
from holdfast.tiers.deciding import SECOND_NS, Rules, choose
from holdfast.tiers.holding import Stays
from holdfast.tiers.merge import Count, Listed, lists, read_matched
from holdfast.tiers.model import Candidate, FileState, Skip, inside, over_limit
from holdfast.tiers.names import to_text
from holdfast.tiers.plan_file import FreezePlan, as_bytes, as_text, write_plan
from holdfast.tiers.proof import Listings, Pair, Proven
from holdfast.tiers.running import Run, Tally, block_of, in_threads, tallying
from holdfast.tiers.scan import keeps_no_atime, scan, sort
from holdfast.tiers.tables import TierFileRow, TierPulledRow, key_of

T = TypeVar("T")
BLOCK_FILES = 1000
MOVED = (FileState.QUARANTINED, FileState.LEAVING, FileState.FROZEN)


async def plan_freeze(
    run: Run, paths: Sequence[bytes], *, until_bytes: int | None = None, by_name: bool = False
) -> FreezePlan:
    """What may leave of these paths (b"": the whole tier) and is proven.

    ``by_name``: each file that stays is told, also those that are otherwise only counted.

    ``until_bytes``: the files that were not read for longest, until there are so many bytes. Raises
    what is wrong with a store or with a path.
    """
    await journal.mend(run)
    await _check_atime(run)
    wanted = outermost(paths)
    if until_bytes is not None:
        until_bytes -= await _moved_before(run)
    planner = _Planner(run, until_bytes, by_name=by_name)
    to = run.work / "plan"
    with tallying(run.report) as tally, to.open("w") as out:
        async with aclosing(planner.blocks(wanted, tally)) as blocks:
            async for block in blocks:
                await planner.prove(block, tally, out)
                if planner.has_enough:
                    break
        skipped = tally.outcome().skipped
    of = await planner.whole(wanted)
    over = over_limit(
        run.tier.options,
        files=planner.taken.files,
        of_files=of.files,
        size=planner.taken.size_bytes,
        of_size=of.size_bytes,
    )
    return FreezePlan(
        files=planner.taken.files,
        size_bytes=planner.taken.size_bytes,
        path=to,
        skipped=skipped,
        over_limit=over,
    )


async def _check_atime(run: Run) -> None:
    """A tier's file system may be mounted otherwise since the tier was made."""
    root, allowed = run.tier.root, run.tier.options.allow_noatime
    if not allowed and await asyncio.to_thread(keeps_no_atime, root):
        raise Conflict(
            f"the file system of {to_text(root)} is mounted with noatime now: "
            "nobody can tell what was read",
            hint="mount it with relatime, or allow it: --allow-noatime",
        )


async def _moved_before(run: Run) -> int:
    """Bytes that this job has moved, when it was begun again."""
    query = select(func.coalesce(func.sum(TierFileRow.size_bytes), 0)).where(
        TierFileRow.job_id == run.ctx.job_id, TierFileRow.state.in_(MOVED)
    )
    async with run.ctx.read() as session:
        return int((await session.scalars(query)).one())


def outermost(paths: Sequence[bytes]) -> list[bytes]:
    """Paths without those that lie in another."""
    found: list[bytes] = []
    for path in sorted(set(paths), key=len):
        if not any(inside(path, folder) for folder in found):
            found.append(path)
    return sorted(found)


class _Planner:
    """Takes the parts of one plan through their stages."""

    def __init__(self, run: Run, until_bytes: int | None, *, by_name: bool) -> None:
        self._run = run
        self._by_name = by_name
        self._until_bytes = until_bytes
        self._rules = Rules(run.tier.options, int(run.ctx.now().timestamp() * SECOND_NS))
        self._listings: Listings = ()
        self._seen = Count()
        self._looked_at = Count()
        self._has_pulled = True
        self.taken = Count()

    @property
    def has_enough(self) -> bool:
        """Whether as many bytes are taken as were asked for."""
        return self._until_bytes is not None and self.taken.size_bytes >= self._until_bytes

    async def blocks(
        self, paths: Sequence[bytes], tally: Tally
    ) -> AsyncGenerator[list[Pair], None]:
        """Files that may leave and still look so; all names of a file stand together."""
        self._has_pulled = await self._looked_for_pulled()
        given, ordered = self._run.work / "later", self._run.work / "ordered"
        with given.open("wb") as later:
            for number, path in enumerate(paths):
                pairs = await self._pairs(number, path, tally)
                while block := await _next(pairs):
                    kept = await self._allowed(block, tally)
                    now = [pair for pair in kept if not self._comes_later(pair[0])]
                    later.writelines(
                        _spooled(pair, by_age=self._until_bytes is not None)
                        for pair in kept
                        if self._comes_later(pair[0])
                    )
                    if now:
                        yield now
        await sort(given, ordered)
        blocks = _whole_files(_unspooled(ordered))
        while following := await _next(blocks, 1):
            yield following[0]

    async def prove(self, block: Sequence[Pair], tally: Tally, out: TextIO) -> None:
        """Put what is proven of a block in the plan."""
        results = await proof.prove(self._run, block, self._listings)
        self._looked_at += Count(len(block), sum(file.size_bytes for file, _ in block))
        text = f"proving, {formats.size(self._looked_at.size_bytes)}"
        self._run.ctx.progress(self._looked_at.files, unit="files", text=text)
        pairs = [(file, result) for (file, _), result in zip(block, results, strict=True)]
        taken: list[tuple[Candidate, Proven]] = []
        for _, names in groupby(pairs, key=lambda pair: pair[0].inode):
            if not self.has_enough:
                taken += self._taken(list(names), tally)
        write_plan(out, taken)

    async def whole(self, paths: Sequence[bytes]) -> Count:
        """What the limits are a share of: the tier, when these paths alone would be too little."""
        over = over_limit(
            self._run.tier.options,
            files=self.taken.files,
            of_files=self._seen.files,
            size=self.taken.size_bytes,
            of_size=self._seen.size_bytes,
        )
        if over is None or b"" in paths:
            return self._seen
        found = await scan(self._run.tier.root, b"", 0, min_size=0, to=self._run.work / "whole")
        return found.seen

    def _taken(
        self, names: Sequence[tuple[Candidate, Proven | Stays]], tally: Tally
    ) -> list[tuple[Candidate, Proven]]:
        """All names of a file, or none."""
        proven = [(file, result) for file, result in names if isinstance(result, Proven)]
        if len(proven) == len(names) == names[0][0].links:
            self.taken += Count(len(names), names[0][0].size_bytes)
            return proven
        for file, result in names:
            stays = Stays(Skip.LINKED) if isinstance(result, Proven) else result
            tally.stays(file.path, file.size_bytes, stays.reason, stays.detail)
        return []

    def _comes_later(self, file: Candidate) -> bool:
        return self._until_bytes is not None or file.links > 1

    async def _pairs(self, number: int, path: bytes, tally: Tally) -> Iterator[Pair]:
        """What is chosen of a path, each file looked at now."""
        chosen = await choose(
            self._run, self._rules, path, tally, number=number, by_name=self._by_name
        )
        self._seen += chosen.seen
        self._listings = chosen.totals
        return read_matched(chosen.keys, self._run.tier.root, chosen.listings)

    async def _allowed(self, block: Sequence[Pair], tally: Tally) -> list[Pair]:
        pulled = await self._pulled([file.path for file, _ in block])
        kept = []
        for file, listed in block:
            reason = self._rules.of_times(file)
            if reason is None and file.path in pulled:
                reason = Skip.PULLED_RECENTLY
            if reason is None:
                kept.append((file, listed))
            elif reason is Skip.READ_RECENTLY and not self._by_name:
                tally.count(reason, 1, file.size_bytes)
            else:
                tally.stays(file.path, file.size_bytes, reason)
        return kept

    async def _pulled(self, paths: Sequence[bytes]) -> set[bytes]:
        """Which of these paths have their grace."""
        if not self._has_pulled:
            return set()
        query = self._in_grace().where(
            TierPulledRow.path_hash.in_([key_of(path) for path in paths])
        )
        async with self._run.ctx.read() as session:
            return set((await session.scalars(query)).all())

    async def _looked_for_pulled(self) -> bool:
        """Whether any path has its grace: most often none has."""
        async with self._run.ctx.read() as session:
            return (await session.scalar(self._in_grace().limit(1))) is not None

    def _in_grace(self) -> Select[bytes]:
        since = self._run.ctx.now() - timedelta(hours=self._run.tier.options.grace_hours)
        of_tier = TierPulledRow.tier_id == self._run.tier.id
        return select(TierPulledRow.path).where(of_tier, TierPulledRow.pulled_at > since)


async def _next(items: Iterator[T], size: int = BLOCK_FILES) -> list[T]:
    """The next items, found in a thread."""
    (block,) = await in_threads([lambda _: block_of(items, size)])
    return block


def _spooled(pair: Pair, *, by_age: bool) -> bytes:
    """A record that sorts by the file, the ones not read for longest first if asked so."""
    file, listed = pair
    age = f"{max(file.atime_ns, file.mtime_ns):020d} " if by_age else ""
    sides = [(*one[1:-1], as_text(one.odd_name)) for one in listed]
    record = f"{age}{file.inode:020d} {json.dumps([as_text(file.path), file[1:], sides])}"
    return record.encode() + b"\0"


def _unspooled(path: Path) -> Iterator[Pair]:
    for block in lists(path):
        for record in block:
            name, numbers, sides = json.loads(record[record.index(b"[") :])
            file = Candidate(as_bytes(name), *numbers)
            yield (
                file,
                tuple(
                    Listed(file.path, size, digest, version, as_bytes(odd_name))
                    for size, digest, version, odd_name in sides
                ),
            )


def _whole_files(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    """Blocks in which no file's names are parted."""
    block: list[Pair] = []
    for pair in pairs:
        if len(block) >= BLOCK_FILES and pair[0].inode != block[-1][0].inode:
            yield block
            block = []
        block.append(pair)
    if block:
        yield block

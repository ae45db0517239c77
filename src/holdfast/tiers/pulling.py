"""Pull: bring in what a store has and a tree has not, and leave everything else as it is.

A pull that was ended at any point goes on from its plans: what had arrived is given its place,
owned and stamped by the next run of it, and what a killed rclone left unfinished is removed.
"""

import os
import shutil
import time
from asyncio import create_task, gather, to_thread
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

from holdfast.kernel.errors import Conflict, NotFound
from holdfast.kernel.stores.model import HashKind
from holdfast.tiers import staging
from holdfast.tiers.arrivals import LEFT, check_owner, make_folders, settle
from holdfast.tiers.filters import Filters
from holdfast.tiers.holding import folder, opened_root
from holdfast.tiers.listing import ListingTotals, list_place
from holdfast.tiers.merge import Count
from holdfast.tiers.model import Skip, is_own
from holdfast.tiers.names import to_text
from holdfast.tiers.present import LINK_SUFFIX, at_home, list_present
from holdfast.tiers.proof import known_same
from holdfast.tiers.proof_cache import has_proofs
from holdfast.tiers.pull_outcome import (
    RESTORED,
    STAYED,
    Done,
    PullOutcome,
    estimate_seconds,
    plans,
    write_report,
)
from holdfast.tiers.pull_plan import FETCH, Plan, Planner, read_wanted
from holdfast.tiers.pull_process import (
    Choice,
    Ended,
    bytes_a_second,
    failed,
    fetch,
    lasting,
    no_room,
    spoken,
    together,
)
from holdfast.tiers.running import Run, Stop, Tally, block_of, in_threads, tallying, to_the_end
from holdfast.tiers.scan import sort
from holdfast.tiers.undoing import bring_back

TRIES = 3
NAMES_AT_ONCE = 100_000
"""rclone keeps the names that it is given in memory."""
LISTED_FROM = 3
"""On S3 each name costs a request, in a listing a thousandth of one: it is listed again when one
file in so many is to be fetched."""
LEAST_LISTED = 100
DOUBTS_AT_ONCE = 500
LISTED_FOLDERS = "listed-folders"
ANY_FILE = b"/any"
"""An empty folder is made where the filters take a file that has no other rule."""
RESERVE_SHARE = 0.01
"""Of the file system: a pull does not begin that would leave less."""


async def pull(run: Run, paths: Sequence[bytes], *, dry_run: bool = False) -> PullOutcome:
    """Bring in what is missing at or below these paths of the run's tier.

    Raises ``NotFound`` for a path that the store has nothing of, ``Conflict`` when the disk has no
    room, and what the store or rclone failed with; what arrived by then is kept and stamped.
    """
    if not dry_run:
        await _go_on(run)
    one_try = _Try(run, paths, dry_run=dry_run)
    try:
        await one_try.carry_out()
    finally:
        done = await to_thread(write_report, run, dry_run=dry_run)
    return one_try.outcome(done)


async def _go_on(run: Run) -> None:
    """Finish what an earlier try of this run had begun."""
    for plan in plans(run.work):
        if (plan / FETCH).exists():
            await settle(run, plan)
    await staging.clear(run)


class _Try:
    """One plan, and its transfers."""

    def __init__(self, run: Run, paths: Sequence[bytes], *, dry_run: bool) -> None:
        self._run = run
        self._place = run.places[0]
        self._paths = tuple(paths)
        self._dry_run = dry_run
        self._filters = Filters(run.tier.options.filters)
        self._folder = run.work / f"plan-{len(plans(run.work)) + 1}"
        self._folder.mkdir()
        self._plan = Plan()
        self._skipped: dict[Skip, tuple[int, int]] = {}
        self._estimate: float | None = None
        self._free_bytes = 0
        self._seconds = 0.0
        self._folders_made = 0

    async def carry_out(self) -> None:
        """Plan, and bring in what the plan says."""
        await to_thread(self._check_ways)
        if not self._dry_run:
            await staging.sweep(self._run)
            # What lies in quarantine is nearer than the store.
            at_once = replace(self._run, report=self._folder / RESTORED)
            await bring_back(at_once, self._paths)
        with tallying(self._folder / STAYED) as tally:
            await self._make_plan(tally)
            self._skipped = dict(tally.outcome().skipped)
            async with self._run.ctx.read() as session:
                size = self._plan.fetch.size_bytes
                self._estimate = await estimate_seconds(session, self._run.tier, size)
            await to_thread(self._check_room)
            if not self._dry_run and self._plan.fetch.files:
                await self._bring_in(tally)
                self._skipped = dict(tally.outcome().skipped)
        if not self._dry_run:
            self._folders_made = await self._make_folders()

    def outcome(self, done: Done) -> PullOutcome:
        """How it went."""
        return PullOutcome(
            files=done.fetched.files,
            size_bytes=done.fetched.size_bytes,
            restored_files=done.restored,
            folders_made=self._folders_made,
            skipped=self._skipped,
            listed_files=self._plan.listed.files,
            listed_bytes=self._plan.listed.size_bytes,
            present_files=self._plan.present.files,
            present_bytes=self._plan.present.size_bytes,
            seconds=round(self._seconds, 3),
            estimate_seconds=self._estimate,
            free_bytes=self._free_bytes,
            needed_bytes=self._plan.room_bytes,
        )

    async def _make_plan(self, tally: Tally) -> None:
        root, log = self._run.tier.root, self._run.ctx.log
        filters = self._filters if self._run.tier.options.filters else None
        async with self._run.ctx.read() as session:
            known = await has_proofs(session, self._run.tier.id)
        kinds = {"with_proofs": known, "by_name": self._dry_run}
        planner = await to_thread(Planner, root, filters, self._folder, tally, **kinds)
        self._plan = planner.plan
        listing, present = self._folder / "listing", self._folder / "present"
        for path in self._paths:
            looking = create_task(list_present(root, path, present, tell=log))
            try:
                asked = await self._list(path, listing)
            except BaseException:
                looking.cancel()
                raise
            finally:
                await gather(looking, return_exceptions=True)
            looking.result()

            def compare(stop: Stop) -> None:
                planner.add(listing, present, stop)

            await in_threads([compare])
            await self._settle_doubts(planner, asked.hash_kind)
            listing.unlink()
            present.unlink()
            log(f"{to_text(path) or 'everything'}: {asked.listed.files} files on the store")
            for name, size in asked.left_names:
                tally.stays(name, size, Skip.NO_NAME)
            tally.count(Skip.NO_NAME, asked.left_out - len(asked.left_names), 0)
        planner.finish()
        missing, here = self._plan.fetch, self._plan.present
        log(f"{missing.files} files of {missing.size_bytes} bytes to fetch, {here.files} are here")

    async def _list(self, path: bytes, to: Path) -> ListingTotals:
        services = self._run.ctx.services
        folders = self._folder / "there"
        totals = await list_place(services, self._place, path, to, folders=folders)
        await to_thread(_add_to, self._folder / LISTED_FOLDERS, folders)
        if not totals.listed.files and path and not folders.stat().st_size:
            totals = await list_place(services, self._place, path + LINK_SUFFIX, to)
        if not totals.listed.files and not folders.stat().st_size:
            raise NotFound(
                f"nothing is at or below {to_text(path) or '/'!r} on the store {self._place.name!r}"
            )
        return totals

    async def _settle_doubts(self, planner: Planner, kind: HashKind | None) -> None:
        """Judge files of one size by what hashes are known of them, and by nothing that costs."""
        doubts = planner.doubts()
        while block := await to_thread(block_of, doubts, DOUBTS_AT_ONCE):
            pairs = [(file, (listed,)) for file, listed, _ in block]
            same = await known_same(self._run, pairs, kind)
            for (file, _, words), known in zip(block, same, strict=True):
                what = words if known is None else "" if known else "its content is another one"
                planner.judge(file.path, file.size_bytes, what)

    async def _make_folders(self) -> int:
        def taken(path: bytes) -> bool:
            return not is_own(path) and self._filters.takes(path + ANY_FILE)

        folders = self._folder / LISTED_FOLDERS
        await sort(folders, folders, unique=True)
        return await to_thread(make_folders, self._run.tier, folders, taken)

    def _check_ways(self) -> None:
        """Nothing is looked for, nor made, where a symlink leads."""
        with opened_root(self._run.tier.root) as root:
            for path in self._paths:
                try:
                    with suppress(FileNotFoundError), folder(root, path.rpartition(b"/")[0]):
                        pass
                except OSError as error:
                    raise Conflict(
                        f"something that is no folder is on the way to {to_text(path)!r}",
                        hint="a pull follows no symlinks: ask for the place where it leads",
                    ) from error

    def _check_room(self) -> None:
        disk = os.statvfs(self._run.tier.root)
        self._free_bytes = disk.f_bavail * disk.f_frsize
        if self._dry_run:
            return
        reserve = int(disk.f_blocks * disk.f_frsize * RESERVE_SHARE)
        needed, files = self._plan.room_bytes, self._plan.fetch.files
        if files and needed + reserve > self._free_bytes:
            raise _disk_full(f"{needed} bytes are needed, {self._free_bytes} are free")
        if disk.f_files and files > disk.f_favail:
            raise _disk_full(f"{files} more files are needed, {disk.f_favail} can be made")

    async def _bring_in(self, tally: Tally) -> None:
        """Fetch, place what arrived, and try again for the rest while that may help."""
        source, left = FETCH, self._plan.fetch.files
        try:
            await to_thread(check_owner, self._run.tier, self._run.ctx.job_id)
            for number in range(1, TRIES + 1):
                ended = await self._transfer(source)
                settled = await self._settled(source, tally)
                came, left, source = left - settled.files, settled.files, LEFT
                if not left or await self._is_over(ended, left, tally):
                    return
                if number == TRIES or (not came and ended.status is not None):
                    raise failed(self._place, ended)
                self._run.ctx.log(
                    f"{left} files did not arrive, trying again: {spoken(ended.last)}"
                )
        finally:
            await to_the_end(staging.clear(self._run))

    async def _is_over(self, ended: Ended, left: int, tally: Tally) -> bool:
        """Whether no other try can help; raises when that is the disk's fault."""
        if no_room(ended.last) or any(map(no_room, ended.problems.values())):
            raise _disk_full(f"{left} files are left to fetch")
        if await to_thread(self._may_help, ended):
            return False
        await to_thread(self._tell_left, ended, tally)
        return True

    def _tell_left(self, ended: Ended, tally: Tally) -> None:
        for one in read_wanted(self._folder / LEFT):
            problem = ended.problem_of(one.stored_as)
            reason = lasting(problem) or Skip.MISSING_ON_STORE
            tally.stays(at_home(one.path), one.size_bytes, reason, spoken(problem))

    def _may_help(self, ended: Ended) -> bool:
        """Whether another try may bring in what is left of the plan."""
        if ended.status is None:
            return True
        otherwise = (ended.last or "it failed") if ended.status else ""
        left = read_wanted(self._folder / LEFT)
        problems = (ended.problem_of(one.stored_as) or otherwise for one in left)
        return any(problem and lasting(problem) is None for problem in problems)

    async def _settled(self, source: str, tally: Tally) -> Count:
        """What is left of the plan; the rest has its place, and is owned and stamped now."""
        settled = await settle(self._run, self._folder, source, tally)
        if settled.not_given:
            self._run.ctx.log(f"{settled.not_given} files could not be given to their owner")
        return settled.left

    async def _transfer(self, source: str) -> Ended:
        """Run rclone; however it ends, what arrived is placed and stamped."""
        begun = time.monotonic()
        try:
            with staging.staging(self._run.tier.root, self._run.ctx.job_id) as stage:
                return await self._run_rclone(self._folder / source, stage.way)
        except BaseException:
            await to_the_end(settle(self._run, self._folder, source))
            raise
        finally:
            self._seconds += time.monotonic() - begun

    async def _run_rclone(self, source: Path, to: str) -> Ended:
        choices, before = self._choices(source), (0, 0)
        ends: list[Ended] = []
        while choice := await to_thread(next, choices, None):
            latest = before

            def on_stats(size_bytes: int, files: int, before: tuple[int, int] = before) -> None:
                nonlocal latest
                latest = before[0] + size_bytes, before[1] + files
                self._progress(*latest)

            done = await fetch(
                self._run.ctx.services,
                self._place,
                to,
                choice,
                bytes_per_second=bytes_a_second(self._run.tier.options.bandwidth),
                on_stats=on_stats,
            )
            ends.append(done)
            before = latest
        return together(ends)

    def _choices(self, source: Path) -> Iterator[Choice]:
        """The files of a plan, so many at a time."""
        wanted, names = read_wanted(source), self._folder / "names"
        while block := list(islice(wanted, NAMES_AT_ONCE)):
            names.write_bytes(b"".join(one.stored_as + b"\n" for one in block))
            yield Choice(names=names, listed=self._is_listed(source))

    def _is_listed(self, source: Path) -> bool:
        """Whether listing the store's folders again is quicker than asking for each name."""
        files = self._plan.fetch.files
        if source.name != FETCH or self._place.kind != "s3" or files < LEAST_LISTED:
            return False
        return files * LISTED_FROM >= self._plan.listed.files

    def _progress(self, size_bytes: int, files: int) -> None:
        fetch = self._plan.fetch
        text = f"{min(files, fetch.files)} of {fetch.files} files"
        done = min(size_bytes, fetch.size_bytes)
        self._run.ctx.progress(done, fetch.size_bytes, unit="bytes", text=text)


def _add_to(file: Path, more: Path) -> None:
    with more.open("rb") as given, file.open("ab") as known:
        shutil.copyfileobj(given, known)


def _disk_full(why: str) -> Conflict:
    return Conflict(
        f"the disk of the tier has no room: {why}",
        hint="make room, for example by freezing, and pull again",
    )

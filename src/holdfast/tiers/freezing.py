"""Moves the files of a plan into quarantine: journal, move, look, journal.

A row is committed before its file is touched, so that whatever ends this job, what is found on the
disk can be told from what was meant. Doing it twice does what doing it once does.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from holdfast.kernel.web.console.formats import size
from holdfast.tiers import emptying, holding, journal, queries
from holdfast.tiers.holding import Stays
from holdfast.tiers.journal import BATCH_FILES
from holdfast.tiers.model import Candidate, FileState, Skip
from holdfast.tiers.plan_file import FreezePlan, read_plan
from holdfast.tiers.proof import Proven
from holdfast.tiers.quarantine import Held, Quarantine
from holdfast.tiers.running import Outcome, Run, Stop, Tally, in_threads, tallying, to_the_end

MOVED = (FileState.QUARANTINED, FileState.LEAVING, FileState.FROZEN)
Planned = tuple[Candidate, Proven]
Moved = tuple[Sequence[int], int | Stays | None]
"""Of a file: the numbers of its names in the batch, and its time of change in quarantine, or why
it stays; None: nobody can tell here where it is, and mending will."""


async def freeze(run: Run, plan: FreezePlan) -> Outcome:
    """Freeze what was planned and is still as it was then; the rest stays, and is told.

    With an undo window of 0 the files are removed here too.
    """
    await journal.mend(run)
    with tallying(run.report) as tally:
        done = moved = 0
        for batch in _batches(read_plan(plan.path)):
            await _freeze_batch(run, await _not_yet(run, batch), tally)
            done += len(batch)
            moved += sum({file.inode: file.size_bytes for file, _ in batch}.values())
            text = f"{size(moved)} of {size(plan.size_bytes)}"
            run.ctx.progress(done, plan.files, unit="files", text=text)
        outcome = tally.outcome()
    if run.tier.options.undo_hours > 0:
        return await _all_of(run, outcome)
    emptied = await emptying.empty(run, job_id=run.ctx.job_id)
    emptied = emptying.together(emptied, outcome.skipped)
    return await _all_of(run, emptied)


async def _all_of(run: Run, outcome: Outcome) -> Outcome:
    """With what this job moved before it was begun again."""
    async with run.ctx.read() as session:
        found = await queries.files_by_state(session, job_id=run.ctx.job_id)
    moved = [(files, size) for _, state, files, size in found if state in MOVED]
    files, sizes = sum(files for files, _ in moved), sum(size for _, size in moved)
    return replace(outcome, files=files, size_bytes=sizes)


def _batches(files: Iterator[Planned]) -> Iterator[list[Planned]]:
    """Some at a time; the names of one file stand together, and stay so."""
    batch: list[Planned] = []
    for file, proven in files:
        if len(batch) >= BATCH_FILES and file.inode != batch[-1][0].inode:
            yield batch
            batch = []
        batch.append((file, proven))
    if batch:
        yield batch


async def _not_yet(run: Run, batch: list[Planned]) -> list[Planned]:
    """Without what this job has moved before it was begun again."""
    async with run.ctx.read() as session:
        rows = await queries.named(session, run.tier.id, [file.path for file, _ in batch])
    mine = (row for row in rows if row.job_id == run.ctx.job_id)
    moved = {row.path for row in mine if row.state != FileState.STAYED}
    return [(file, proven) for file, proven in batch if file.path not in moved]


async def _freeze_batch(run: Run, batch: Sequence[Planned], tally: Tally) -> None:
    if not batch:
        return
    ids = await journal.intend(run, batch)
    moved: list[Moved] = []
    try:
        await in_threads([partial(_move, run, [file for file, _ in batch], moved)])
    finally:  # also when cancelled: what was moved is written down
        await to_the_end(_record(run, ids, batch, moved, tally))


async def _record(
    run: Run, ids: Sequence[int], batch: Sequence[Planned], moved: Sequence[Moved], tally: Tally
) -> None:
    moment = run.ctx.now()
    due = moment + timedelta(hours=run.tier.options.undo_hours)
    changes: list[journal.Change] = []
    each = [(number, became) for numbers, became in moved for number in numbers]
    for number, became in each:
        change = {"id": ids[number], "held_by": None}
        if isinstance(became, Stays):
            changes.append({**change, "state": FileState.STAYED, "ended_at": moment})
        elif became is not None:
            times = {"moved_at": moment, "due_at": due, "ctime_ns": became}
            changes.append({**change, "state": FileState.QUARANTINED, **times})
    for number, became in each:
        _tell(tally, batch[number][0], became)
    tally.flush()  # before the journal: a row at rest is not told again
    await journal.record(run, changes)


def _tell(tally: Tally, file: Candidate, became: int | Stays | None) -> None:
    if isinstance(became, Stays):
        tally.stays(file.path, file.size_bytes, became.reason, became.detail)
    elif became is None:
        tally.stays(file.path, file.size_bytes, Skip.FAILED, "it could not be put back yet")
    else:
        tally.done(file.path, file.size_bytes, "quarantined")


def _move(run: Run, files: Sequence[Candidate], moved: list[Moved], stop: Stop) -> None:
    """Move files, hold them until the clock has ticked, and let go of those nobody waits for."""
    held: list[tuple[list[int], Held]] = []
    with journal.opened(run.tier.root, run.ctx.job_id) as quarantine:
        try:
            for numbers in _by_inode(files):
                if stop:
                    break
                names = [files[number] for number in numbers]
                try:
                    held.append((numbers, quarantine.take(names)))
                except Stays as stays:
                    moved.append((numbers, _where(quarantine, names, stays)))
            time.sleep(holding.TICK_NS / holding.SECOND_NS if held else 0)
        finally:
            for numbers, one in held:
                moved.append((numbers, _release(quarantine, one)))


def _release(quarantine: Quarantine, held: Held) -> int | Stays | None:
    try:
        return quarantine.release(held)
    except Stays as stays:
        return _where(quarantine, held.files, stays)


def _where(quarantine: Quarantine, files: Sequence[Candidate], stays: Stays) -> Stays | None:
    """Why a file stays, once it is certain that it does."""
    moved = any(quarantine.lies_here(file.path) is not None for file in files)
    return None if moved else stays


def _by_inode(files: Sequence[Candidate]) -> Iterator[list[int]]:
    """The numbers of each file's names, which stand together."""
    numbers: list[int] = []
    for number, file in enumerate(files):
        if numbers and file.inode != files[numbers[-1]].inode:
            yield numbers
            numbers = []
        numbers.append(number)
    if numbers:
        yield numbers

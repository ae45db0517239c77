"""The end of the undo window: each store is asked once more, and then the file is gone.

What changed in quarantine, or is not on a store any more, goes back to the tree. What cannot be
asked now stays until the next time.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import groupby

from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.kernel.web.console import formats
from holdfast.tiers import asking, journal
from holdfast.tiers.asking import Told
from holdfast.tiers.holding import Stays
from holdfast.tiers.journal import Found
from holdfast.tiers.model import FileState, Proof, Skip
from holdfast.tiers.proof import Proven, place_name
from holdfast.tiers.proof_cache import forget
from holdfast.tiers.quarantine import Quarantine
from holdfast.tiers.running import Outcome, Run, Stop, Tally, in_threads, tallying, to_the_end
from holdfast.tiers.tables import TierFileRow

_WAITING = frozenset({Skip.IN_USE, Skip.NOT_PERMITTED, Skip.FAILED})
File = list[TierFileRow]
"""The rows of all names of a file."""


async def empty_due(run: Run, *, job_id: str | None = None) -> Outcome:
    """Remove what is frozen and whose undo window has ended; of one freeze only, when given."""
    await journal.mend(run)
    return await empty(run, job_id=job_id, due=run.ctx.now())


async def empty(run: Run, *, job_id: str | None = None, due: datetime | None = None) -> Outcome:
    """Remove what is in quarantine, its window ended by ``due`` or (None) at once."""
    with tallying(run.report) as tally:
        after, done = 0, 0
        while rows := await journal.claim(run, after=after, job_id=job_id, due=due):
            after = rows[-1].id
            await _empty_batch(run, rows, tally)
            done += len(rows)
            run.ctx.progress(done, unit="files", text=f"{formats.size(tally.size_bytes)} removed")
        await journal.sweep(run, tally)
        return tally.outcome()


def together(outcome: Outcome, skipped: Mapping[Skip, tuple[int, int]]) -> Outcome:
    """An outcome with what was skipped before."""
    counts = dict(outcome.skipped)
    for reason, (files, size) in skipped.items():
        more = counts.get(reason, (0, 0))
        counts[reason] = (more[0] + files, more[1] + size)
    return replace(outcome, skipped=counts)


async def _empty_batch(run: Run, rows: Sequence[TierFileRow], tally: Tally) -> None:
    found = Found()
    try:
        files = list(journal.by_file(rows))
        (still,) = await in_threads([partial(_untouched, run, files, found)])
        answers, refused = await _ask_again(run, still)
        still = [file for file in still if not _tell_refused(file, refused, found)]
        (proven,) = await in_threads([partial(_sort_out, run, still, answers, found)])
        leaving = [{"id": row.id, "state": FileState.LEAVING} for file in proven for row in file]
        await journal.record(run, leaving)
        await in_threads([partial(_remove, run, proven, found)])
    finally:  # whatever happened: nothing stays held, and what happened is written down
        await to_the_end(journal.conclude(run, rows, found, tally))
    await forget(run, [(row.device, row.inode) for row in rows])


def _untouched(run: Run, files: Sequence[File], found: Found, stop: Stop) -> list[File]:
    """The files that nobody has changed or has open; the changed ones go back."""
    still: list[File] = []
    for quarantine, file in _each(run, files, stop):
        try:
            with quarantine.held(journal.kept(file)):
                still.append(file)
        except Stays as stays:
            _leave(run, quarantine, file, stays, found)
    return still


def _each(run: Run, files: Sequence[File], stop: Stop) -> Iterator[tuple[Quarantine, File]]:
    for job_id, of_job in groupby(files, key=lambda file: file[0].job_id):
        with journal.opened(run.tier.root, job_id) as quarantine:
            for file in of_job:
                if stop:
                    return
                yield quarantine, file


def _leave(run: Run, quarantine: Quarantine, file: File, stays: Stays, found: Found) -> None:
    """A file is not removed now: it waits if it only cannot be looked at, else it goes back."""
    for row in file:
        if quarantine.lies_here(row.path) is None:
            journal.settle_missing(run, quarantine, row, found)
        elif stays.reason in _WAITING:
            found.change(row, FileState.QUARANTINED)
            found.tell(row, "stays in quarantine", stays.detail, skip=stays.reason)
        else:
            why = "it is not as it was when it was moved"
            journal.put_back(run, quarantine, row, found, why=why, skip=stays.reason)


def _tell_refused(file: File, refused: Collection[bytes], found: Found) -> bool:
    """Whether a file waits because a place cannot be asked for it."""
    if not any(row.path in refused for row in file):
        return False
    for row in file:
        found.tell(row, "stays in quarantine", "a store cannot be asked for it", skip=Skip.FAILED)
    return True


async def _ask_again(run: Run, files: Sequence[File]) -> tuple[list[dict[bytes, Told]], set[bytes]]:
    """What each place says now of all names of these files, and which cannot be asked for."""
    rows = [row for file in files for row in file]
    asked = [await _ask_place(run, place, rows) for place in run.places]
    return [answers for answers, _ in asked], {path for _, refused in asked for path in refused}


async def _ask_place(
    run: Run, place: Place, rows: Sequence[TierFileRow]
) -> tuple[dict[bytes, Told], set[bytes]]:
    """By hash where it has one, else by its version mark, and last by its content."""
    name, services = place_name(place), run.ctx.services
    proofs = {row.path: Proven.from_json(row.proof) for row in rows}
    answers, refused = await asking.ask_apart(run.ask, services, place, list(proofs), run.work)
    unsure = [path for path in answers if not proofs[path].stands(name, answers[path])]
    if run.tier.options.proof is Proof.COMPARE:
        for path in unsure:
            told = answers.get(path)
            if told is not None and not told.digest:
                answers[path] = await _read(run, place, path, told)
    return answers, refused


async def _read(run: Run, place: Place, path: bytes, told: Told) -> Told:
    read = await asking.content_hash(run.ctx.services, place, path)
    size, digest = read or (told.size_bytes, "")
    return told._replace(size_bytes=size, kind=HashKind.SHA256, digest=digest)


def _sort_out(
    run: Run,
    files: Sequence[File],
    answers: Sequence[Mapping[bytes, Told]],
    found: Found,
    stop: Stop,
) -> list[File]:
    """The files that every place still has; the others go back to the tree."""
    proven: list[File] = []
    names = [place_name(place) for place in run.places]
    for quarantine, file in _each(run, files, stop):
        doubts = [
            doubt
            for row in file
            for name, said in zip(names, answers, strict=True)
            if (doubt := _doubt(row, name, said.get(row.path))) is not None
        ]
        if names and not doubts:
            proven.append(file)
            continue
        skip = doubts[0] if doubts else Skip.NOT_PROVABLE
        for row in file:
            journal.put_back(run, quarantine, row, found, why="a store was asked again", skip=skip)
    return proven


def _doubt(row: TierFileRow, name: str, now: Told | None) -> Skip | None:
    if now is None:
        return Skip.MISSING_ON_STORE
    if now.size_bytes != row.size_bytes:
        return Skip.OTHER_SIZE
    return None if Proven.from_json(row.proof).stands(name, now) else Skip.OTHER_CONTENT


def _remove(run: Run, files: Sequence[File], found: Found, stop: Stop) -> None:
    for quarantine, file in _each(run, files, stop):
        try:
            quarantine.remove(journal.kept(file))
        except Stays as stays:
            _leave(run, quarantine, file, stays, found)
            continue
        for row in file:
            found.change(row, FileState.FROZEN, ended_at=run.ctx.now())
            found.tell(row, "frozen")

"""Brings back what a freeze took, as long as it is in quarantine."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from sqlalchemy import func, select

from holdfast.kernel.web.console.formats import size
from holdfast.tiers import journal, queries
from holdfast.tiers.arrivals import stamp_pulled
from holdfast.tiers.holding import Stays
from holdfast.tiers.journal import Found
from holdfast.tiers.model import FileState, Skip
from holdfast.tiers.quarantine import Quarantine
from holdfast.tiers.running import Outcome, Run, Stop, Tally, in_threads, tallying, to_the_end
from holdfast.tiers.tables import TierFileRow


async def undo(run: Run, job_id: str) -> Outcome:
    """Move the files of one freeze back to their places; nothing there is ever replaced.

    What has a new file in its place stays in quarantine, and is told.
    """
    await journal.mend(run)
    with tallying(run.report) as tally:
        await _count_gone(run, job_id, tally)
        await _move_back(run, tally, job_id=job_id)
        await journal.sweep(run, tally)
        return tally.outcome()


async def bring_back(run: Run, paths: Sequence[bytes]) -> Outcome:
    """Move back what still lies in quarantine at or below these paths, whoever froze it."""
    await journal.mend(run)
    with tallying(run.report) as tally:
        for path in paths:
            await _move_back(run, tally, below=path)
        await journal.sweep(run, tally)
        return tally.outcome()


async def _move_back(
    run: Run, tally: Tally, *, job_id: str | None = None, below: bytes = b""
) -> None:
    after, done, files = 0, 0, None
    if job_id is not None:
        async with run.ctx.read() as session:
            files, _ = await queries.waiting_files(session, job_id=job_id)
    while rows := await journal.claim(run, after=after, job_id=job_id, below=below):
        after = rows[-1].id
        found = Found()
        try:
            await in_threads([partial(_restore, run, rows, found)])
        finally:
            await to_the_end(journal.conclude(run, rows, found, tally))
            await _stamp(run, found)
        done += len(rows)
        run.ctx.progress(done, files, unit="files", text=f"{size(tally.size_bytes)} are back")


async def _count_gone(run: Run, job_id: str, tally: Tally) -> None:
    """What was frozen for good can only be pulled."""
    query = select(func.count(), func.coalesce(func.sum(TierFileRow.size_bytes), 0)).where(
        TierFileRow.job_id == job_id, TierFileRow.state == FileState.FROZEN
    )
    async with run.ctx.read() as session:
        files, size = (await session.execute(query)).one()
    tally.count(Skip.GONE, files, size)


async def _stamp(run: Run, found: Found) -> None:
    """What was asked back is not frozen again before it can be read."""
    back = {change["id"] for change in found.changes if change["state"] == FileState.RESTORED}
    paths = {row.path for row, *_ in found.told if row.id in back}
    if paths:
        async with run.ctx.write() as work:
            await stamp_pulled(work.session, run.tier.id, list(paths), run.ctx.now())


def _restore(run: Run, rows: Sequence[TierFileRow], found: Found, stop: Stop) -> None:
    for job_id, of_job in groupby(rows, key=lambda row: row.job_id):
        with journal.opened(run.tier.root, job_id) as quarantine:
            for row in of_job:
                if stop:
                    return
                _restore_one(run, quarantine, row, found)


def _restore_one(run: Run, quarantine: Quarantine, row: TierFileRow, found: Found) -> None:
    if quarantine.lies_here(row.path) is None:
        journal.settle_missing(run, quarantine, row, found)
        return
    try:
        quarantine.put_back(row.path)
    except Stays as stays:
        found.tell(row, "stays in quarantine", stays.detail, skip=stays.reason)
        return
    found.change(row, FileState.RESTORED, ended_at=run.ctx.now())
    found.tell(row, "restored")

"""The journal of files on their way out: what is written before and after each move.

A row says where its file may be; `mend` looks at the disk when the job that held it is gone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any, cast

from sqlalchemy import Table, bindparam, insert, or_, select, update

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.jobs.model import ACTIVE
from holdfast.kernel.jobs.tables import JobRow
from holdfast.tiers import hashing, queries
from holdfast.tiers.holding import Stays
from holdfast.tiers.model import Candidate, FileState, Skip
from holdfast.tiers.names import to_text
from holdfast.tiers.proof import Proven
from holdfast.tiers.quarantine import Kept, Quarantine
from holdfast.tiers.running import Outcome, Run, Stop, Tally, in_threads, tallying, to_the_end
from holdfast.tiers.tables import TierFileRow
from holdfast.tiers.totals import count_ended

BATCH_FILES = 200
"""So many files at most are held open at once."""
CLAIMED_FILES = 1000
"""Rows of one transaction; a store is asked about so many at once."""
Change = dict[str, Any]
"""Columns of one row that change; ``id`` says of which."""
_rows = cast("Table", TierFileRow.__table__)
OPEN = (FileState.INTENT, FileState.QUARANTINED, FileState.LEAVING)


@dataclass(slots=True)
class Found:
    """What a thread did with some rows: for the journal, and for people."""

    changes: list[Change] = field(default_factory=list)
    told: list[tuple[TierFileRow, str, Skip | None, str]] = field(default_factory=list)

    def change(self, row: TierFileRow, state: FileState, **values: object) -> None:
        """A row's next state; nobody holds it any more."""
        self.changes.append({"id": row.id, "state": state, "held_by": None, **values})

    def tell(
        self, row: TierFileRow, what: str, detail: str = "", *, skip: Skip | None = None
    ) -> None:
        """What people are to know of it; ``skip``: why it is not what was wanted."""
        self.told.append((row, what, skip, detail))


@contextmanager
def opened(root: bytes, job_id: str) -> Iterator[Quarantine]:
    """A job's quarantine. Raises ``Unavailable`` when the tier is not there."""
    try:
        quarantine = Quarantine(root, job_id)
    except OSError as error:
        raise Unavailable(
            f"the tier's folder {to_text(root)} cannot be used: {error.strerror}",
            hint="is its file system mounted?",
        ) from error
    with quarantine:
        yield quarantine


async def intend(run: Run, files: Sequence[tuple[Candidate, Proven]]) -> list[int]:
    """Write that these files are about to be moved; their rows' ids."""
    rows = [
        {
            "tier_id": run.tier.id,
            "job_id": run.ctx.job_id,
            "held_by": run.ctx.job_id,
            "path": file.path,
            "state": FileState.INTENT,
            "size_bytes": file.size_bytes,
            "device": file.device,
            "inode": file.inode,
            "mtime_ns": file.mtime_ns,
            "proof": proven.to_json(),
        }
        for file, proven in files
    ]
    new = select(TierFileRow.path, TierFileRow.id).where(
        TierFileRow.job_id == run.ctx.job_id, TierFileRow.state == FileState.INTENT
    )
    async with run.ctx.write() as work:
        await work.session.execute(insert(_rows), rows)
        found = await work.session.execute(new.order_by(TierFileRow.id))
        ids = {row.path: row.id for row in found}
    return [ids[file.path] for file, _ in files]


async def record(run: Run, changes: Sequence[Change]) -> None:
    """Write what became of rows."""
    if not changes:
        return
    async with run.ctx.write() as work:
        ended = [(one["id"], FileState(one["state"])) for one in changes if one.get("ended_at")]
        await count_ended(work.session, ended)
        for columns, alike in groupby(sorted(changes, key=_columns), key=_columns):
            given: dict[str, Any] = {name: bindparam(f"new_{name}") for name in columns}
            query = update(_rows).where(_rows.c.id == bindparam("row")).values(given)
            await work.session.execute(
                query,
                [
                    {"row": one["id"], **{f"new_{name}": one[name] for name in columns}}
                    for one in alike
                ],
            )
        # a pull of a folder may run beside the removal: it found no row to note its return in
        frozen = [one["id"] for one in changes if one.get("state") == FileState.FROZEN]
        await queries.note_pulled(work.session, frozen)


def _columns(change: Change) -> tuple[str, ...]:
    return tuple(sorted(set(change) - {"id"}))


async def claim(
    run: Run,
    *,
    after: int,
    job_id: str | None = None,
    due: datetime | None = None,
    below: bytes = b"",
) -> list[TierFileRow]:
    """Take some quarantined rows that nobody holds, in their order, with all names of a file.

    ``job_id``: of this freeze only; ``due``: whose undo window has ended by then; ``below``: at or
    below this path.
    """
    free = select(TierFileRow).where(
        TierFileRow.tier_id == run.tier.id,
        TierFileRow.state == FileState.QUARANTINED,
        TierFileRow.held_by.is_(None),
        TierFileRow.id > after,
    )
    if job_id is not None:
        free = free.where(TierFileRow.job_id == job_id)
    if due is not None:
        free = free.where(TierFileRow.due_at <= due)
    if below:
        path = TierFileRow.path
        free = free.where(or_(path == below, (path > below + b"/") & (path < below + b"0")))
    free = free.order_by(TierFileRow.id).with_for_update(skip_locked=True)
    async with run.ctx.write() as work:
        rows = list((await work.session.scalars(free.limit(CLAIMED_FILES))).all())
        if rows:  # the names of one file were written one after another
            others = (
                TierFileRow.ended_at.is_(None),
                TierFileRow.id > rows[-1].id,
                TierFileRow.inode == rows[-1].inode,
            )
            rows += (await work.session.scalars(free.where(*others))).all()
        mine = _rows.c.id.in_([row.id for row in rows])
        await work.session.execute(update(_rows).where(mine).values(held_by=run.ctx.job_id))
    return rows


def by_file(rows: Sequence[TierFileRow]) -> Iterator[list[TierFileRow]]:
    """The rows of each file: one, or as many as it has names."""
    for _, names in groupby(rows, key=lambda row: (row.job_id, row.device, row.inode)):
        yield list(names)


def kept(rows: Sequence[TierFileRow]) -> list[Kept]:
    """A file as it was when it was moved."""
    return [
        Kept(
            path=row.path,
            inode=row.inode,
            size_bytes=row.size_bytes,
            mtime_ns=row.mtime_ns,
            ctime_ns=row.ctime_ns,
        )
        for row in rows
    ]


async def mend(run: Run) -> Outcome:
    """Bring rows to rest that a job held which is gone, and files back that no row knows.

    To be called at the start of every job of a tier. Nothing is removed here: what was moved when
    the journal did not hear of it any more is hashed again, or put back.
    """
    with tallying(run.report) as tally:
        after = 0
        while rows := await _left_behind(run, after):
            after = rows[-1].id
            found = Found()
            try:
                await in_threads([partial(_mend_rows, run, rows, found)])
            finally:
                await to_the_end(record(run, found.changes))
            tell(tally, found)
        await sweep(run, tally)
        return tally.outcome()


async def unsettled(run: Run) -> set[bytes]:
    """Files of this run whose rows are not at rest: it was ended, and they will be told again."""
    query = select(TierFileRow.path).where(
        TierFileRow.job_id == run.ctx.job_id, TierFileRow.state == FileState.INTENT
    )
    async with run.ctx.read() as session:
        return set(await session.scalars(query))


async def _left_behind(run: Run, after: int) -> list[TierFileRow]:
    living = select(JobRow.id).where(JobRow.state.in_(ACTIVE), JobRow.id != run.ctx.job_id)
    query = select(TierFileRow).where(
        TierFileRow.tier_id == run.tier.id,
        TierFileRow.id > after,
        TierFileRow.ended_at.is_(None),
        or_(
            TierFileRow.state.in_((FileState.INTENT, FileState.LEAVING)),
            (TierFileRow.state == FileState.QUARANTINED) & TierFileRow.held_by.is_not(None),
        ),
        or_(TierFileRow.held_by.is_(None), TierFileRow.held_by.not_in(living)),
    )
    async with run.ctx.read() as session:
        found = await session.scalars(query.order_by(TierFileRow.id).limit(BATCH_FILES))
        return list(found.all())


def tell(tally: Tally, found: Found) -> None:
    """Tell people what a thread did."""
    for row, what, skip, detail in found.told:
        if skip is None:
            tally.done(row.path, row.size_bytes, what, detail)
        else:
            tally.count(skip, 1, row.size_bytes)
            tally.tell(row.path, row.size_bytes, what, f"{skip}: {detail}" if detail else skip)
    tally.flush()


async def conclude(run: Run, rows: Sequence[TierFileRow], found: Found, tally: Tally) -> None:
    """Write what became of claimed rows, let go of the others, and tell."""
    changed = {change["id"] for change in found.changes}
    free = [{"id": row.id, "held_by": None} for row in rows if row.id not in changed]
    await record(run, [*found.changes, *free])
    tell(tally, found)


def _mend_rows(run: Run, rows: Sequence[TierFileRow], found: Found, stop: Stop) -> None:
    for job_id, of_job in groupby(rows, key=lambda row: row.job_id):
        with opened(run.tier.root, job_id) as quarantine:
            for row in of_job:
                if stop:
                    return
                _mend_row(run, quarantine, row, found, stop)


def _mend_row(run: Run, quarantine: Quarantine, row: TierFileRow, found: Found, stop: Stop) -> None:
    here = quarantine.lies_here(row.path)
    if row.state == FileState.INTENT:
        if here is None:
            found.change(row, FileState.STAYED, ended_at=run.ctx.now())
        else:
            _mend_moved(run, quarantine, row, found, stop)
    elif here is None:
        settle_missing(run, quarantine, row, found)
    else:
        found.change(row, FileState.QUARANTINED)


def _mend_moved(
    run: Run, quarantine: Quarantine, row: TierFileRow, found: Found, stop: Stop
) -> None:
    """A file was moved, and nobody wrote when: it counts if its content is what was proven."""
    proven = Proven.from_json(row.proof)
    try:
        file = quarantine.as_found(kept([row])[0])
        hashes = hashing.hash_file(quarantine.root, file, [proven.kind], stop)
    except Stays as stays:
        why = f"it was moved when a job ended: {stays.reason}"
        put_back(run, quarantine, row, found, why=why, state=FileState.STAYED)
        return
    if hashes[proven.kind] != proven.digest or proven.links > 1:
        why = "it was moved when a job ended, and is not as it was proven"
        put_back(run, quarantine, row, found, why=why, state=FileState.STAYED)
        return
    moment = run.ctx.now()
    due = moment + timedelta(hours=run.tier.options.undo_hours)
    times = {"ctime_ns": file.ctime_ns, "moved_at": moment, "due_at": due}
    found.change(row, FileState.QUARANTINED, **times)
    found.tell(row, "quarantined", "it was moved when a job ended")


def settle_missing(run: Run, quarantine: Quarantine, row: TierFileRow, found: Found) -> None:
    """A file that should be in quarantine is not: it was removed, or somebody moved it back."""
    tree = quarantine.lies_in_tree(row.path)
    moment = run.ctx.now()
    if tree is not None and (tree.st_dev, tree.st_ino) == (row.device, row.inode):
        found.change(row, FileState.RESTORED, ended_at=moment)
        found.tell(row, "restored", "it is in its place already")
    elif quarantine.is_there() or quarantine.device() == row.device:
        found.change(row, FileState.FROZEN, ended_at=moment)
        found.tell(row, "frozen", "it was removed already", skip=Skip.GONE)


def put_back(
    run: Run,
    quarantine: Quarantine,
    row: TierFileRow,
    found: Found,
    *,
    why: str,
    state: FileState = FileState.RESTORED,
    skip: Skip | None = None,
) -> None:
    """Move a file back to its place, or beside it when that is taken; tells where it lies."""
    try:
        landed = quarantine.put_back(row.path, beside=True)
    except Stays as stays:
        words = f"{why}; it cannot go back: {stays.detail or stays.reason}"
        found.tell(row, "stays in quarantine", words, skip=stays.reason)
        return
    found.change(row, state, ended_at=run.ctx.now())
    if landed == row.path:
        found.tell(row, "restored", why, skip=skip)
    else:
        words = f"{why}; its place is taken: it lies at {to_text(landed)}"
        found.tell(row, "kept beside", words, skip=skip)


async def sweep(run: Run, tally: Tally) -> None:
    """Remove quarantine folders that no row needs; what still lies in one goes back to the tree."""
    (folders,) = await in_threads([lambda _: _folders(run.tier.root)])
    if folders is None:
        return
    needed = select(TierFileRow.job_id).where(
        TierFileRow.tier_id == run.tier.id,
        TierFileRow.job_id.in_(folders),
        TierFileRow.state.in_(OPEN),
    )
    living = select(JobRow.id).where(JobRow.state.in_(ACTIVE), JobRow.id != run.ctx.job_id)
    async with run.ctx.read() as session:
        wanted = set(await session.scalars(needed.distinct()))
        others = set(await session.scalars(living))
    for job_id in folders:
        if job_id not in wanted | others:
            (moved,) = await in_threads([partial(_clear, run.tier.root, job_id)])
            for path, landed in moved:
                where = f"it was in no journal; it lies at {to_text(landed)}"
                tally.tell(path, 0, "restored", where)
    if not others:
        await in_threads([lambda _: _remove_empty(run.tier.root)])


def _folders(root: bytes) -> list[str] | None:
    with opened(root, "") as quarantine:
        return quarantine.jobs()


def _remove_empty(root: bytes) -> None:
    with opened(root, "") as quarantine:
        quarantine.remove_empty()


def _clear(root: bytes, job_id: str, stop: Stop) -> list[tuple[bytes, bytes]]:
    del stop
    with opened(root, job_id) as quarantine:
        return quarantine.clear()

"""Named queries over tiers, their runs and their files."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Row,
    Select,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.jobs.model import UNFINISHED, JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.sorting import Sorts, order_by
from holdfast.tiers.model import EMPTY, Action, Asked, FileState, Standing
from holdfast.tiers.tables import (
    KEY_BYTES,
    TierFileRow,
    TierPulledRow,
    TierRow,
    TierRunRow,
    key_of,
)

PATHS_AT_ONCE = 500
JOINABLE = (JobState.WAITING, JobState.RUNNING)
LEFT = frozenset({FileState.QUARANTINED, FileState.LEAVING, FileState.FROZEN})
path_key = func.substr(
    TierFileRow.path, literal_column("1"), literal_column(str(KEY_BYTES)), type_=LargeBinary
)
"""The beginning of a path, as PostgreSQL has it in an index; SQLite has all of it in one."""
WAITING_FILES = tuple(FileState(state) for state in ("intent", "quarantined", "leaving"))


def is_sqlite(session: AsyncSession) -> bool:
    """Which of both databases it is."""
    return session.get_bind().dialect.name == "sqlite"


async def tier_page(
    session: AsyncSession, *, limit: int, offset: int, words: str = ""
) -> tuple[Sequence[TierRow], int]:
    """Tiers by name, and how many in all; ``words``: in name or description."""
    query = select(TierRow)
    if words:
        looked_in = (TierRow.name, TierRow.description)
        query = query.where(or_(*(c.icontains(words, autoescape=True) for c in looked_in)))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.order_by(TierRow.name).limit(limit).offset(offset)
    return (await session.scalars(page)).all(), total


async def all_tiers(session: AsyncSession) -> Sequence[TierRow]:
    """Every tier, by name."""
    return (await session.scalars(select(TierRow).order_by(TierRow.name))).all()


async def tiers_on_store(session: AsyncSession, store_id: int) -> Sequence[TierRow]:
    """The tiers of which a store has the tree, by name."""
    of_store = or_(TierRow.store_id == store_id, TierRow.second_store_id == store_id)
    return (await session.scalars(select(TierRow).where(of_store).order_by(TierRow.name))).all()


async def locked_tier(session: AsyncSession, tier_id: int) -> TierRow | None:
    """The tier; who else wants to ask something of it waits until the transaction ends."""
    return await session.scalar(select(TierRow).where(TierRow.id == tier_id).with_for_update())


async def standing_runs(session: AsyncSession, tier_id: int) -> list[Standing]:
    """Runs of a tier that wait or run and that nobody has cancelled, oldest first."""
    query = (
        select(TierRunRow.job_id, TierRunRow.asked)
        .join(JobRow, JobRow.id == TierRunRow.job_id)
        .where(TierRunRow.tier_id == tier_id, JobRow.state.in_(JOINABLE))
        .order_by(JobRow.seq)
    )
    rows = await session.execute(query)
    return [Standing(job_id=job_id, asked=Asked.from_json(asked)) for job_id, asked in rows]


async def unfinished_jobs(session: AsyncSession, tier_id: int) -> Sequence[str]:
    """Ids of the jobs of a tier that have not ended."""
    query = (
        select(TierRunRow.job_id)
        .join(JobRow, JobRow.id == TierRunRow.job_id)
        .where(TierRunRow.tier_id == tier_id, JobRow.state.in_(UNFINISHED))
    )
    return (await session.scalars(query)).all()


NEWEST_FIRST = "-created"
RUN_SORTS: Sorts = {
    "created": TierRunRow.created_at.expression,
    "action": TierRunRow.action.expression,
    "state": func.coalesce(JobRow.state, ""),
    "ended": func.coalesce(TierRunRow.ended_at, TierRunRow.created_at),
}


async def run_page(
    session: AsyncSession,
    *,
    limit: int,
    offset: int,
    tier_id: int | None = None,
    action: str | None = None,
    sort: str = "-created",
) -> tuple[Sequence[tuple[TierRunRow, JobRow | None]], int]:
    """Runs and their jobs, newest first, and how many in all. An old job may be forgotten.

    Raises ``Invalid`` for another ``sort`` than one of `RUN_SORTS`, or one with a dash.
    """
    wanted: list[ColumnElement[bool]] = []
    if tier_id is not None:
        wanted.append(TierRunRow.tier_id == tier_id)
    if action:
        wanted.append(TierRunRow.action == action)
    ids, total = await chosen_runs(session, wanted, sort=sort, limit=limit, offset=offset)
    query = select(TierRunRow, JobRow).outerjoin(JobRow, JobRow.id == TierRunRow.job_id)
    rows = await session.execute(query.where(TierRunRow.job_id.in_(ids)).order_by(*run_order(sort)))
    return [(run, job) for run, job in rows], total


async def chosen_runs(
    session: AsyncSession,
    wanted: Sequence[ColumnElement[bool]],
    *,
    sort: str,
    limit: int,
    offset: int,
    of_jobs: bool = False,
) -> tuple[Select[str], int]:
    """The ids of a page of runs, and how many there are in all: by an index, where there is one.

    ``of_jobs``: whether ``wanted`` asks something of their jobs, too. Raises ``Invalid``.
    """
    ids = select(TierRunRow.job_id).where(*wanted)
    counted = select(func.count()).select_from(TierRunRow).where(*wanted)
    is_job = JobRow.id == TierRunRow.job_id
    if of_jobs:
        ids, counted = ids.join(JobRow, is_job), counted.join(JobRow, is_job)
    elif sort.removeprefix("-") == "state":
        ids = ids.outerjoin(JobRow, is_job)
    total = await session.scalar(counted) or 0
    return ids.order_by(*run_order(sort)).limit(limit).offset(offset), total


def run_order(sort: str) -> Sequence[ColumnElement[Any]]:
    """In which order runs are asked for. Raises ``Invalid``."""
    return order_by(RUN_SORTS, sort), TierRunRow.created_at.desc(), TierRunRow.job_id.asc()


async def run_of(session: AsyncSession, job_id: str) -> tuple[TierRunRow, JobRow | None] | None:
    """One run and its job."""
    query = (
        select(TierRunRow, JobRow)
        .outerjoin(JobRow, JobRow.id == TierRunRow.job_id)
        .where(TierRunRow.job_id == job_id)
    )
    found = (await session.execute(query)).first()
    return (found[0], found[1]) if found else None


async def files_by_state(
    session: AsyncSession,
    *,
    tier_id: int | None = None,
    job_id: str | None = None,
    states: Sequence[FileState] | None = None,
) -> list[tuple[int, FileState, int, int]]:
    """Of the journal: tier, state, files, bytes."""
    size = func.coalesce(func.sum(TierFileRow.size_bytes), 0)
    query = select(TierFileRow.tier_id, TierFileRow.state, func.count(), size)
    if states is not None:
        query = query.where(TierFileRow.state.in_(states))
    if tier_id is not None:
        query = query.where(TierFileRow.tier_id == tier_id)
    if job_id is not None:
        query = query.where(TierFileRow.job_id == job_id)
    rows = await session.execute(query.group_by(TierFileRow.tier_id, TierFileRow.state))
    return [(tier, FileState(state), count, int(total)) for tier, state, count, total in rows]


async def waiting_files(
    session: AsyncSession, *, tier_id: int | None = None, job_id: str | None = None
) -> tuple[int, int]:
    """Files, and their bytes, that are on their way out and can still come back."""
    found = await files_by_state(session, tier_id=tier_id, job_id=job_id, states=WAITING_FILES)
    return sum(count for *_, count, _ in found), sum(size for *_, size in found)


async def tiers_with_due_files(session: AsyncSession, moment: datetime) -> Sequence[int]:
    """Tiers in whose quarantine an undo window has ended, or a job left something half done."""
    unfinished = select(JobRow.id).where(JobRow.state.in_(UNFINISHED))
    of_tier = select(TierFileRow.id).where(TierFileRow.tier_id == TierRow.id)
    is_due = of_tier.where(
        TierFileRow.ended_at.is_(None),
        TierFileRow.due_at <= moment,
        TierFileRow.state.in_((FileState.QUARANTINED, FileState.LEAVING)),
    )
    is_left = of_tier.where(
        TierFileRow.state == FileState.INTENT, TierFileRow.job_id.not_in(unfinished)
    )
    query = select(TierRow.id).where(is_due.exists() | is_left.exists())
    return (await session.scalars(query)).all()


async def oldest_due(session: AsyncSession) -> datetime | None:
    """When the undo window ended that ended first, of files that are still in quarantine."""
    query = select(func.min(TierFileRow.due_at)).where(
        TierFileRow.ended_at.is_(None),
        TierFileRow.state.in_((FileState.QUARANTINED, FileState.LEAVING)),
    )
    return await session.scalar(query)


async def end_windows(session: AsyncSession, tier_id: int, moment: datetime) -> int:
    """Let the undo window of everything in a tier's quarantine end now; gives its bytes."""
    in_window = (
        TierFileRow.tier_id == tier_id,
        TierFileRow.state == FileState.QUARANTINED,
        TierFileRow.ended_at.is_(None),
        TierFileRow.due_at > moment,
    )
    size = await session.scalar(select(func.sum(TierFileRow.size_bytes)).where(*in_window)) or 0
    if size:
        await session.execute(
            update(TierFileRow)
            .where(*in_window)
            .values(due_at=moment)
            .execution_options(synchronize_session=False)
        )
    return int(size)


async def coming_bytes(session: AsyncSession, tier_id: int, moment: datetime) -> int:
    """Bytes that a tier is letting go of: out of its quarantine, and by freezes for room."""
    leaving = select(func.sum(TierFileRow.size_bytes)).where(
        TierFileRow.tier_id == tier_id,
        TierFileRow.state.in_((FileState.QUARANTINED, FileState.LEAVING)),
        TierFileRow.ended_at.is_(None),
        TierFileRow.due_at <= moment,
    )
    runs = await standing_runs(session, tier_id)
    return int(await session.scalar(leaving) or 0) + sum(r.asked.until_bytes or 0 for r in runs)


async def named(
    session: AsyncSession, tier_id: int, paths: Sequence[bytes]
) -> Sequence[Row[int, bytes, str, str]]:
    """The journal's rows of these paths of a tier."""
    columns = (TierFileRow.id, TierFileRow.path, TierFileRow.job_id, TierFileRow.state)
    query = select(*columns).where(*_of_paths(session, tier_id, paths))
    return (await session.execute(query)).all()


async def note_return(session: AsyncSession, tier_id: int, paths: Sequence[bytes]) -> None:
    """What was frozen of these paths is here again."""
    for start in range(0, len(paths), PATHS_AT_ONCE):
        these = _of_paths(session, tier_id, paths[start : start + PATHS_AT_ONCE])
        frozen = update(TierFileRow).where(*these, TierFileRow.state == FileState.FROZEN)
        returned = frozen.values(state=FileState.RETURNED)
        await session.execute(returned.execution_options(synchronize_session=False))


async def note_pulled(session: AsyncSession, ids: Sequence[int]) -> None:
    """Of these rows that just became frozen: what a pull fetched meanwhile is here again."""
    for start in range(0, len(ids), PATHS_AT_ONCE):
        these = TierFileRow.id.in_(ids[start : start + PATHS_AT_ONCE])
        columns = (TierFileRow.id, TierFileRow.tier_id, TierFileRow.path, TierFileRow.moved_at)
        rows = (await session.execute(select(*columns).where(these))).all()
        pulled = await _pulled_at(session, [(row.tier_id, key_of(row.path)) for row in rows])
        here = [
            row.id
            for row in rows
            if (moment := pulled.get((row.tier_id, key_of(row.path)))) is not None
            and (row.moved_at is None or moment > row.moved_at)
        ]
        if here:
            returned = update(TierFileRow).where(TierFileRow.id.in_(here))
            returned = returned.values(state=FileState.RETURNED)
            await session.execute(returned.execution_options(synchronize_session=False))


async def _pulled_at(
    session: AsyncSession, keys: Sequence[tuple[int, bytes]]
) -> dict[tuple[int, bytes], datetime]:
    """When these files were pulled last: by tier, and by the hash of the path."""
    query = select(TierPulledRow.tier_id, TierPulledRow.path_hash, TierPulledRow.pulled_at).where(
        TierPulledRow.tier_id.in_({tier_id for tier_id, _ in keys}),
        TierPulledRow.path_hash.in_([key for _, key in keys]),
    )
    return {(row.tier_id, row.path_hash): row.pulled_at for row in await session.execute(query)}


def _of_paths(
    session: AsyncSession, tier_id: int, paths: Sequence[bytes]
) -> list[ColumnElement[bool]]:
    these = [TierFileRow.tier_id == tier_id, TierFileRow.path.in_(paths)]
    if not is_sqlite(session):
        these.append(path_key.in_({path[:KEY_BYTES] for path in paths}))
    return these


async def is_emptied(session: AsyncSession, tier_id: int, failed_after: datetime) -> bool:
    """Whether a job that empties this tier's quarantine has not ended, or just failed."""
    failed = (JobRow.state == JobState.FAILED) & (JobRow.finished_at > failed_after)
    query = select(JobRow.args).where(JobRow.kind == EMPTY, JobRow.state.in_(UNFINISHED) | failed)
    return any(json.loads(args)["tier_id"] == tier_id for args in await session.scalars(query))


async def makes_room(session: AsyncSession, tier_id: int, begun_after: datetime) -> bool:
    """Whether a freeze that makes room in this tier has not ended, or just began."""
    query = (
        select(TierRunRow.asked)
        .outerjoin(JobRow, JobRow.id == TierRunRow.job_id)
        .where(
            TierRunRow.tier_id == tier_id,
            TierRunRow.action == Action.FREEZE,
            JobRow.state.in_(UNFINISHED) | (TierRunRow.created_at > begun_after),
        )
    )
    runs = [Asked.from_json(asked) for asked in await session.scalars(query)]
    return any(asked.until_bytes is not None for asked in runs)


async def living_jobs(session: AsyncSession) -> Sequence[str]:
    """All jobs that have not ended."""
    return (await session.scalars(select(JobRow.id).where(JobRow.state.in_(UNFINISHED)))).all()


async def run_ids(session: AsyncSession) -> Sequence[str]:
    """The jobs of all runs that are kept."""
    return (await session.scalars(select(TierRunRow.job_id))).all()

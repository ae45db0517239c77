"""What the pages of tiers read: lines of lists without what is large in a run."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, ScalarSelect, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.jobs.model import UNFINISHED, JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.web.console.listing import Listing, like
from holdfast.tiers.model import Action
from holdfast.tiers.queries import NEWEST_FIRST, WAITING_FILES, chosen_runs, run_order
from holdfast.tiers.tables import TierFileRow, TierRow, TierRunRow

SORTS = {
    "name": TierRow.name,
    "path": TierRow.root,
    "store": StoreRow.name,
    "updated": TierRow.updated_at,
}
HEAD = 400
"""Characters of an outcome that a list reads: a report's is long, and its totals come first."""
_TOTALS = re.compile(r'"files": (\d+), "bytes": (\d+)')
SHOWN_AGE_DAYS = 90
_UNREAD = re.compile(rf'"{SHOWN_AGE_DAYS}": (\d+)')
_SAVED = re.compile(rf'"days": {SHOWN_AGE_DAYS}, "files": \d+, "bytes": (\d+)')
_LIMIT = re.compile(r'"over_limit": "([^"]+)"')
_WAITING = TierFileRow.state.in_(WAITING_FILES)
_WHOLE = '"paths": [""]'
"""In what was asked: of the whole tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """A run in a list."""

    job_id: str
    tier_id: int
    action: Action
    is_dry: bool
    paths: str
    """How its request begins: enough to tell where it worked."""
    outcome: str
    """How it begins."""
    created_at: datetime
    ended_at: datetime | None
    state: JobState | None
    """None: its job was forgotten."""
    error: str
    created_by: str

    @property
    def is_under_way(self) -> bool:
        """Whether its job has not ended."""
        return self.state in UNFINISHED

    @property
    def is_whole(self) -> bool:
        """Whether it was asked of the whole tier."""
        return _WHOLE in self.paths

    @property
    def totals(self) -> tuple[int, int] | None:
        """Files and bytes; None while nothing is told."""
        found = _TOTALS.search(self.outcome)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def unread_bytes(self) -> int | None:
        """Of a report: what nobody read for `SHOWN_AGE_DAYS`."""
        found = _UNREAD.search(self.outcome)
        return int(found[1]) if found else None

    @property
    def saved_bytes(self) -> int | None:
        """Of a report: what a freeze of that age would save."""
        found = _SAVED.search(self.outcome)
        return int(found[1]) if found else None

    @property
    def stopped_at(self) -> str:
        """The limit at which it stopped before it took anything, in words; empty: at none."""
        found = _LIMIT.search(self.outcome) if self.state is JobState.FAILED else None
        return found[1] if found else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a freeze took and what waits in quarantine."""

    job_id: str
    files: int
    size_bytes: int
    first_due: datetime | None
    last_due: datetime | None


async def tier_lines(
    session: AsyncSession, asked: Listing
) -> tuple[Sequence[tuple[TierRow, str]], int]:
    """A page of tiers with the names of their stores, and how many fit the search."""
    query = select(TierRow, StoreRow.name).join(StoreRow, StoreRow.id == TierRow.store_id)
    if asked.q:
        pattern = like(asked.q)
        words = (TierRow.name, TierRow.description, StoreRow.name)
        path = TierRow.root.contains(asked.q.encode("utf-8", "surrogatepass"))
        query = query.where(or_(path, *(c.ilike(pattern, escape="\\") for c in words)))
    counted = query.with_only_columns(TierRow.id).subquery()
    total = await session.scalar(select(func.count()).select_from(counted)) or 0
    column = SORTS[asked.sort]
    order = column.desc() if asked.descending else column.asc()
    rows = await session.execute(
        query.order_by(order, TierRow.id).limit(asked.rows).offset(asked.offset)
    )
    return [(tier, store) for tier, store in rows], total


async def latest_runs(
    session: AsyncSession, tier_ids: Sequence[int] | None = None
) -> dict[int, list[RunLine]]:
    """Of each tier all runs that have not ended, and the newest ones of each action.

    Those are: dry and not, whatever became of it and with an outcome; a report with an outcome is
    one of the whole tier.
    """
    newest = [
        _newest(action, dry_run=dry_run, is_told=is_told)
        for action in Action
        for dry_run in (False, True)
        for is_told in (False, True)
    ]
    query = select(*newest)
    begun = select(TierRunRow.job_id).join(JobRow, JobRow.id == TierRunRow.job_id)
    begun = begun.where(JobRow.state.in_(UNFINISHED))
    if tier_ids is not None:
        query = query.where(TierRow.id.in_(tier_ids))
        begun = begun.where(TierRunRow.tier_id.in_(tier_ids))
    ids = {one for row in await session.execute(query.select_from(TierRow)) for one in row if one}
    ids |= set(await session.scalars(begun))
    found: dict[int, list[RunLine]] = {}
    told = _runs().where(TierRunRow.job_id.in_(ids)).order_by(*run_order(NEWEST_FIRST))
    for line in await _lines(session, told):
        found.setdefault(line.tier_id, []).append(line)
    return found


def _newest(action: Action, *, dry_run: bool, is_told: bool) -> ScalarSelect[str]:
    """Of one tier, by one step in an index."""
    query = select(TierRunRow.job_id).where(
        TierRunRow.tier_id == TierRow.id,
        TierRunRow.action == action,
        TierRunRow.dry_run.is_(dry_run),
    )
    if is_told:
        query = query.where(TierRunRow.outcome != "{}")
    if is_told and action is Action.REPORT:
        query = query.where(TierRunRow.asked.contains(_WHOLE))
    newest = query.order_by(TierRunRow.created_at.desc()).limit(1).correlate(TierRow)
    return newest.scalar_subquery()


async def run_lines(
    session: AsyncSession, asked: Listing, *, tier_id: int | None = None
) -> tuple[Sequence[RunLine], int]:
    """A page of runs, newest first, and how many there are; `RUN_SORTS` are what it sorts by."""
    wanted: list[ColumnElement[bool]] = []
    if tier_id is not None:
        wanted.append(TierRunRow.tier_id == tier_id)
    if action := asked.others.get("action"):
        wanted.append(TierRunRow.action == action)
    state = asked.others.get("state")
    if state:
        wanted.append(JobRow.state == state)
    if asked.q:
        wanted.append(TierRunRow.asked.ilike(like(asked.q), escape="\\"))
    ids, total = await chosen_runs(
        session,
        wanted,
        sort=asked.order,
        limit=asked.rows,
        offset=asked.offset,
        of_jobs=bool(state),
    )
    shown = _runs().where(TierRunRow.job_id.in_(ids)).order_by(*run_order(asked.order))
    return await _lines(session, shown), total


async def names_of_tiers(session: AsyncSession) -> dict[int, str]:
    """Each tier's name."""
    rows = await session.execute(select(TierRow.id, TierRow.name).order_by(TierRow.name))
    return {number: name for number, name in rows}  # noqa: C416 - rows are no pairs to the checker


async def waiting_by_job(session: AsyncSession, tier_id: int) -> Sequence[Waiting]:
    """What waits in a tier's quarantine, a freeze a line, the first to leave first."""
    due = func.min(TierFileRow.due_at)
    query = (
        select(
            TierFileRow.job_id,
            func.count(),
            func.sum(TierFileRow.size_bytes),
            due,
            func.max(TierFileRow.due_at),
        )
        .where(TierFileRow.tier_id == tier_id, _WAITING)
        .group_by(TierFileRow.job_id)
        .order_by(due, TierFileRow.job_id)
    )
    return [
        Waiting(job_id=job, files=files, size_bytes=int(size), first_due=first, last_due=last)
        for job, files, size, first, last in await session.execute(query)
    ]


async def last_report(
    session: AsyncSession, tier_id: int, job_id: str = ""
) -> tuple[TierRunRow, JobRow | None] | None:
    """The newest report of a whole tier that was made, or the one of this job."""
    is_wanted = TierRunRow.job_id == job_id if job_id else TierRunRow.asked.contains(_WHOLE)
    query = (
        select(TierRunRow, JobRow)
        .outerjoin(JobRow, JobRow.id == TierRunRow.job_id)
        .where(
            TierRunRow.tier_id == tier_id,
            TierRunRow.action == Action.REPORT,
            TierRunRow.outcome != "{}",
            is_wanted,
        )
        .order_by(TierRunRow.created_at.desc())
        .limit(1)
    )
    found = (await session.execute(query)).first()
    return (found[0], found[1]) if found else None


def _runs() -> Select[*tuple[Any, ...]]:
    def head(column: ColumnElement[str]) -> ColumnElement[str]:
        return func.substr(column, 1, HEAD)

    return select(
        TierRunRow.job_id,
        TierRunRow.tier_id,
        TierRunRow.action,
        TierRunRow.dry_run,
        head(TierRunRow.asked.expression),
        head(TierRunRow.outcome.expression),
        TierRunRow.created_at,
        TierRunRow.ended_at,
        JobRow.state,
        JobRow.error,
        JobRow.created_by,
    ).outerjoin(JobRow, JobRow.id == TierRunRow.job_id)


async def _lines(session: AsyncSession, query: Select[*tuple[Any, ...]]) -> Sequence[RunLine]:
    return [_line(row) for row in await session.execute(query)]


def _line(row: Row[*tuple[Any, ...]]) -> RunLine:
    job_id, tier_id, action, is_dry, asked, outcome, created, ended, state, error, by = row
    return RunLine(
        job_id=job_id,
        tier_id=tier_id,
        action=Action(action),
        is_dry=bool(is_dry),
        paths=asked,
        outcome=outcome,
        created_at=created,
        ended_at=ended,
        state=JobState(state) if state else None,
        error=error or "",
        created_by=by or "",
    )

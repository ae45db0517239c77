"""How many files, and bytes, of each tier are in which state.

What has ended is counted when it ends, so that nobody adds up all that ever left, and so that the
numbers outlive the rows.
"""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.tiers.model import FileState
from holdfast.tiers.queries import WAITING_FILES
from holdfast.tiers.tables import TierFileRow, TierTotalRow

Totals = dict[FileState, tuple[int, int]]
"""Files and bytes, by state."""


async def totals(
    session: AsyncSession,
    tier_ids: Sequence[int],
    states: Sequence[FileState] = tuple(FileState),
) -> dict[int, Totals]:
    """Of these tiers, as far as these states go."""
    size = func.coalesce(func.sum(TierFileRow.size_bytes), 0)
    waiting = (
        select(TierFileRow.tier_id, TierFileRow.state, func.count(), size)
        .where(
            TierFileRow.tier_id.in_(tier_ids),
            TierFileRow.state.in_([state for state in WAITING_FILES if state in states]),
        )
        .group_by(TierFileRow.tier_id, TierFileRow.state)
    )
    ended = select(
        TierTotalRow.tier_id, TierTotalRow.state, TierTotalRow.files, TierTotalRow.size_bytes
    ).where(TierTotalRow.tier_id.in_(tier_ids), TierTotalRow.state.in_(states))
    found: dict[int, Totals] = {}
    for query in (waiting, ended):
        for tier_id, state, files, size_bytes in await session.execute(query):
            found.setdefault(tier_id, {})[FileState(state)] = (files, int(size_bytes))
    return found


async def count_ended(session: AsyncSession, changes: Sequence[tuple[int, FileState]]) -> None:
    """Count the rows of the journal that come to an end now: their ids, and how they end.

    To be called before they are written: a row that has ended already is not counted again.
    """
    became = dict(changes)
    query = select(TierFileRow.id, TierFileRow.tier_id, TierFileRow.size_bytes).where(
        TierFileRow.id.in_(became), TierFileRow.ended_at.is_(None)
    )
    sums: dict[tuple[int, FileState], tuple[int, int]] = {}
    for number, tier_id, size in await session.execute(query):
        files, total = sums.get((tier_id, became[number]), (0, 0))
        sums[tier_id, became[number]] = (files + 1, total + size)
    if not sums:
        return
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    given = (sqlite if is_sqlite else postgresql).insert(TierTotalRow)
    adding = given.on_conflict_do_update(
        index_elements=["tier_id", "state"],
        set_={
            "files": TierTotalRow.files + given.excluded.files,
            "size_bytes": TierTotalRow.size_bytes + given.excluded.size_bytes,
        },
    )
    rows = [
        {"tier_id": tier_id, "state": state, "files": files, "size_bytes": size}
        for (tier_id, state), (files, size) in sorted(sums.items())
    ]
    await session.execute(adding, rows)

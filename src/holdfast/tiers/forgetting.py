"""What is forgotten after a while: runs with what the journal has of them, graces, proofs.

Of a file that left for good the latest row stays: a folder's listing tells by it what was frozen.
Some rows at a time go in a transaction, so that nobody waits long to write.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Table, bindparam, delete, select, tuple_

from holdfast.kernel.db import Database
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import queries
from holdfast.tiers.model import FileState
from holdfast.tiers.queries import WAITING_FILES
from holdfast.tiers.tables import TierFileRow, TierProofRow, TierPulledRow, TierRunRow

BLOCK_ROWS = 1000
ENDED = (FileState.STAYED, FileState.RESTORED, FileState.RETURNED, FileState.FROZEN)
_pulled = cast("Table", TierPulledRow.__table__)


async def forget_runs(database: Database, before: datetime) -> None:
    """Forget runs that ended before a moment, but those whose files can still come back."""
    waits = select(TierFileRow.id).where(
        TierFileRow.job_id == TierRunRow.job_id, TierFileRow.state.in_(WAITING_FILES)
    )
    old = select(TierRunRow.job_id).where(TierRunRow.ended_at < before, ~waits.exists())
    async with database.read() as session:
        runs = (await session.scalars(old)).all()
    for job_id in runs:
        for state in ENDED:
            after = 0
            while block := await _files_of(database, job_id, state, after):
                after = block[-1].id
                await _forget_files(database, block)
    for start in range(0, len(runs), BLOCK_ROWS):
        async with database.write(SYSTEM) as work:
            some = TierRunRow.job_id.in_(runs[start : start + BLOCK_ROWS])
            await work.session.execute(delete(TierRunRow).where(some, TierRunRow.ended_at < before))


async def forget_pulled(database: Database, before: datetime) -> None:
    """Forget what was pulled before a moment: it has no grace any more."""
    key = (TierPulledRow.tier_id, TierPulledRow.path_hash)
    old = select(*key).where(TierPulledRow.pulled_at < before).limit(BLOCK_ROWS)
    these = delete(_pulled).where(
        _pulled.c.tier_id == bindparam("tier"), _pulled.c.path_hash == bindparam("hash")
    )
    count = BLOCK_ROWS
    while count == BLOCK_ROWS:
        async with database.write(SYSTEM) as work:
            rows = [{"tier": tier, "hash": one} for tier, one in await work.session.execute(old)]
            if rows:
                await work.session.execute(these, rows)
            count = len(rows)


async def forget_proofs(database: Database, before_day: int) -> None:
    """Forget what was of no use since a day: most of it is of files that are there no more."""
    table = cast("Table", TierProofRow.__table__)
    await _forget_some(database, table, table.c.used_day < before_day)


async def forget_tier(database: Database, tier_id: int) -> None:
    """Forget the many rows of a tier that is about to be deleted; not those still on their way."""
    for row_type in (TierFileRow, TierPulledRow, TierProofRow):
        table = cast("Table", row_type.__table__)
        ended = [table.c.ended_at.is_not(None)] if row_type is TierFileRow else []
        await _forget_some(database, table, table.c.tier_id == tier_id, *ended)


async def _forget_some(database: Database, table: Table, *which: ColumnElement[bool]) -> None:
    keys = table.primary_key.columns
    some = select(*keys).where(*which).limit(BLOCK_ROWS)
    count = BLOCK_ROWS
    while count == BLOCK_ROWS:
        async with database.write(SYSTEM) as work:
            rows = [tuple(row) for row in await work.session.execute(some)]
            await work.session.execute(delete(table).where(tuple_(*keys).in_(rows)))
            count = len(rows)


async def _files_of(
    database: Database, job_id: str, state: FileState, after: int
) -> Sequence[TierFileRow]:
    query = (
        select(TierFileRow)
        .where(TierFileRow.job_id == job_id, TierFileRow.state == state, TierFileRow.id > after)
        .order_by(TierFileRow.id)
        .limit(BLOCK_ROWS)
    )
    async with database.read() as session:
        return (await session.scalars(query)).all()


async def _forget_files(database: Database, block: Sequence[TierFileRow]) -> None:
    """Of a forgotten run: what stayed or came back, and what left by the same name before."""
    ids = [row.id for row in block if row.state != FileState.FROZEN]
    latest = {row.path: row.id for row in block if row.state == FileState.FROZEN}
    async with database.read() as session:
        rows = await queries.named(session, block[0].tier_id, [*latest])  # a run is of one tier
    ids += [row.id for row in rows if row.state == FileState.FROZEN and row.id < latest[row.path]]
    for start in range(0, len(ids), BLOCK_ROWS):
        some = TierFileRow.id.in_(ids[start : start + BLOCK_ROWS])
        async with database.write(SYSTEM) as work:
            await work.session.execute(delete(TierFileRow).where(some))

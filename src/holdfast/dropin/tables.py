"""What only clients of older tools know."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.kernel.jobs.tables import JobRow
from holdfast.tiers.tables import TierRunRow


class RemovedTaskRow(Base, kw_only=True):
    """A run of a tier that was taken off the list of tasks; Holdfast itself still shows it."""

    __tablename__ = "dropin_removed_task"

    job_id: Mapped[str] = mapped_column(
        ForeignKey("tier_run.job_id", ondelete="CASCADE"), primary_key=True
    )
    removed_at: Mapped[datetime]


async def runs_shown(
    session: AsyncSession, actions: Collection[str], *, limit: int
) -> Sequence[tuple[TierRunRow, JobRow | None]]:
    """Runs of these actions that nobody took off, newest first, with their jobs if known."""
    gone = select(RemovedTaskRow.job_id).where(RemovedTaskRow.job_id == TierRunRow.job_id)
    query = (
        select(TierRunRow, JobRow)
        .outerjoin(JobRow, JobRow.id == TierRunRow.job_id)
        .where(TierRunRow.action.in_(actions), ~gone.exists())
        .order_by(TierRunRow.created_at.desc(), TierRunRow.job_id)
        .limit(limit)
    )
    return [(run, job) for run, job in await session.execute(query)]

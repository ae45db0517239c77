"""What only clients of older tools know."""

from datetime import datetime

from sqlalchemy import ForeignKey, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


class RemovedTaskRow(Base, kw_only=True):
    """A run of a tier that was taken off the list of tasks; Holdfast itself still shows it."""

    __tablename__ = "dropin_removed_task"

    job_id: Mapped[str] = mapped_column(
        ForeignKey("tier_run.job_id", ondelete="CASCADE"), primary_key=True
    )
    removed_at: Mapped[datetime]


async def removed_tasks(session: AsyncSession) -> set[str]:
    """Runs that are not shown any more."""
    return set(await session.scalars(select(RemovedTaskRow.job_id)))

"""Messages that wait to be sent, and the named queries on them."""

from datetime import datetime

from sqlalchemy import Text, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


class NotificationRow(Base, kw_only=True):
    """A message, as long as somebody is still to be told."""

    __tablename__ = "notification"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str]
    """What it tells of."""
    addresses: Mapped[str] = mapped_column(Text)
    """A sealed JSON list: who is still to be told; ``admin``: whom the settings name."""
    subject: Mapped[str]
    text: Mapped[str] = mapped_column(Text)
    page: Mapped[str]
    """Where the console shows it: a path."""
    bad: Mapped[bool] = mapped_column(default=False)
    """Whether it tells of a failure."""
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(index=True)
    """When it is tried next, unless who tries it now ends with it before."""
    created_at: Mapped[datetime]


async def is_one_due(session: AsyncSession, moment: datetime) -> bool:
    """Whether a message is to be tried."""
    due = select(NotificationRow.id).where(NotificationRow.due_at <= moment).limit(1)
    return await session.scalar(due) is not None


async def claim(session: AsyncSession, moment: datetime, until: datetime) -> NotificationRow | None:
    """The message that has waited longest, one attempt more, and nobody else's until then."""
    due = NotificationRow.due_at <= moment
    first = select(NotificationRow.id).where(due).order_by(NotificationRow.due_at).limit(1)
    found = await session.scalar(first.with_for_update(skip_locked=True))
    if found is None:
        return None
    attempts = NotificationRow.attempts + 1
    await session.execute(
        update(NotificationRow)
        .where(NotificationRow.id == found)
        .values(due_at=until, attempts=attempts)
    )
    return await session.get(NotificationRow, found, populate_existing=True)


async def count(session: AsyncSession) -> int:
    """Messages that wait."""
    return await session.scalar(select(func.count()).select_from(NotificationRow)) or 0

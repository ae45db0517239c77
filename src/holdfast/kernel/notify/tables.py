"""Messages to people and programs, and the named queries on them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, Text, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


class MessageState(StrEnum):
    """How far a message is; the last two are final."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given up"
    """Somebody was not told."""


class NotificationRow(Base, kw_only=True):
    """A message; ended ones are kept for a while."""

    __tablename__ = "notification"
    __table_args__ = (Index("ix_notification_state_due_at", "state", "due_at"),)

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
    due_at: Mapped[datetime]
    """When it is tried next, unless who tries it now ends with it before."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(default=MessageState.WAITING)
    kinds: Mapped[str] = mapped_column(default="")
    """By what it goes, as ``mail, ntfy``: all that is ever told of addresses."""
    problem: Mapped[str] = mapped_column(Text, default="")
    """Why somebody was not told, or is not yet."""
    given_up: Mapped[str] = mapped_column(Text, default="")
    """A sealed JSON list: who was not told."""
    ended_at: Mapped[datetime | None] = mapped_column(default=None, index=True)


_WAITS = NotificationRow.state == MessageState.WAITING


async def is_one_due(session: AsyncSession, moment: datetime) -> bool:
    """Whether a message is to be tried."""
    due = select(NotificationRow.id).where(_WAITS, NotificationRow.due_at <= moment).limit(1)
    return await session.scalar(due) is not None


async def claim(session: AsyncSession, moment: datetime, until: datetime) -> NotificationRow | None:
    """The message that has waited longest, one attempt more, and nobody else's until then."""
    due = NotificationRow.due_at <= moment
    first = select(NotificationRow.id).where(_WAITS, due).order_by(NotificationRow.due_at).limit(1)
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
    waiting = select(func.count()).select_from(NotificationRow).where(_WAITS)
    return await session.scalar(waiting) or 0


async def message_page(
    session: AsyncSession,
    *,
    limit: int,
    offset: int,
    state: str = "",
    words: str = "",
    oldest_first: bool = False,
) -> tuple[Sequence[NotificationRow], int]:
    """Messages, newest first, and how many in all.

    ``words``: in the subject or the problem, or the job's id.
    """
    query = select(NotificationRow)
    if state:
        query = query.where(NotificationRow.state == state)
    if words:
        looked_in = (NotificationRow.subject, NotificationRow.problem)
        found = (c.icontains(words, autoescape=True) for c in looked_in)
        query = query.where(or_(*found, NotificationRow.job_id == words))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (NotificationRow.created_at, NotificationRow.id)
    by = order if oldest_first else tuple(column.desc() for column in order)
    return (await session.scalars(query.order_by(*by).limit(limit).offset(offset))).all(), total


async def forget_ended(session: AsyncSession, moment: datetime) -> None:
    """Delete messages that ended before ``moment``."""
    await session.execute(delete(NotificationRow).where(NotificationRow.ended_at < moment))

"""What happened, as rows: written in the transaction that made it happen, read by id, in order."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, event, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, Mapper, mapped_column

from holdfast.kernel.db import Base, Database
from holdfast.kernel.work import SYSTEM

EVENTS_LOCK = 4_826_170_113
"""Key of the advisory lock; any number that nobody else uses."""
CHANNEL = "holdfast_events"
"""Where PostgreSQL tells, at the commit, that there are new events."""


class EventRow(Base, kw_only=True):
    """One event of a ``topic`` such as ``job`` or ``gateway``; ``data`` is a JSON text."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    topic: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str]
    data: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(index=True)


@event.listens_for(EventRow, "before_insert")
def _in_order_of_commit(_: Mapper[EventRow], connection: Connection, __: EventRow) -> None:
    """Ids must become visible in their order, or who reads by id misses the late ones.

    PostgreSQL gives them out before the commit, so writers of events take turns until they commit.
    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        lock = f"SELECT pg_advisory_xact_lock({EVENTS_LOCK}), pg_notify('{CHANNEL}', '')"
        connection.execute(text(lock))


async def events_after(
    session: AsyncSession, last_id: int, *, topics: Sequence[str] = (), limit: int = 500
) -> Sequence[EventRow]:
    """The next events of these topics (all, when none is named) after ``last_id``, oldest first."""
    query = select(EventRow).where(EventRow.id > last_id).order_by(EventRow.id).limit(limit)
    if topics:
        query = query.where(EventRow.topic.in_(topics))
    return (await session.scalars(query)).all()


async def newest_event_id(session: AsyncSession) -> int:
    """The id of the newest event, 0 when there is none."""
    return await session.scalar(select(func.max(EventRow.id))) or 0


async def oldest_event_id(session: AsyncSession) -> int:
    """The id of the oldest event still kept, 0 when there is none."""
    return await session.scalar(select(func.min(EventRow.id))) or 0


async def forget_old_events(database: Database, moment: datetime, keep_days: int) -> None:
    """Delete events older than ``keep_days`` before ``moment``."""
    oldest = moment - timedelta(days=keep_days)
    async with database.write(SYSTEM) as work:
        await work.session.execute(delete(EventRow).where(EventRow.created_at < oldest))

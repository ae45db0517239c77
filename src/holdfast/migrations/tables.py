"""Rows of migrations, and the named queries on them.

``options``, ``holds`` and ``vhosts`` are JSON.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Text, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.kernel.events import EventRow
from holdfast.kernel.sorting import Sorts, order_by
from holdfast.migrations.model import ACTIVE_PHASES, Phase


class MigrationRow(Base, kw_only=True):
    """One move of one bucket. ``phase`` is the wire's word, ``stage`` the protocol's."""

    __tablename__ = "migration"
    __table_args__ = (Index("ix_migration_bucket_phase", "bucket", "phase"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    vhost_id: Mapped[int | None] = mapped_column(ForeignKey("vhost.id", ondelete="SET NULL"))
    bucket: Mapped[str]
    src_pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id", ondelete="CASCADE"), index=True)
    dst_pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id", ondelete="CASCADE"), index=True)
    mode: Mapped[str] = mapped_column(default="copy")
    phase: Mapped[str] = mapped_column(default="pending", index=True)
    stage: Mapped[str] = mapped_column(default="idle")
    vhosts: Mapped[str] = mapped_column(Text, default="[]")
    options: Mapped[str] = mapped_column(Text, default="{}")
    objects_total: Mapped[int] = mapped_column(BigInteger, default=0)
    objects_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_total: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    dirty_keys: Mapped[int] = mapped_column(default=0)
    holds: Mapped[str] = mapped_column(Text, default="[]")
    error_msg: Mapped[str | None] = mapped_column(Text, default=None)
    cascade_warnings: Mapped[str | None] = mapped_column(Text, default=None)
    job_id: Mapped[str | None] = mapped_column(default=None, index=True)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None] = mapped_column(default=None)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    orphaned_source_pool_id: Mapped[int | None] = mapped_column(default=None)
    """Where a copy was left that it did not make live: on the source, or, when it did not get as
    far as the switch, on the destination."""
    orphaned_source_prefix: Mapped[str | None] = mapped_column(default=None)
    orphaned_at: Mapped[datetime | None] = mapped_column(default=None)


class MigrationLogRow(Base, kw_only=True):
    """One line of a migration's log."""

    __tablename__ = "migration_log"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    migration_id: Mapped[int] = mapped_column(
        ForeignKey("migration.id", ondelete="CASCADE"), index=True
    )
    phase: Mapped[str]
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


MIGRATION_SORTS: Sorts = {
    "created": MigrationRow.id.expression,
    "bucket": MigrationRow.bucket.expression,
    "phase": MigrationRow.phase.expression,
    "size": MigrationRow.bytes_total.expression,
    "started": func.coalesce(MigrationRow.started_at, MigrationRow.created_at),
    "finished": func.coalesce(MigrationRow.finished_at, MigrationRow.created_at),
}


async def highest_number(session: AsyncSession) -> int:
    """The newest migration's; 0: there is none."""
    return await session.scalar(select(func.max(MigrationRow.id))) or 0


async def advance_numbers(session: AsyncSession) -> None:
    """PostgreSQL's own counter does not see numbers that were given."""
    highest = await highest_number(session)
    if highest and session.get_bind().dialect.name == "postgresql":
        query = text("SELECT setval(pg_get_serial_sequence('migration', 'id'), :highest)")
        await session.execute(query.bindparams(highest=highest))


async def migration_page(
    session: AsyncSession,
    *,
    phase: str | None,
    limit: int,
    offset: int,
    words: str = "",
    sort: str = "-created",
) -> tuple[Sequence[MigrationRow], int]:
    """Migrations, newest first, and how many there are in all; ``words``: in the bucket's name.

    Raises ``Invalid`` for another ``sort`` than one of `MIGRATION_SORTS`, or one with a dash.
    """
    query = select(MigrationRow)
    if words:
        query = query.where(MigrationRow.bucket.icontains(words, autoescape=True))
    if phase:
        query = query.where(MigrationRow.phase == phase)
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (order_by(MIGRATION_SORTS, sort), MigrationRow.id.desc())
    page = query.order_by(*order).limit(limit).offset(offset)
    return (await session.scalars(page)).all(), total


async def phase_times(session: AsyncSession, migration_id: int) -> dict[Phase, datetime]:
    """When each phase began for the first time."""
    query = (
        select(MigrationLogRow.phase, func.min(MigrationLogRow.created_at))
        .where(MigrationLogRow.migration_id == migration_id)
        .group_by(MigrationLogRow.phase)
    )
    return {Phase(phase): moment for phase, moment in await session.execute(query)}


async def phase_counts(session: AsyncSession) -> dict[Phase, int]:
    """How many migrations there are in each phase that any is in."""
    query = select(MigrationRow.phase, func.count()).group_by(MigrationRow.phase)
    return {Phase(phase): count for phase, count in await session.execute(query)}


async def active_migrations(session: AsyncSession) -> Sequence[MigrationRow]:
    """Those that have not ended, oldest first."""
    query = select(MigrationRow).where(MigrationRow.phase.in_(ACTIVE_PHASES))
    return (await session.scalars(query.order_by(MigrationRow.id))).all()


async def active_with_pool(session: AsyncSession, pool_id: int) -> Sequence[MigrationRow]:
    """Unfinished migrations from or to a pool."""
    query = select(MigrationRow).where(
        MigrationRow.phase.in_(ACTIVE_PHASES),
        or_(MigrationRow.src_pool_id == pool_id, MigrationRow.dst_pool_id == pool_id),
    )
    return (await session.scalars(query.order_by(MigrationRow.id))).all()


async def active_of_bucket(session: AsyncSession, bucket: str) -> Sequence[MigrationRow]:
    """Unfinished migrations of buckets of this name."""
    query = select(MigrationRow).where(
        MigrationRow.bucket == bucket, MigrationRow.phase.in_(ACTIVE_PHASES)
    )
    return (await session.scalars(query)).all()


async def moves_of_bucket(
    session: AsyncSession, bucket: str, *, limit: int
) -> Sequence[MigrationRow]:
    """The newest migrations of buckets of this name, newest first."""
    query = select(MigrationRow).where(MigrationRow.bucket == bucket)
    return (await session.scalars(query.order_by(MigrationRow.id.desc()).limit(limit))).all()


async def moves_touching(
    session: AsyncSession, bucket: str, pool_id: int
) -> Sequence[MigrationRow]:
    """Migrations of buckets of this name from or to a pool, newest first."""
    query = select(MigrationRow).where(
        MigrationRow.bucket == bucket,
        or_(MigrationRow.src_pool_id == pool_id, MigrationRow.dst_pool_id == pool_id),
    )
    return (await session.scalars(query.order_by(MigrationRow.id.desc()))).all()


async def ended_with_leftovers(session: AsyncSession) -> Sequence[MigrationRow]:
    """Ended migrations that left a copy which was not purged, newest first."""
    query = select(MigrationRow).where(MigrationRow.orphaned_source_pool_id.is_not(None))
    return (await session.scalars(query.order_by(MigrationRow.id.desc()))).all()


async def forget_leftovers(session: AsyncSession, bucket: str, pool_id: int) -> None:
    """Whichever migrations left this copy: it is gone."""
    query = update(MigrationRow).where(
        MigrationRow.bucket == bucket, MigrationRow.orphaned_source_pool_id == pool_id
    )
    await session.execute(
        query.values(orphaned_source_pool_id=None, orphaned_source_prefix=None, orphaned_at=None)
    )


async def log_lines(
    session: AsyncSession, migration_id: int, *, limit: int
) -> Sequence[MigrationLogRow]:
    """The newest lines of a migration's log, newest first."""
    query = select(MigrationLogRow).where(MigrationLogRow.migration_id == migration_id)
    return (await session.scalars(query.order_by(MigrationLogRow.id.desc()).limit(limit))).all()


async def progress_told(
    session: AsyncSession, row: MigrationRow, *, most: int
) -> Sequence[tuple[datetime, str]]:
    """When progress of a migration was told, and the events' data, oldest first.

    Those of a long one are thinned out to about ``most``.
    """
    if row.started_at is None:
        return ()
    where = [
        EventRow.topic == "migration",
        EventRow.kind == "progress",
        EventRow.created_at >= row.started_at,
        EventRow.data.startswith(f'{{"id": {row.id},'),
    ]
    if row.finished_at is not None:
        where.append(EventRow.created_at <= row.finished_at)
    count = await session.scalar(select(func.count()).select_from(EventRow).where(*where)) or 0
    thin = EventRow.id % max(1, count // most) == 0
    query = select(EventRow.created_at, EventRow.data).where(*where, thin).order_by(EventRow.id)
    return [(moment, data) for moment, data in await session.execute(query)]


async def newest_progress(session: AsyncSession, after: datetime) -> Sequence[str]:
    """The data of what all migrations told of their progress since then, oldest first."""
    query = select(EventRow.data).where(
        EventRow.topic == "migration", EventRow.kind == "progress", EventRow.created_at >= after
    )
    return (await session.scalars(query.order_by(EventRow.id))).all()

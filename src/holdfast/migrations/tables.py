"""Rows of migrations, and the named queries on them. ``options``, ``holds`` and ``vhosts`` are JSON texts."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


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

"""Rows of tiers, and the named queries on them. Paths are bytes, relative to the tier's root."""

import hashlib
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.tiers.model import Tier, TierOptions

KEY_BYTES = 512
"""PostgreSQL indexes no long path (2,704 bytes), but its beginning."""
_OPEN = text("ended_at IS NULL")
_KEY = text(f"substr(path, 1, {KEY_BYTES})")
_COUNTED = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts nothing else by itself


def _open_index(column: str) -> Index:
    """Of the files that are on their way out: few, however many have left."""
    name = f"ix_tier_file_open_{column}"
    return Index(name, "tier_id", column, sqlite_where=_OPEN, postgresql_where=_OPEN)


class TierRow(Base, kw_only=True):
    """A local tree, and the store that has all of it. ``options``: JSON of ``TierOptions``."""

    __tablename__ = "tier"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    root: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """Absolute and without symlinks."""
    mounted_at: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    store_id: Mapped[int] = mapped_column(ForeignKey("store.id"), index=True)
    prefix: Mapped[str] = mapped_column(default="")
    second_store_id: Mapped[int | None] = mapped_column(
        ForeignKey("store.id"), index=True, default=None
    )
    second_prefix: Mapped[str] = mapped_column(default="")
    options: Mapped[str] = mapped_column(Text, default="{}")
    description: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    def tier(self) -> Tier:
        """As jobs and plans take it."""
        return Tier(
            id=self.id,
            name=self.name,
            root=self.root,
            mounted_at=self.mounted_at,
            store_id=self.store_id,
            prefix=self.prefix,
            second_store_id=self.second_store_id,
            second_prefix=self.second_prefix,
            options=TierOptions.from_json(self.options),
        )


class TierRunRow(Base, kw_only=True):
    """What was asked of a tier: one row a job. ``asked`` and ``outcome`` are JSON."""

    __tablename__ = "tier_run"
    __table_args__ = (
        Index("ix_tier_run_newest", "tier_id", "action", "dry_run", "created_at"),
        Index("ix_tier_run_tier_id_created_at", "tier_id", "created_at"),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    tier_id: Mapped[int] = mapped_column(ForeignKey("tier.id", ondelete="CASCADE"))
    action: Mapped[str]
    asked: Mapped[str] = mapped_column(Text)
    """Paths (in the text form of ``names.py``), dry run, who is told: what makes two runs equal."""
    dry_run: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The same as ``asked`` has it: for an index."""
    outcome: Mapped[str] = mapped_column(Text, default="{}")
    """Counts and bytes, by reason; empty until it ended."""
    notify: Mapped[str] = mapped_column(Text, default="[]")
    """Sealed addresses to tell at the end."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None] = mapped_column(default=None)


class TierFileRow(Base, kw_only=True):
    """The journal: one file on its way out; open as long as it has no ``ended_at``."""

    __tablename__ = "tier_file"
    __table_args__ = (
        Index("ix_tier_file_tier_id_state_id", "tier_id", "state", "id", "size_bytes"),
        _open_index("due_at"),
        _open_index("inode"),
        Index("ix_tier_file_job_id_state_id", "job_id", "state", "id"),
        Index("ix_tier_file_tier_id_path", "tier_id", "path").ddl_if("sqlite"),
        Index("ix_tier_file_key", "tier_id", _KEY).ddl_if("postgresql"),
    )

    id: Mapped[int] = mapped_column(_COUNTED, primary_key=True, init=False)
    tier_id: Mapped[int] = mapped_column(ForeignKey("tier.id", ondelete="CASCADE"))
    job_id: Mapped[str]
    path: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    device: Mapped[int] = mapped_column(BigInteger)
    inode: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    ctime_ns: Mapped[int] = mapped_column(BigInteger, default=0)
    """As it was in quarantine right after the move; 0 before."""
    held_by: Mapped[str | None] = mapped_column(default=None)
    """The job that is moving it just now."""
    proof: Mapped[str] = mapped_column(Text)
    """JSON: what proved it, a store each: kind, hash, the store's own version mark."""
    moved_at: Mapped[datetime | None] = mapped_column(default=None)
    due_at: Mapped[datetime | None] = mapped_column(default=None)
    """When the undo window ends."""
    ended_at: Mapped[datetime | None] = mapped_column(default=None)


class TierTotalRow(Base, kw_only=True):
    """How many files of a tier's journal have ended so, also those whose rows are forgotten."""

    __tablename__ = "tier_total"

    tier_id: Mapped[int] = mapped_column(
        ForeignKey("tier.id", ondelete="CASCADE"), primary_key=True
    )
    state: Mapped[str] = mapped_column(primary_key=True)
    files: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class TierProofRow(Base, kw_only=True):
    """The hash of one local file's content, as long as the file is as it was then."""

    __tablename__ = "tier_proof"

    tier_id: Mapped[int] = mapped_column(
        ForeignKey("tier.id", ondelete="CASCADE"), primary_key=True
    )
    device: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    inode: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    """A hash kind, or ``compared`` with the store's version mark as digest."""
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    ctime_ns: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[str]
    used_day: Mapped[int] = mapped_column(index=True)
    """When it was last of use, give or take some weeks; in days since 1970."""


class TierPulledRow(Base, kw_only=True):
    """A file that a pull fetched, and when."""

    __tablename__ = "tier_pulled"

    tier_id: Mapped[int] = mapped_column(
        ForeignKey("tier.id", ondelete="CASCADE"), primary_key=True
    )
    path_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    """`key_of` the path: PostgreSQL indexes no more than 2,704 bytes, and a path may have 4,095."""
    path: Mapped[bytes] = mapped_column(LargeBinary)
    pulled_at: Mapped[datetime] = mapped_column(index=True)


def key_of(path: bytes) -> bytes:
    """What a long path is found by: its SHA-256."""
    return hashlib.sha256(path).digest()

"""Stores, and tiers: trees of which only what is read stays."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "store",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("secrets_enc", sa.Text(), nullable=False),
        sa.Column("host_keys", sa.Text(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("reachable", sa.Boolean(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_told", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_store")),
        sa.UniqueConstraint("name", name=op.f("uq_store_name")),
    )
    op.create_index(op.f("ix_store_kind"), "store", ["kind"])
    op.create_table(
        "tier",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("store_id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.String(), nullable=False),
        sa.Column("second_store_id", sa.Integer(), nullable=True),
        sa.Column("second_prefix", sa.String(), nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["store_id"], ["store.id"], name=op.f("fk_tier_store_id")),
        sa.ForeignKeyConstraint(
            ["second_store_id"], ["store.id"], name=op.f("fk_tier_second_store_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tier")),
        sa.UniqueConstraint("name", name=op.f("uq_tier_name")),
        sa.UniqueConstraint("root", name=op.f("uq_tier_root")),
    )
    op.create_index(op.f("ix_tier_store_id"), "tier", ["store_id"])
    op.create_index(op.f("ix_tier_second_store_id"), "tier", ["second_store_id"])
    _runs_and_files()
    _proofs_and_pulls()
    _notifications()


def _runs_and_files() -> None:
    op.create_table(
        "tier_run",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("notify", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        _of_tier("tier_run"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_tier_run")),
    )
    op.create_index("ix_tier_run_tier_id_action", "tier_run", ["tier_id", "action"])
    counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "tier_file",
        sa.Column("id", counted, nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("size_bytes", "device", "inode", "mtime_ns", "ctime_ns")
        ),
        sa.Column("held_by", sa.String(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        _of_tier("tier_file"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tier_file")),
    )
    op.create_index("ix_tier_file_tier_id_state", "tier_file", ["tier_id", "state"])
    op.create_index("ix_tier_file_job_id_state", "tier_file", ["job_id", "state"])
    op.create_index(op.f("ix_tier_file_due_at"), "tier_file", ["due_at"])
    op.create_index("ix_tier_file_path", "tier_file", ["path"], postgresql_using="hash")


def _proofs_and_pulls() -> None:
    op.create_table(
        "tier_proof",
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("device", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("size_bytes", "mtime_ns", "ctime_ns")
        ),
        sa.Column("digest", sa.String(), nullable=False),
        _of_tier("tier_proof"),
        sa.PrimaryKeyConstraint("tier_id", "device", "inode", "kind", name=op.f("pk_tier_proof")),
    )
    op.create_table(
        "tier_pulled",
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("pulled_at", sa.DateTime(timezone=True), nullable=False),
        _of_tier("tier_pulled"),
        sa.PrimaryKeyConstraint("tier_id", "path", name=op.f("pk_tier_pulled")),
    )
    op.create_index(op.f("ix_tier_pulled_pulled_at"), "tier_pulled", ["pulled_at"])


def _notifications() -> None:
    op.create_table(
        "notification",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("addresses", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("page", sa.String(), nullable=False),
        sa.Column("bad", sa.Boolean(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notification")),
    )
    op.create_index(op.f("ix_notification_due_at"), "notification", ["due_at"])


def _of_tier(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_tier_id")
    return sa.ForeignKeyConstraint(["tier_id"], ["tier.id"], name=name, ondelete="CASCADE")


def downgrade() -> None:
    """Drop them. What waits in a quarantine folder is to be moved back first."""
    op.drop_table("notification")
    for table in ("tier_pulled", "tier_proof", "tier_file", "tier_run", "tier", "store"):
        op.drop_table(table)

"""What is asked of a long journal every minute is found by an index, or counted beforehand."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Make the indexes and the totals; forget what can neither come back nor is looked for."""
    op.execute(
        "DELETE FROM tier_file WHERE state IN ('stayed', 'restored')"
        " AND NOT EXISTS (SELECT 1 FROM tier_run WHERE tier_run.job_id = tier_file.job_id)"
    )
    op.drop_index("ix_tier_file_due_at", "tier_file")
    op.drop_index("ix_tier_file_tier_id_state", "tier_file")
    op.drop_index("ix_tier_file_job_id_state", "tier_file")
    op.create_index("ix_tier_file_job_id_state_id", "tier_file", ["job_id", "state", "id"])
    order = ["tier_id", "state", "id", "size_bytes"]
    op.create_index("ix_tier_file_tier_id_state_id", "tier_file", order)
    for name in ("due_at", "inode"):
        index, columns = f"ix_tier_file_open_{name}", ["tier_id", name]
        op.create_index(index, "tier_file", columns, sqlite_where=OPEN, postgresql_where=OPEN)
    _totals()
    op.add_column(
        "tier_run", sa.Column("dry_run", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.execute("UPDATE tier_run SET dry_run = TRUE WHERE asked LIKE '%\"dry_run\": true%'")
    op.drop_index("ix_tier_run_tier_id_action", "tier_run")
    newest = ["tier_id", "action", "dry_run", "created_at"]
    op.create_index("ix_tier_run_newest", "tier_run", newest)
    op.create_index("ix_tier_run_tier_id_created_at", "tier_run", ["tier_id", "created_at"])
    op.create_index("ix_tier_run_created_at", "tier_run", ["created_at"])


def _totals() -> None:
    op.create_table(
        "tier_total",
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tier_id"], ["tier.id"], name=op.f("fk_tier_total_tier_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tier_id", "state", name=op.f("pk_tier_total")),
    )
    op.execute(
        "INSERT INTO tier_total (tier_id, state, files, size_bytes)"
        " SELECT tier_id, state, count(*), sum(size_bytes) FROM tier_file"
        " WHERE ended_at IS NOT NULL GROUP BY tier_id, state"
    )


def downgrade() -> None:
    """Bring the former indexes back; what was forgotten stays forgotten."""
    for index in ("newest", "tier_id_created_at", "created_at"):
        op.drop_index(f"ix_tier_run_{index}", "tier_run")
    op.drop_column("tier_run", "dry_run")
    op.create_index("ix_tier_run_tier_id_action", "tier_run", ["tier_id", "action"])
    op.drop_table("tier_total")
    for index in ("tier_id_state_id", "job_id_state_id", "open_due_at", "open_inode"):
        op.drop_index(f"ix_tier_file_{index}", "tier_file")
    op.create_index("ix_tier_file_tier_id_state", "tier_file", ["tier_id", "state"])
    op.create_index("ix_tier_file_job_id_state", "tier_file", ["job_id", "state"])
    op.create_index("ix_tier_file_due_at", "tier_file", ["due_at"])

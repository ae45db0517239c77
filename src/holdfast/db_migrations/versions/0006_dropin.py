"""What clients of older tools took off their lists."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "dropin_removed_task",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["tier_run.job_id"],
            name=op.f("fk_dropin_removed_task_job_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_dropin_removed_task")),
    )


def downgrade() -> None:
    """Drop it: those clients are shown all of it again."""
    op.drop_table("dropin_removed_task")

"""What is known of files is forgotten when it was of no use for long."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
DAY_SECONDS = 86_400


def upgrade() -> None:
    """Add the day; what is there begins its time today."""
    today = str(int(time.time()) // DAY_SECONDS)
    day = sa.Column("used_day", sa.Integer(), nullable=False, server_default=sa.text(today))
    op.add_column("tier_proof", day)
    op.create_index("ix_tier_proof_used_day", "tier_proof", ["used_day"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ANALYZE tier_file")  # of the index of 0012 nothing is known yet


def downgrade() -> None:
    """Drop the day."""
    op.drop_index("ix_tier_proof_used_day", "tier_proof")
    op.drop_column("tier_proof", "used_day")

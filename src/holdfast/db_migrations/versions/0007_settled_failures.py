"""Failed jobs wait on the overview until they are settled."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; what failed before was seen."""
    op.add_column("job", sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE job SET settled_at = finished_at WHERE state = 'failed'")


def downgrade() -> None:
    """Drop it."""
    op.drop_column("job", "settled_at")

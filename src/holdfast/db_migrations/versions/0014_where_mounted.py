"""A tier knows where its file system is mounted."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the folder; empty until the tier is used."""
    empty = "x''" if op.get_bind().dialect.name == "sqlite" else "''"
    folder = sa.Column(
        "mounted_at", sa.LargeBinary(), nullable=False, server_default=sa.text(empty)
    )
    op.add_column("tier", folder)


def downgrade() -> None:
    """Drop it."""
    op.drop_column("tier", "mounted_at")

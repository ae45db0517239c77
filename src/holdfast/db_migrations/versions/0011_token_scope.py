"""Tokens may be bound to areas of the API."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column; what is there opens everything, as before."""
    op.add_column("token", sa.Column("scope", sa.String(), nullable=False, server_default=""))


def downgrade() -> None:
    """Revoke what would open everything then, and drop the column."""
    op.execute("UPDATE token SET revoked_at = created_at WHERE scope <> '' AND revoked_at IS NULL")
    op.drop_column("token", "scope")

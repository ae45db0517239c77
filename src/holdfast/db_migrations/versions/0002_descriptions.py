"""Members, vhosts and routes have a description, as pools do."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("pool_member", "vhost", "route")


def upgrade() -> None:
    """Add the columns."""
    for table in TABLES:
        op.add_column(table, sa.Column("description", sa.String(), nullable=True))


def downgrade() -> None:
    """Take them away, with what they hold."""
    for table in TABLES:
        op.drop_column(table, "description")

"""What a freeze took from a folder is found by where it was."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Find the journal's rows by tier and path: PostgreSQL indexes the path's beginning."""
    op.drop_index("ix_tier_file_path", "tier_file")
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("ix_tier_file_tier_id_path", "tier_file", ["tier_id", "path"])
    else:
        key = sa.text("substr(path, 1, 512)")
        op.create_index("ix_tier_file_key", "tier_file", ["tier_id", key])


def downgrade() -> None:
    """Find them by path alone again."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    op.drop_index("ix_tier_file_tier_id_path" if is_sqlite else "ix_tier_file_key", "tier_file")
    op.create_index("ix_tier_file_path", "tier_file", ["path"], postgresql_using="hash")

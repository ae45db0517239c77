"""Pulled files are found by the hash of their path: PostgreSQL indexes no long path as it is."""

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
BLOCK_ROWS = 1000


def upgrade() -> None:
    """Make the table anew, with all that was in it."""
    op.execute("CREATE TEMPORARY TABLE pulled_before AS SELECT * FROM tier_pulled")
    op.drop_table("tier_pulled")
    _create(sa.Column("path_hash", sa.LargeBinary(), nullable=False), key="path_hash")
    if op.get_bind().dialect.name == "sqlite":
        _copy_by_block()
    else:
        op.execute(
            "INSERT INTO tier_pulled (tier_id, path_hash, path, pulled_at)"
            " SELECT tier_id, sha256(path), path, pulled_at FROM pulled_before"
        )
    op.execute("DROP TABLE pulled_before")


def _copy_by_block() -> None:
    """SQLite knows no hash."""
    connection = op.get_bind()
    read = sa.text(
        "SELECT rowid AS number, tier_id, path, pulled_at FROM pulled_before"
        " WHERE rowid > :after ORDER BY rowid LIMIT :rows"
    )
    write = sa.text("INSERT INTO tier_pulled VALUES (:tier_id, :path_hash, :path, :pulled_at)")
    after = 0
    while rows := connection.execute(read, {"after": after, "rows": BLOCK_ROWS}).mappings().all():
        after = rows[-1]["number"]
        hashes = [hashlib.sha256(row["path"]).digest() for row in rows]
        given = [{**row, "path_hash": one} for row, one in zip(rows, hashes, strict=True)]
        connection.execute(write, given)


def _create(*columns: "sa.Column[bytes]", key: str) -> None:
    op.create_table(
        "tier_pulled",
        sa.Column("tier_id", sa.Integer(), nullable=False),
        *columns,
        sa.Column("path", sa.LargeBinary(), nullable=False),
        sa.Column("pulled_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tier_id"], ["tier.id"], name=op.f("fk_tier_pulled_tier_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tier_id", key, name=op.f("pk_tier_pulled")),
    )
    op.create_index(op.f("ix_tier_pulled_pulled_at"), "tier_pulled", ["pulled_at"])


def downgrade() -> None:
    """Find them by their paths again; what was pulled lately loses its grace."""
    op.drop_table("tier_pulled")
    _create(key="path")

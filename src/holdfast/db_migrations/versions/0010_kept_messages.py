"""Messages are kept after their end, with what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
TEXTS = {"state": "waiting", "kinds": "", "problem": "", "given_up": ""}


def upgrade() -> None:
    """Add the columns: what is there waits."""
    for name, usual in TEXTS.items():
        kind = sa.Text() if name in {"problem", "given_up"} else sa.String()
        column = sa.Column(name, kind, nullable=False, server_default=usual)
        op.add_column("notification", column)
    op.add_column("notification", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_index(op.f("ix_notification_due_at"), "notification")
    op.create_index("ix_notification_state_due_at", "notification", ["state", "due_at"])
    for name in ("created_at", "ended_at"):
        op.create_index(op.f(f"ix_notification_{name}"), "notification", [name])


def downgrade() -> None:
    """Keep those that wait."""
    op.execute("DELETE FROM notification WHERE state <> 'waiting'")
    for name in ("created_at", "ended_at", "state_due_at"):
        op.drop_index(op.f(f"ix_notification_{name}"), "notification")
    op.create_index(op.f("ix_notification_due_at"), "notification", ["due_at"])
    for name in (*TEXTS, "ended_at"):
        op.drop_column("notification", name)

"""Commands of live migrations."""

from collections.abc import Sequence

import typer

from holdfast.commands.verbs import DRY_RUN, Field, Verb, noun

COLUMNS = ("id", "bucket", "src_pool_id", "dst_pool_id", "phase", "objects_done", "objects_total")
ORPHANED = Verb(
    name="list",
    path="/api/migrations/orphaned",
    columns=(
        "migration_id",
        "bucket",
        "orphaned_source_pool_id",
        "orphaned_source_prefix",
        "orphaned_at",
    ),
    empty="No orphaned data found.",
    help="List copies that migrations left behind and that nobody serves.",
)
MIGRATIONS = (
    Verb(
        name="list",
        path="/api/migrations",
        columns=COLUMNS,
        fields=(
            Field(name="phase", query=True, help="Only migrations in this phase."),
            Field(name="sort", query=True, help="Like bucket, -size; the newest first."),
            Field(name="limit", kind="number", query=True, help="At most so many."),
        ),
        help="List migrations, newest first.",
    ),
    Verb(name="show", path="/api/migrations/{migration}", help="Show a migration."),
    Verb(
        name="create",
        method="POST",
        path="/api/migrations",
        fields=(
            Field(name="bucket", argument=True, help="The bucket to move."),
            Field(name="src_pool_id", option="from", ref="pool", required=True, help="Its pool."),
            Field(name="dst_pool_id", option="to", ref="pool", required=True, help="The new pool."),
            Field(name="mode", help="copy, or sync: also delete what is only at the new pool."),
            Field(name="verify", help="How both sides are compared at the end: see the reference."),
            Field(name="confirm", help="The bucket's name: the new pool's copy may be replaced."),
            Field(name="waive", kind="texts", help="A check that shall not stop it; repeatable."),
            Field(name="max_hold_seconds", kind="decimal", help="Longest pause of writes."),
            Field(name="probation_seconds", kind="decimal", help="How long the way back is kept."),
            Field(
                name="give_up_after_seconds", kind="decimal", help="When to give up before the end."
            ),
            Field(
                name="upload_idle_seconds",
                kind="decimal",
                help="How long an upload in parts may rest after the switch.",
            ),
            Field(name="bandwidth_limit", help="Bytes a second for its copies, like 50M."),
            Field(name="transfers", kind="number", help="Objects copied at once."),
            Field(
                name="checkers", kind="number", help="Objects that --verify hash compares at once."
            ),
            DRY_RUN,
        ),
        follow="migration",
        help="Move a bucket to another pool, live; --dry-run prints the plan.",
    ),
    Verb(
        name="log",
        path="/api/migrations/{migration}/log",
        columns=("created_at", "phase", "message"),
        fields=(Field(name="limit", kind="number", query=True, help="At most so many lines."),),
        help="Show what a migration did, newest first.",
    ),
    Verb(
        name="cancel",
        method="POST",
        path="/api/migrations/{migration}/cancel",
        help="Give a migration up; the source goes on serving.",
    ),
    Verb(
        name="stale",
        path="/api/migrations/stale",
        columns=("migration_id", "bucket", "phase", "reason", "created_at"),
        help="List migrations that cannot go on as they are.",
    ),
    Verb(
        name="orphaned",
        path=ORPHANED.path,
        columns=ORPHANED.columns,
        empty=ORPHANED.empty,
        help=ORPHANED.help,
    ),
    Verb(
        name="source-buckets",
        path="/api/migrations/source-buckets",
        fields=(
            Field(
                name="pool_id", option="pool", ref="pool", required=True, query=True, help="Where."
            ),
        ),
        rows="buckets",
        help="List the buckets that can be moved away from a pool.",
    ),
    Verb(
        name="purge-source",
        method="POST",
        path="/api/migrations/{migration}/purge-source",
        fields=(
            Field(name="confirm", required=True, help="The bucket's name, typed once more."),
            DRY_RUN,
        ),
        help="Delete what a finished migration left on its source pool.",
    ),
)


def nouns() -> Sequence[typer.Typer]:
    """The nouns of this slice."""
    return (
        noun("migration", "Move a bucket to another pool while it is in use.", MIGRATIONS),
        noun("orphaned", "What migrations left behind.", (ORPHANED,)),
    )

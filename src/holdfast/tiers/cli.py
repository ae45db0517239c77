"""Commands of tiers."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import typer

from holdfast.commands.verbs import DRY_RUN, Field, Verb, noun
from holdfast.tiers.drawing import run_text, tree_text
from holdfast.tiers.model import UNLIKE, Skip
from holdfast.tiers.names import to_text


def absolute(argument: str) -> str:
    """A path on the command line, from where the command runs, in the text form of the API."""
    path = os.path.abspath(os.fsencode(argument))  # noqa: PTH100 - bytes, and symlinks stay
    return to_text(path)


PATHS = Field(
    name="paths",
    kind="texts",
    argument=True,
    read=absolute,
    help="Files and folders of one tier.",
)
PATH = Field(
    name="path", argument=True, query=True, read=absolute, help="A file or folder of a tier."
)
ROOT = Field(name="path", argument=True, read=absolute, help="The folder that it keeps small.")
IN_RUN = Field(
    name="dry_run", kind="flag", help="Tell what would be done, and why not, and do nothing."
)
NOTIFY = Field(
    name="notify", kind="texts", help="An address to tell when it has ended; repeatable."
)
DEPTH = Field(name="depth", kind="number", query=True, help="So many folders deep; 0: all.")
OPTIONS = (
    Field(name="description", help="What it is for."),
    Field(
        name="second_store_id",
        may_be_none=True,
        option="second-store",
        ref="store",
        help="Another store that must have the same bytes before a file leaves, or none.",
    ),
    Field(name="second_prefix", help="Where the tree begins in that store."),
    Field(
        name="filters",
        option="filter",
        kind="texts",
        help="A filter rule of rclone, like '- *.tmp'; repeatable, in order. '' takes all away.",
    ),
    Field(name="freezable", kind="flag", help="Whether files may leave."),
    Field(name="age_days", kind="number", help="How long unread before a file may leave."),
    Field(name="min_size_bytes", kind="number", help="Smaller files stay."),
    Field(name="rules", kind="json", help="Rules for paths, as JSON or @file: see the reference."),
    Field(name="uid", may_be_none=True, kind="number", help="Owner of what is pulled, or none."),
    Field(name="gid", may_be_none=True, kind="number", help="Group of what is pulled, or none."),
    Field(name="bandwidth", help="Bytes a second of a pull, like 50M."),
    Field(name="grace_hours", kind="decimal", help="How long what was pulled stays."),
    Field(name="undo_hours", kind="decimal", help="How long a freeze can be undone."),
    Field(name="proof", help="hash, or compare: read what has no hash on the store."),
    Field(name="max_files_percent", kind="decimal", help="Largest share of files in one freeze."),
    Field(name="max_bytes_percent", kind="decimal", help="Largest share of bytes in one freeze."),
    Field(
        name="allow_noatime", kind="flag", help="Freeze where the disk keeps no times of reading."
    ),
    Field(
        name="space_high_percent",
        may_be_none=True,
        kind="decimal",
        help="Freeze the oldest by itself when the disk is so full (none: never) ...",
    ),
    Field(
        name="space_low_percent",
        may_be_none=True,
        kind="decimal",
        help="... until it is less full than this, or none.",
    ),
    Field(name="auto_freeze_cron", help="When it is frozen by itself, like '0 3 * * *'."),
    Field(name="auto_freeze_timezone", help="Time zone of that."),
)


def differs(answer: dict[str, Any]) -> bool:
    """Whether a verify that was waited for found something, or nobody can know.

    What is merely not here, is left out, or is in use or changing just now, is nothing.
    """
    found = {*UNLIKE, Skip.FAILED, Skip.NOT_PERMITTED, Skip.NOT_PROVABLE}
    return not found.isdisjoint(answer.get("outcome", {}).get("skipped", ()))


LIMIT = Field(name="limit", kind="number", query=True, help="At most so many, in one call.")
WHOLE_PAGES = 10_000
"""As many as the server gives: for each page it looks at all of it again."""
LS = Verb(
    empty="no file lies right in it; for what lies deeper: --depth 0, or holdfast tier tree",
    name="ls",
    path="/api/tiers/list",
    columns=("path", "bytes", "local", "remote", "frozen", "differing", "missing", "lost"),
    fields=(PATH, DEPTH, LIMIT),
    page_size=WHOLE_PAGES,
    whole="/api/tiers/files",
    help="List a folder: what is here, on the store, frozen, differing, missing, lost.",
)
TIERS = (
    Verb(
        name="list",
        path="/api/tiers",
        columns=("id", "name", "path", "store_id", "prefix", "freezable", "age_days"),
        fields=(
            replace(PATH, optional=True, help="A file or folder of a tier: list that, as ls does."),
            Field(name="search", query=True, help="Only tiers with this in name or description."),
            replace(DEPTH, help="Of a folder: so many folders deep; 0: all."),
            LIMIT,
        ),
        with_argument=LS,
        help="List tiers, or a folder of one.",
    ),
    Verb(name="show", path="/api/tiers/{tier}", help="Show a tier."),
    Verb(
        name="create",
        method="POST",
        path="/api/tiers",
        fields=(
            Field(name="name", argument=True, help="Its name."),
            ROOT,
            Field(
                name="store_id",
                option="store",
                ref="store",
                required=True,
                help="The store that has all of it.",
            ),
            Field(name="prefix", help="Where the tree begins in the store."),
            *OPTIONS,
            DRY_RUN,
        ),
        help="Make a tier of a folder, and of the store that has all of it.",
    ),
    Verb(
        name="update",
        method="PUT",
        path="/api/tiers/{tier}",
        fields=(
            Field(name="name", help="A new name."),
            Field(name="path", read=absolute, help="Another folder."),
            Field(name="store_id", option="store", ref="store", help="Another store."),
            Field(name="prefix", help="Where the tree begins in the store."),
            *OPTIONS,
            DRY_RUN,
        ),
        help="Change a tier; what is not given stays.",
    ),
    Verb(
        name="delete",
        method="DELETE",
        path="/api/tiers/{tier}",
        fields=(DRY_RUN,),
        confirm=True,
        done="deleted; its files and its store are as they were",
        help="Forget a tier; its files and its store stay.",
    ),
    Verb(
        name="pull",
        method="POST",
        path="/api/tiers/pull",
        fields=(PATHS, IN_RUN, NOTIFY),
        follow="run",
        draw=run_text,
        help="Bring files and folders in from their store.",
    ),
    Verb(
        name="freeze",
        method="POST",
        path="/api/tiers/freeze",
        fields=(
            PATHS,
            IN_RUN,
            NOTIFY,
            Field(name="confirm", kind="flag", help="Go on beyond the limits of the tier."),
        ),
        follow="run",
        draw=run_text,
        help="Take unread files out that their store provably has.",
    ),
    Verb(
        name="undo",
        method="POST",
        path="/api/tiers/jobs/{job}/undo",
        fields=(NOTIFY, DRY_RUN),
        follow="run",
        draw=run_text,
        help="Bring back what a freeze took, while its undo window lasts.",
    ),
    LS,
    Verb(
        name="tree",
        path="/api/tiers/tree",
        fields=(PATH, DEPTH),
        draw=tree_text,
        help="Show folders with how many of their files are here, frozen, missing, lost.",
    ),
    Verb(
        name="verify",
        method="POST",
        path="/api/tiers/{tier}/verify",
        fields=(
            Field(
                name="paths",
                option="path",
                kind="texts",
                read=absolute,
                help="Only this file or folder of it; repeatable.",
            ),
            NOTIFY,
            DRY_RUN,
        ),
        follow="run",
        draw=run_text,
        finds=differs,
        help="Compare a tier with its store; changes nothing. Awaited, 3 says that they differ.",
    ),
    Verb(
        name="report",
        method="POST",
        path="/api/tiers/{tier}/report",
        fields=(Field(name="path", read=absolute, help="Only this folder of it."), NOTIFY, DRY_RUN),
        follow="run",
        draw=run_text,
        help="Tell what a tier holds by age, folder and owner, and what freezing would save.",
    ),
    Verb(
        name="runs",
        path="/api/tiers/runs",
        columns=("job_id", "title", "state", "created_at", "ended_at"),
        fields=(
            Field(name="tier", query=True, ref="tier", help="Only of this tier."),
            Field(name="action", query=True, help="Only pull, freeze, undo, verify or report."),
            Field(name="sort", query=True, help="Like action, -ended; the newest first."),
            Field(name="limit", kind="number", query=True, help="At most so many."),
        ),
        help="List what was asked of tiers, newest first.",
    ),
    Verb(name="run", path="/api/tiers/runs/{job}", draw=run_text, help="Show how a run went."),
    Verb(
        name="details",
        path="/api/tiers/runs/{job}/details",
        columns=("path", "bytes", "what", "reason"),
        fields=(Field(name="reason", query=True, help="Only files left for this reason."), LIMIT),
        page_size=WHOLE_PAGES,
        help="List what became of each file of a run.",
    ),
)


def nouns() -> Sequence[typer.Typer]:
    """The nouns of tiers."""
    return [noun("tier", "Folders that keep only what is read; a store has all of it.", TIERS)]

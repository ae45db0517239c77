"""The files that nginx reads: state, test, reload, rebuild, history, import."""

from collections.abc import Iterator
from typing import Any

import typer

from holdfast.commands.verbs import DRY_RUN, RELOAD, Field, Verb, command


def _not_live(status: dict[str, Any]) -> Iterator[str]:
    """What nginx does not run with, and why."""
    if status.get("problem"):
        yield f"warning: {status['problem']}. {status.get('remedy') or ''}".rstrip()
    if status.get("reload_pending"):
        yield "warning: a change waits for a reload: holdfast config reload"
    for difference in status.get("startup_differences") or ():
        yield f"warning: when the server started, database and disk differed: {difference}"


PATH = Field(name="path", argument=True, help="The file, as config status names it.")
FILES = (
    Verb(
        name="status",
        path="/api/config/status",
        rows="files",
        columns=("path", "drifted", "last_synced_at"),
        beside=_not_live,
        finds=lambda answer: any(file["drifted"] for file in answer["files"]),
        offline=True,
        help="List the files for nginx; 3 when one differs from what was written.",
    ),
    Verb(
        name="drift",
        path="/api/config/drift",
        columns=("path", "kind", "diff"),
        finds=bool,
        offline=True,
        help="Show how files differ from what was written; 3 when one does.",
    ),
    Verb(
        name="validate",
        method="POST",
        path="/api/config/validate",
        text="output",
        judged=True,
        offline=True,
        help="Check the settings, and let nginx test its files; 1 when it refuses them.",
    ),
    Verb(
        name="reload",
        method="POST",
        path="/api/config/reload",
        text="output",
        judged=True,
        offline=True,
        help="Make nginx run with the files as they are.",
    ),
    Verb(
        name="rebuild",
        method="POST",
        path="/api/config/rebuild",
        text="output",
        fields=(DRY_RUN,),
        judged=True,
        offline=True,
        help="Write the files for nginx anew from the database.",
    ),
    Verb(
        name="restart",
        method="POST",
        path="/api/config/settings/restart",
        confirm=True,
        text="message",
        help="Start the server anew, with the settings as they are now; nginx goes on.",
    ),
    Verb(
        name="history",
        path="/api/config/generations",
        columns=("number", "live", "created_at", "author", "reason", "files"),
        offline=True,
        help="List the generations of files that are kept, newest first.",
    ),
    Verb(
        name="diff",
        path="/api/config/generations/diff",
        fields=(
            Field(name="before", argument=True, query=True, help="Number of a generation."),
            Field(name="after", argument=True, query=True, help="Number of another."),
        ),
        text="diff",
        offline=True,
        help="Show what changed between two generations.",
    ),
    Verb(
        name="rollback",
        method="POST",
        path="/api/config/rollback/{generation}",
        fields=(DRY_RUN,),
        judged=True,
        offline=True,
        help="Make an old generation live again; the database follows it.",
    ),
    Verb(
        name="sync",
        method="POST",
        path="/api/config/sync",
        fields=(DRY_RUN,),
        help="Take over pools, members and routes that were added to the files by hand.",
    ),
    Verb(
        name="absorb",
        method="POST",
        path="/api/config/absorb-file",
        fields=(PATH, DRY_RUN),
        help="Accept a file as it is on disk now.",
    ),
    Verb(
        name="rewrite",
        method="POST",
        path="/api/config/rewrite-file",
        fields=(PATH, RELOAD, DRY_RUN),
        judged=True,
        help="Put a file back as it was written.",
    ),
    Verb(
        name="batch",
        method="POST",
        path="/api/config/batch",
        fields=(
            Field(
                name="operations",
                kind="json",
                argument=True,
                help="A JSON list of changes, or @file; see the reference of the API.",
            ),
            RELOAD,
            DRY_RUN,
        ),
        rows="results",
        columns=("index", "op", "kind", "id"),
        help="Make many changes at once: one transaction, one test, one reload.",
    ),
)
REBUILD = Verb(
    name="rebuild",
    method="POST",
    path="/api/config/rebuild-from-disk",
    fields=(DRY_RUN, Field(name="force", kind="flag", query=True, help="Replace what is there.")),
    offline=True,
    help="Make the database anew from the files that nginx reads.",
)


def add_to(app: typer.Typer, config: typer.Typer) -> None:
    """Put these commands under ``config``, and ``rebuild`` beside the nouns."""
    for verb in FILES:
        config.command(verb.name, help=verb.help)(command(verb))
    app.command(REBUILD.name, help=REBUILD.help)(command(REBUILD))

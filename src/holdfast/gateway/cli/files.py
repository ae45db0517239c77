"""The files that nginx reads: state, test, reload, rebuild, history, import."""

import typer

from holdfast.commands.verbs import DRY_RUN, RELOAD, Field, Verb, command

PATH = Field(name="path", required=True, help="The file, as config status names it.")
FILES = (
    Verb(
        name="status",
        path="/api/config/status",
        rows="files",
        columns=("path", "drifted", "last_synced_at"),
        changes="drifted",
        help="List the files for nginx; 3 when one differs from what was written.",
    ),
    Verb(
        name="sync",
        method="POST",
        path="/api/config/sync",
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
        help="Put a file back as it was written.",
    ),
)


def add_to(config: typer.Typer) -> None:
    """Put these commands under ``config``."""
    for verb in FILES:
        config.command(verb.name, help=verb.help)(command(verb))

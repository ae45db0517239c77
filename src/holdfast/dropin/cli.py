"""``holdfast import baricadr``: over the API, so that the server may be elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from holdfast.commands import output
from holdfast.commands.contexts import connect
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form
from holdfast.kernel.errors import Invalid

Repos = Annotated[Path, typer.Option("--repos", help="Its repos.yml.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be made.")]
Context = Annotated[
    str, typer.Option("--context", help="Which server; see: holdfast context list.")
]
COLUMNS = ("name", "path", "store", "prefix", "freezable", "age_days", "auto_freeze_cron")


def add_to(imports: typer.Typer) -> None:
    """Put the command beside the other imports."""
    imports.command("baricadr")(baricadr)


def baricadr(
    repos: Repos,
    *,
    dry_run: DryRun = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
    context: Context = "",
) -> None:
    """Make stores and tiers of the repositories in its repos.yml; all of them, or nothing."""
    choose_form(form, as_json=as_json)
    try:
        text = repos.read_text(encoding="utf-8")
    except OSError as error:
        raise Invalid(f"{repos}: {error.strerror}", hint="name a readable file") from None
    except UnicodeDecodeError:
        raise Invalid(f"{repos} is not text in UTF-8", hint="name baricadr's repos.yml") from None
    with connect(context) as client:
        made = client.call(
            "POST", "/api/import/baricadr", query={"dry_run": dry_run}, body={"repos": text}
        )
    for warning in made["warnings"]:
        say(f"warning: {warning}")
    for tier in made["there"]:
        say(f"{tier['path']} is the tier {tier['name']!r} already: left as it is")
    for store in made["stores"]:
        for key in store["host_keys"]:
            trusted = "would be trusted" if dry_run else "trusted"
            say(f"{store['name']}: {trusted} at first sight, is it the right one? {key}")
    if made["tiers"] or output.chosen() is not Form.TABLE:
        output.show(made["tiers"] if output.chosen() is Form.TABLE else made, COLUMNS)
    done = "made" if made["tiers"] else "nothing was made: all of it is there"
    say("nothing was made: this was a dry run" if dry_run else done)

"""The program ``holdfast``: every command in one tree, and how a command ends."""

import sys
import traceback
from typing import Annotated

import typer

import holdfast.commands.backups
import holdfast.commands.context
import holdfast.commands.identity
import holdfast.commands.processes
import holdfast.commands.settings
import holdfast.commands.stores
import holdfast.commands.system
import holdfast.dropin.cli
import holdfast.gateway.cli.files
import holdfast.gateway.cli.importing
import holdfast.gateway.cli.nouns
import holdfast.migrations.cli
import holdfast.tiers.cli
from holdfast import __version__
from holdfast.commands.output import complain, say
from holdfast.commands.verbs import command
from holdfast.kernel import collector
from holdfast.kernel.errors import AppError

app = typer.Typer(
    name="holdfast",
    help="A control plane for a site's data: where it lives, how it moves, that nothing is lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's callback
    if wanted:
        sys.stdout.write(f"holdfast {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """What may stand before the noun."""


def _build() -> None:
    settings = holdfast.commands.settings.noun()
    holdfast.gateway.cli.files.add_to(app, settings)
    app.add_typer(settings)
    holdfast.dropin.cli.add_to(holdfast.gateway.cli.importing.add_to(app))
    app.add_typer(holdfast.commands.context.noun())
    for add in (holdfast.commands.processes, holdfast.commands.identity, holdfast.commands.backups):
        add.add_to(app)
    for slice_nouns in (
        holdfast.gateway.cli.nouns.nouns(),
        holdfast.migrations.cli.nouns(),
        holdfast.tiers.cli.nouns(),
        holdfast.commands.stores.nouns(),
        holdfast.commands.system.nouns(),
    ):
        for noun in slice_nouns:
            app.add_typer(noun)
    for verb in (holdfast.commands.system.WHOAMI, holdfast.commands.system.HEALTH):
        app.command(verb.name)(command(verb))


_build()


def run(arguments: list[str]) -> int:
    """Run one command; gives the exit code of docs/reference/exit-codes.md."""
    try:
        outcome = typer.main.get_command(app).main(arguments, "holdfast", standalone_mode=False)
    except AppError as error:
        complain(error)
        return error.exit_code
    except typer.TyperException as error:
        say(f"error: {error.format_message()}")
        say("hint: add --help")
        return error.exit_code
    except typer.Abort:
        say("not done")
        return 1
    except BrokenPipeError:
        return 1
    except Exception:  # noqa: BLE001 - the edge: a fault of ours, with its place for the report
        traceback.print_exc()
        return 1
    return outcome if isinstance(outcome, int) else 0


def main() -> None:
    """The entry of the ``holdfast`` program."""
    collector.begin()
    try:
        status = run(sys.argv[1:])
    finally:
        collector.end()
    sys.exit(status)

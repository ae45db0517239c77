"""``holdfast import``: take over what another tool left on this machine."""

import asyncio
import dataclasses
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.commands import output
from holdfast.commands.local import local_actor
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form

if TYPE_CHECKING:
    from holdfast.gateway.service.importing import Imported

SECRETS = ("HOLDFAST_IMPORT_SECRET", "NANIO_ORCHESTRATOR_SECRET")
"""Environment variables that may hold the secret of the older tool; secrets never go into argv."""
NginxDir = Annotated[
    Path,
    typer.Option(
        "--nginx-dir",
        envvar="NANIO_ORCHESTRATOR_NGINX_CONFIG_DIR",
        show_envvar=False,
        help="Its NGINX_CONFIG_DIR; taken from its environment too.",
    ),
]
Db = Annotated[
    Path | None,
    typer.Option(
        "--db",
        envvar="NANIO_ORCHESTRATOR_DB_PATH",
        show_envvar=False,
        help="Its DB_PATH; migrations/ lies beside it.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be imported.")]


def add_to(app: typer.Typer) -> typer.Typer:
    """Put the noun beside the others; gives it, for the imports of others."""
    noun = typer.Typer(name="import", help="Take over another tool's setup.", no_args_is_help=True)
    noun.callback()(_options)
    noun.command("nanio-orchestrator")(nanio_orchestrator)
    app.add_typer(noun)
    return noun


def _options() -> None:
    """What may stand before the tool's name."""


def nanio_orchestrator(
    nginx_dir: NginxDir,
    db: Db = None,
    *,
    dry_run: DryRun = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Import its pools, vhosts, routes, credentials and ended migrations into an empty Holdfast.

    Nothing of the older tool is changed. Its SECRET is read from HOLDFAST_IMPORT_SECRET.
    """
    choose_form(form, as_json=as_json)
    result = asyncio.run(_import(nginx_dir, db, dry_run=dry_run))
    shown: dict[str, Any] = {**dataclasses.asdict(result), "dry_run": dry_run}
    for warning in shown["warnings"]:
        say(f"warning: {warning}")
    output.show(shown)


async def _import(nginx_dir: Path, db: Path | None, *, dry_run: bool) -> "Imported":
    from holdfast.gateway import startup  # noqa: PLC0415 - slow
    from holdfast.gateway.context import Gateway  # noqa: PLC0415 - slow
    from holdfast.gateway.service.importing import import_older  # noqa: PLC0415 - slow
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow

    assembly = importlib.import_module("holdfast.assembly")  # above this slice
    services = assembly.assemble(load_settings())
    secret = next((os.environ[name] for name in SECRETS if os.environ.get(name)), "")
    try:
        await services.database.upgrade()
        await startup.start(services)
        async with services.database.write(local_actor()) as work:
            work.dry_run = dry_run
            return await import_older(
                work,
                services.get(Gateway),
                nginx_dir=nginx_dir,
                database=db,
                secret=secret,
            )
    finally:
        await services.database.close()

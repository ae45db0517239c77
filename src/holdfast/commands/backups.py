"""``holdfast backup``: create, list, check and restore archives of this machine's data."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.commands import output
from holdfast.commands.local import with_services
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form

if TYPE_CHECKING:
    from holdfast.kernel.backup import Backup
    from holdfast.kernel.services import Services

COLUMNS = ("name", "size_bytes", "created_at")


def add_to(app: typer.Typer) -> None:
    """Put the noun beside the others."""
    backups = typer.Typer(
        name="backup",
        help="The database, what nginx runs with, and the settings, in one file.",
        no_args_is_help=True,
    )
    backups.command("create")(create)
    backups.command("list")(show_all)
    backups.command("restore")(restore)
    app.add_typer(backups)


def create(
    *,
    with_secrets: Annotated[
        bool,
        typer.Option(
            "--with-secrets/--no-with-secrets",
            help="Include the sealing secret and config.toml's.",
        ),
    ] = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Write a backup now, while the server goes on working."""
    choose_form(form, as_json=as_json)

    async def act(services: "Services") -> Any:  # noqa: ANN401 - JSON
        from holdfast.kernel.backup import create_backup  # noqa: PLC0415 - slow

        return _shown(await create_backup(services, with_secrets=with_secrets))

    output.show(with_services(act))


def show_all(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """List backups, newest first."""
    from holdfast.kernel.backup import list_backups  # noqa: PLC0415 - slow
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow

    choose_form(form, as_json=as_json)
    output.show([_shown(b) for b in list_backups(load_settings().settings)], COLUMNS)


def restore(
    name: Annotated[str, typer.Argument(help="a backup's name or path, or latest")],
    *,
    check: Annotated[bool, typer.Option("--check", help="Read all of it, change nothing.")] = False,
    with_nginx: Annotated[
        bool,
        typer.Option("--with-nginx", help="Also the routing of the time: it may be out of date."),
    ] = False,
    form: Output = Form.TABLE,
    as_json: AsJson = False,
) -> None:
    """Replace the database by a backup; what is replaced is kept aside. The server must be down."""
    import dataclasses  # noqa: PLC0415 - slow

    from holdfast.kernel.backup import backup_named, check_backup  # noqa: PLC0415 - slow
    from holdfast.kernel.backup_restore import restore_backup  # noqa: PLC0415 - slow
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow

    choose_form(form, as_json=as_json)
    loaded = load_settings()
    path = backup_named(loaded.settings, name)
    if check:
        manifest = asyncio.run(check_backup(path))
        output.show({k: v for k, v in dataclasses.asdict(manifest).items() if k != "files"})
        say(f"{path} is whole")
        return
    output.show(
        dataclasses.asdict(asyncio.run(restore_backup(loaded, path, with_nginx=with_nginx)))
    )
    secret = loaded.settings.data_dir / "secret"
    if not loaded.settings.secret.get_secret_value() and not secret.exists():
        say(
            f"there is no sealing secret: before the start, set HOLDFAST_SECRET or put {secret} "
            "back; with another one, the stored S3 keys cannot be read"
        )
    say("start the server; then compare with what nginx runs: holdfast rebuild --dry-run")


def _shown(backup: "Backup") -> dict[str, Any]:
    return {
        "name": backup.name,
        "path": str(backup.path),
        "size_bytes": backup.size_bytes,
        "created_at": backup.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }

"""Commands that are processes of their own: the server, a worker, the demo, the check of it all."""

import asyncio
import importlib
from typing import Annotated, Any

import typer

from holdfast.commands import output
from holdfast.commands.output import Form, say
from holdfast.commands.verbs import choose_form

Output = Annotated[Form, typer.Option("--output", "-o", help="Form of the result.")]
AsJson = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
HostOption = Annotated[str | None, typer.Option(help="Address to listen on.")]
PortOption = Annotated[int | None, typer.Option(help="Port to listen on.")]


def serve(
    *,
    host: HostOption = None,
    port: PortOption = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Run jobs in this process too.")
    ] = True,
) -> None:
    """Serve the API, and run jobs."""
    loaded = _start({"host": host, "port": port})
    _part("holdfast.api").serve(loaded, with_worker=worker)


def work() -> None:
    """Run jobs without the API."""
    _part("holdfast.worker").work(_start({}))


def demo() -> None:
    """Start a small fleet on this machine and move a bucket of it, live."""
    raise typer.Exit(_part("holdfast.demo").main())


def doctor(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """Check settings, rights, ports, nginx, rclone, disk, schema and clock; 1 when one fails."""
    from holdfast.kernel.doctor import Verdict, examine  # noqa: PLC0415 - slow

    choose_form(form, as_json=as_json)
    findings = asyncio.run(examine(_part("holdfast.assembly").assemble))
    columns = ("verdict", "check", "detail", "remedy")
    output.show([{name: str(getattr(f, name)) for name in columns} for f in findings], columns)
    if any(finding.verdict is Verdict.FAIL for finding in findings):
        raise typer.Exit(1)


def add_to(app: typer.Typer) -> None:
    """Put these commands beside the nouns."""
    app.command("serve")(serve)
    app.command("worker")(work)
    app.command("demo")(demo)
    app.command("doctor")(doctor)


def _start(flags: dict[str, Any]) -> Any:  # noqa: ANN401 - settings, imported late
    from holdfast.kernel.backup_restore import finish_interrupted_restore  # noqa: PLC0415 - slow
    from holdfast.kernel.config import load_settings  # noqa: PLC0415 - slow

    loaded = load_settings(flags)
    finished = asyncio.run(finish_interrupted_restore(loaded))
    if finished:
        say(f"finished the interrupted restore of {finished.archive}")
    return loaded


def _part(name: str) -> Any:  # noqa: ANN401 - a module
    """A process above this package, imported only when it is asked for."""
    return importlib.import_module(name)

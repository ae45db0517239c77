"""Write the tables of docs/reference/ from the code they describe: ``python -m docs.generate``.

A page keeps its own words; only what stands between the two marks of a table is replaced. The house
rules compare the pages with what this would write.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer
import typer.main
from fastapi import FastAPI
from typer.core import TyperArgument, TyperCommand, TyperGroup

import holdfast
from holdfast.kernel import errors
from holdfast.kernel.config import PREFIX, SECRET_SETTINGS, Settings
from holdfast.kernel.jobs import registry

REFERENCE = Path(__file__).parent / "reference"
ROOT = REFERENCE.parent.parent


def settings_table() -> str:
    """Every setting: its environment variable, default and description."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else _code(field.get_default())
        mark = " Secret." if name in SECRET_SETTINGS else ""
        rows.append(
            (f"`{name}`", f"`{PREFIX}{name.upper()}`", default, f"{field.description}{mark}")
        )
    return _table(("setting", "environment", "default", "meaning"), rows)


def errors_table() -> str:
    """Every expected failure: its code, statuses and meaning."""
    _import_everything()
    by_code: dict[str, type[errors.AppError]] = {}
    for kind in filter(_is_ours, _subclasses(errors.AppError)):
        by_code.setdefault(kind.code, kind)  # a child without a code of its own is the same failure
    kinds = sorted(by_code.values(), key=lambda kind: (kind.http_status, kind.code))
    return _table(
        ("code", "HTTP", "exit code", "try again", "meaning"),
        (
            (f"`{k.code}`", k.http_status, k.exit_code, "yes" if k.retryable else "no", _first(k))
            for k in kinds
        ),
    )


def jobs_table() -> str:
    """Every kind of job."""
    _import_everything()
    kinds = (registry.kind_named(name) for name in registry.registered_kinds())
    return _table(
        ("kind", "what it does"),
        ((f"`{k.name}`", _first(k.function)) for k in kinds if _is_ours(k.function)),
    )


def commands_table() -> str:
    """Every command of the command line."""
    from holdfast import cli

    rows = ((f"`{path}{usage}`", told) for path, usage, told in commands(cli.app))
    return _table(("command", "what it does"), rows)


def routes_table() -> str:
    """Every call of the HTTP API."""
    from holdfast import assembly

    app = FastAPI()
    for router in assembly.routers():
        app.include_router(router)
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    return _table(
        ("call", "what it does"),
        (
            (f"`{method.upper()} {path}`", _sentence(operation))
            for path, operations in sorted(paths.items())
            for method, operation in operations.items()
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "errors": errors_table,
    "jobs": jobs_table,
    "commands": commands_table,
    "http-api": routes_table,
}
"""Page, and what makes its table."""


def pages() -> Iterator[tuple[Path, str]]:
    """Each page that has a table, and the text that it should have."""
    for name in TABLES:
        yield REFERENCE / f"{name}.md", page(name)


def page(name: str) -> str:
    """The text that the page should have."""
    return with_table((REFERENCE / f"{name}.md").read_text(), TABLES[name]())


def with_table(page: str, table: str) -> str:
    """``page`` with ``table`` between its marks. Raises ``ValueError`` when it has none."""
    begin, end = "<!-- made from the code: make fix -->", "<!-- end -->"
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError("the page has no marks for its table")
    return f"{before}{begin}\n\n{table}\n{end}{after}"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _code(value: object) -> str:
    text = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return f"`{text}`" if text not in ("", None, ()) else "none"


def _first(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n\n")[0]


def _sentence(operation: dict[str, Any]) -> str:
    return str(operation.get("description") or operation["summary"]).split("\n\n")[0]


def _is_ours(thing: Callable[..., object]) -> bool:
    """Not made by a test that ran in this process."""
    return thing.__module__.startswith("holdfast.")


def _import_everything() -> None:
    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not module.name.startswith("holdfast.db_migrations"):
            importlib.import_module(module.name)


def _subclasses(kind: type[errors.AppError]) -> Iterator[type[errors.AppError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def commands(app: typer.Typer) -> Iterator[tuple[str, str, str]]:
    """Path, arguments and first sentence of every command, by path."""
    waiting: list[tuple[str, object]] = [("holdfast", typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        if isinstance(command, TyperGroup):
            children = sorted(command.commands.items(), reverse=True)
            waiting += [(f"{path} {name}", child) for name, child in children]
        elif isinstance(command, TyperCommand) and not command.hidden:
            usage = "".join(f" {name}" for name in _arguments(command))
            yield path, usage, (command.help or "").split("\n\n")[0]


def _arguments(command: TyperCommand) -> Iterator[str]:
    context = typer.Context(command)
    for parameter in command.params:
        if isinstance(parameter, TyperArgument):
            yield from parameter.get_usage_pieces(context)


def main() -> None:
    """Bring the pages up to date, and say which changed."""
    for path, text in pages():
        if path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}: brought up to date\n")


if __name__ == "__main__":
    main()

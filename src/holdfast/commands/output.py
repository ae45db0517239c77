"""Results on stdout, in the form that was asked for; messages on stderr."""

import json
import sys
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import Any

from holdfast.kernel.errors import AppError

BLOCK_ROWS = 1000
"""Of a table whose rows come one by one: so many are as wide as each other."""


class Form(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class _Chosen:
    """The form of this run; kept for the edge that words a failure after the command has ended."""

    form = Form.TABLE


def choose(form: Form) -> None:
    """Remember the form that this run was asked for."""
    _Chosen.form = form


def chosen() -> Form:
    """The form of this run."""
    return _Chosen.form


def show(result: Any, columns: Sequence[str] = ()) -> None:  # noqa: ANN401 - any JSON
    """Write a result: an object, a list of objects or texts, a text; ``None`` is nothing.

    Rows of an iterator are written as they come.
    """
    if result is None:
        return
    if isinstance(result, Iterator):
        _show_each(result, columns)
        return
    match _Chosen.form:
        case Form.JSON:
            _write(json.dumps(result, indent=2, ensure_ascii=False))
        case Form.YAML:
            import yaml  # noqa: PLC0415 - only this form needs it

            _write(yaml.safe_dump(result, sort_keys=False, allow_unicode=True).rstrip("\n"))
        case Form.TABLE:
            _show_for_people(result, columns)


def _show_each(rows: Iterator[dict[str, Any]], columns: Sequence[str]) -> None:
    first = next(rows, None)
    if first is None:
        show([], columns)
        return
    rows = chain([first], rows)
    match _Chosen.form:
        case Form.JSON:
            lead = "[\n"
            for row in rows:
                text = json.dumps(row, indent=2, ensure_ascii=False)
                sys.stdout.write(lead + "  " + text.replace("\n", "\n  "))  # a name may have U+2028
                lead = ",\n"
            _write("\n]")
        case Form.YAML:
            for row in rows:
                show([row])
        case Form.TABLE:
            wanted = columns or tuple(first)
            _table(list(islice(rows, BLOCK_ROWS)), wanted)
            while block := list(islice(rows, BLOCK_ROWS)):
                _table(block, wanted, with_header=False)


def say(message: str) -> None:
    """Tell the person something that is no result."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


def complain(error: AppError) -> None:
    """Word a failure: one object with ``--json``, else lines for a person."""
    if _Chosen.form is Form.JSON:
        say(json.dumps(error.body(), ensure_ascii=False, default=str))
        return
    say(f"error: {error.message}")
    if isinstance(error.details, str) and error.details:
        say(error.details.rstrip())
    if error.hint:
        say(f"hint: {error.hint}")


def _show_for_people(result: Any, columns: Sequence[str]) -> None:  # noqa: ANN401 - any JSON
    if isinstance(result, dict):
        _table([{"field": k, "value": v} for k, v in result.items()], ("field", "value"))
    elif isinstance(result, list) and result and isinstance(result[0], dict):
        _table(result, columns or tuple(result[0]))
    elif isinstance(result, list):
        for line in result:
            _write(str(line))
        if not result:
            say("nothing to show")
    else:
        _write(str(result).rstrip("\n"))


def _table(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], *, with_header: bool = True
) -> None:
    from rich.console import Console  # noqa: PLC0415 - only tables need it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold", show_header=with_header)
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    # Programs read whole lines: a narrow guess of the width must not fold them.
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 100_000)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        _write(line.rstrip())


def _cell(value: Any) -> str:  # noqa: ANN401 - any JSON
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")

"""Commands as data: a verb is one call of the API, its options are the call's fields."""

import inspect
import json
import keyword
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import typer

from holdfast.client.references import COLLECTIONS, find
from holdfast.commands import output
from holdfast.commands.contexts import chosen_context, connect, connect_offline, is_this_machine
from holdfast.commands.follow import FOLLOWERS
from holdfast.commands.output import Form
from holdfast.kernel.errors import Invalid, ServerUnreachable

if TYPE_CHECKING:
    from holdfast.client.http import HoldfastClient

Kind = Literal["text", "number", "decimal", "flag", "texts", "json", "secret", "pairs", "secrets"]
TYPES: dict[Kind, Any] = {
    "text": str | None,
    "number": int | None,
    "decimal": float | None,
    "flag": bool | None,
    "texts": list[str] | None,
    "json": str | None,
    "pairs": list[str] | None,
    "secrets": list[str] | None,
}
CHANGES_PRESENT = 3
NONE = "none"
"""The word that takes an option away."""
NO = False
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a call, given as an option; a field that is not given is not sent."""

    name: str
    help: str
    kind: Kind = "text"
    option: str = ""
    """Its name on the command line; by default the field's, with dashes."""
    required: bool = False
    argument: bool = False
    """Whether it is given by its place, without an option's name."""
    query: bool = False
    """Whether it goes into the address instead of the body."""
    ref: str = ""
    """The noun that its value names; the call gets the id."""
    beside: str = ""
    """Of a secret: the field without which it is not asked for; empty: it always is."""
    read: Callable[[str], str] | None = None
    """What a text on the command line is in the call: a path, from where the command runs."""
    may_be_none: bool = False
    """Whether the word ``none`` takes the value away; the others are read as of ``kind``."""
    optional: bool = False
    """Of an argument: whether it may be left out."""
    into: str = ""
    """The field of the body whose names and values these are added to: of pairs and secrets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One command. ``{noun}`` in the path is an argument; a known noun is given by name or id."""

    name: str
    path: str
    help: str
    method: str = "GET"
    fields: tuple[Field, ...] = ()
    fixed: tuple[tuple[str, Any], ...] = ()
    """What the body holds always."""
    columns: tuple[str, ...] = ()
    page_size: int | None = None
    """Rows of a page, where each page costs the server the whole list; None: the client's."""
    whole: str = ""
    """Where the rows come as lines when nothing limits them: depth 0."""
    with_argument: "Verb | None" = None
    """What is done instead when its optional argument is given."""
    paged: bool = True
    """Whether all of a list is read, page by page."""
    rows: str = ""
    """The field of the answer that a table shows."""
    done: str = ""
    """What to say on stderr when it went well."""
    confirm: bool = False
    """Ask before it is done, unless ``--yes`` is given."""
    pick: bool = False
    """Show the one thing out of its list: the API has no call for it alone."""
    follow: str = ""
    """What the answer started: ``job`` or ``migration``, to be waited for with ``--wait``."""
    finds: Callable[[Any], bool] | None = None
    """Whether the answer tells of something to do: the command ends with 3, changes present."""
    empty: str = ""
    """What a table of nothing says instead, as a result."""
    text: str = ""
    """The field of the answer that is printed as it is."""
    draw: Callable[[Any], str] | None = None
    """Words and lines for people in place of a table; empty: the table."""
    beside: Callable[[Any], Iterable[str]] | None = None
    """What people must know beside the table. It goes to stderr."""
    judged: bool = False
    """Whether an answer with ``ok: false`` ends the command with 1."""
    offline: bool = False
    """Whether it works on this machine's data when its server does not run."""


RELOAD = Field(
    name="reload", kind="flag", query=True, help="Make the change live now, or with a later reload."
)
DRY_RUN = Field(name="dry_run", kind="flag", query=True, help="Check everything, change nothing.")


def noun(name: str, summary: str, verbs: Iterable[Verb]) -> typer.Typer:
    """The commands of one noun."""
    app = typer.Typer(name=name, help=summary, no_args_is_help=True)
    for verb in verbs:
        app.command(verb.name, help=verb.help)(command(verb))
    return app


def command(verb: Verb) -> Callable[..., None]:
    """A function whose signature Typer turns into arguments and options."""

    def run(**given: Any) -> None:  # noqa: ANN401 - Typer's values
        choose_form(given.pop("output"), as_json=given.pop("as_json"))
        context = given.pop("context")
        try:
            with connect(context) as client:
                carry_out(client, verb, dict(given))
        except ServerUnreachable:
            if not verb.offline or not is_this_machine(chosen_context(context)):
                raise
            with connect_offline() as client:
                carry_out(client, verb, given)

    parameters = [*_arguments(verb), *_options(verb), *_common(verb)]
    run.__doc__ = verb.help
    run.__name__ = verb.name.replace("-", "_")
    run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
    vars(run)["__signature__"] = inspect.Signature(parameters)
    return run


def choose_form(form: Form, *, as_json: bool) -> None:
    """Take the form of the output from a command's options."""
    output.choose(Form.JSON if as_json else form)


def carry_out(client: "HoldfastClient", verb: Verb, given: dict[str, Any]) -> None:
    """Make the call and show its answer."""
    chosen = [f.name for f in verb.fields if f.optional and given.get(f.name) is not None]
    if verb.with_argument is not None and chosen:
        verb = verb.with_argument
    is_trial = DRY_RUN in verb.fields and bool(given.get(DRY_RUN.name))
    if verb.confirm and not given.pop("yes") and not is_trial:
        _ask(verb, [str(given[name]) for name in _PLACE.findall(verb.path)])
    waits, timeout = given.pop("wait", False), given.pop("timeout", None)
    places = _PLACE.findall(verb.path)
    owners: dict[str, Any] = {}
    for place in places:
        reference = str(given.pop(place))
        if place not in COLLECTIONS:
            owners[place] = quote(reference, safe="")
            continue
        row = find(client, place, reference, owners)
        if verb.pick and place == places[-1]:
            output.show(row)
            return
        owners[place] = row["id"]
    answer = _call(client, verb, verb.path.format(**owners), given)
    if waits and started(answer):
        answer = FOLLOWERS[verb.follow](client, answer, timeout)
    show_answer(replace(verb, done="a dry run: nothing was changed") if is_trial else verb, answer)


def started(answer: dict[str, Any]) -> bool:
    """Whether the call began something that can be waited for: a dry run did not."""
    return bool({"id", "job_id", "migration_id"} & set(answer)) and not answer.get("dry_run")


def parameter_name(field: Field) -> str:
    """The field's name as a Python parameter: ``from`` is none."""
    return f"{field.name}_" if keyword.iskeyword(field.name) else field.name


def option_name(field: Field) -> str:
    """What the field is called on the command line."""
    return field.option or field.name.replace("_", "-")


def _call(client: "HoldfastClient", verb: Verb, path: str, given: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    query: dict[str, Any] = {}
    body = dict(verb.fixed)
    for field in verb.fields:
        if field.beside and given.get(field.beside) is None:
            continue
        told = given.get(parameter_name(field))
        if field.may_be_none and told == NONE:
            body[field.name] = None
            continue
        value = _value(client, field, told)
        if value is not None and field.into:
            body[field.into] = {**body.get(field.into, {}), **value}
        elif value is not None:
            (query if field.query else body)[field.name] = value
    if verb.method == "GET" and verb.paged and verb.columns and not verb.rows:
        if verb.whole and query.get("depth") == 0 and "limit" not in query:
            return client.lines(verb.whole, query={k: v for k, v in query.items() if k != "depth"})
        if "limit" in query:
            return client.call("GET", path, query=query)
        sized = {} if verb.page_size is None else {"limit": verb.page_size}
        return list(client.pages(path, query={**query, **sized}))
    has_body = verb.method != "GET" and (verb.fields or verb.fixed)
    return client.call(verb.method, path, query=query, body=body if has_body else None)


def _value(client: "HoldfastClient", field: Field, given: Any) -> Any:  # noqa: ANN401 - any JSON
    if field.kind == "secret":
        return read_secret(field.name)
    if given is None or given == []:
        return None
    if field.read is not None:
        return [field.read(text) for text in given] if field.kind == "texts" else field.read(given)
    if field.ref:
        return find(client, field.ref, given, {})["id"]
    if field.may_be_none:
        return _number(field, given)
    if field.kind == "json":
        return _json(field, given)
    if field.kind == "pairs":
        return dict(_pair(field, each) for each in given)
    if field.kind == "secrets":
        return {name: read_secret(name) for name in given}
    return _text(given) if field.kind == "text" else given


def _number(field: Field, given: str) -> float:
    try:
        return int(given) if field.kind == "number" else float(given)
    except ValueError:
        raise Invalid(
            f"--{option_name(field)} {given!r} is no number", hint=f"give one, or {NONE}"
        ) from None


def read_secret(name: str) -> str:
    """Ask for a secret without showing it, or read a line of stdin: never from an argument."""
    if sys.stdin.isatty():
        return str(typer.prompt(name, hide_input=True, err=True))
    secret = sys.stdin.readline().strip()
    if not secret:
        raise Invalid(f"{name} is missing", hint=f"give {name} on stdin")
    return secret


def _pair(field: Field, given: str) -> tuple[str, str]:
    """``name=value``; ``name=@path`` takes a file's content."""
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise Invalid(f"--{option_name(field)} is NAME=VALUE", hint="or NAME=@FILE")
    return name, _text(value)


def _text(given: str) -> str:
    """``@path`` stands for a file's content, ``@@`` for a text that begins with one."""
    if given.startswith("@@") or not given.startswith("@"):
        return given.removeprefix("@") if given.startswith("@@") else given
    try:
        return Path(given[1:]).read_text()
    except OSError as error:
        raise Invalid(f"{given[1:]}: {error.strerror}", hint="name a readable file") from None


def _json(field: Field, given: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(_text(given))
    except ValueError as error:
        raise Invalid(
            f"--{option_name(field)} is no JSON: {error}", hint="give JSON, or @file"
        ) from None


def _ask(verb: Verb, names: list[str]) -> None:
    what = " ".join([verb.name, *names])
    if not sys.stdin.isatty():
        raise Invalid(f"{what}: not confirmed", hint="add --yes")
    if not typer.confirm(f"{what}?", err=True):
        raise typer.Abort


def show_answer(verb: Verb, answer: Any) -> None:  # noqa: ANN401 - any JSON
    """Show what a call was answered, in the chosen form. Raises ``Exit`` when it is a failure."""
    rows = answer.get(verb.rows) if verb.rows and isinstance(answer, dict) else answer
    if output.chosen() is not Form.TABLE:
        output.show(answer)
    else:
        _show_for_people(verb, answer, rows)
    if verb.done:
        output.say(verb.done)
    if verb.judged and not answer.get("ok", True):
        raise typer.Exit(1)
    if verb.finds is not None and verb.finds(answer):
        raise typer.Exit(CHANGES_PRESENT)


def _show_for_people(verb: Verb, answer: Any, rows: Any) -> None:  # noqa: ANN401 - any JSON
    drawn = verb.draw(answer) if verb.draw is not None else ""
    if drawn:
        output.show(drawn)
    elif verb.text and isinstance(answer, dict):
        output.show(answer.get(verb.text) or "")
    else:
        output.show(rows or verb.empty or rows, verb.columns)
        if isinstance(answer, dict) and answer.get("truncated"):
            output.say("there are more")
    for line in verb.beside(answer) if verb.beside is not None else ():
        output.say(line)


def _arguments(verb: Verb) -> list[inspect.Parameter]:
    return [
        _parameter(name, str, typer.Argument(help=_argument_help(name)))
        for name in _PLACE.findall(verb.path)
    ] + [
        _parameter(
            parameter_name(field),
            str | None if field.optional else list[str] if field.kind == "texts" else str,
            typer.Argument(None if field.optional else ..., help=field.help),
        )
        for field in verb.fields
        if field.argument
    ]


def _argument_help(name: str) -> str:
    collection = COLLECTIONS.get(name)
    return f"{collection.field.replace('_', ' ')} or id" if collection else f"the {name}"


def _options(verb: Verb) -> list[inspect.Parameter]:
    return [
        _parameter(
            parameter_name(field),
            str if field.required else str | None if field.may_be_none else TYPES[field.kind],
            typer.Option(... if field.required else None, _declared(field), help=field.help),
        )
        for field in verb.fields
        if field.kind != "secret" and not field.argument
    ]


def _declared(field: Field) -> str:
    name = option_name(field)
    return f"--{name}/--no-{name}" if field.kind == "flag" else f"--{name}"


def _common(verb: Verb) -> list[inspect.Parameter]:
    options = common_options()
    if verb.confirm:
        option = typer.Option(NO, "--yes", "-y", help="Do not ask.")
        options.append(_parameter("yes", bool, option))
    if verb.follow:
        wait = typer.Option(NO, "--wait/--detach", help="Follow it to its end, or only start it.")
        limit = typer.Option(
            None, "--timeout", help="Longest wait, in seconds; then exit code 124."
        )
        options.append(_parameter("wait", bool, wait))
        options.append(_parameter("timeout", float | None, limit))
    return options


def common_options() -> list[inspect.Parameter]:
    """What every command of the API takes."""
    form = typer.Option(Form.TABLE, "--output", "-o", help="Form of the result.")
    as_json = typer.Option(NO, "--json", help="The same as -o json.")
    context = typer.Option("", "--context", help="Which server; see: holdfast context list.")
    return [
        _parameter("output", Form, form),
        _parameter("as_json", bool, as_json),
        _parameter("context", str, context),
    ]


def _parameter(
    name: str,
    kind: Any,  # noqa: ANN401 - a type, or a union of types
    info: Any,  # noqa: ANN401 - Typer's argument or option
) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=kind)

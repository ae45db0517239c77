"""``holdfast context``: which servers this person knows."""

from typing import Annotated

import typer

from holdfast.commands import output
from holdfast.commands.contexts import Context, context_named, load_contexts, save_contexts
from holdfast.commands.output import Form, say
from holdfast.commands.processes import AsJson, Output
from holdfast.commands.verbs import choose_form, read_secret
from holdfast.kernel.errors import Invalid

Name = Annotated[str, typer.Argument(help="the context's name")]


def noun() -> typer.Typer:
    """The commands of the noun."""
    app = typer.Typer(name="context", help="Servers to talk to.", no_args_is_help=True)
    for function in (add, use, show_all, remove):
        app.command({"show_all": "list"}.get(function.__name__))(function)
    return app


def add(
    name: Name,
    url: Annotated[str, typer.Option(help="Like https://holdfast.example.org.")],
    *,
    no_token: Annotated[bool, typer.Option("--no-token", help="Store no token.")] = False,
) -> None:
    """Store a server; its token is asked, or read from stdin, and kept in a private file."""
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"{url!r} is no address", hint="use http://host:port")
    contexts = load_contexts()
    contexts.known[name] = Context(name, url, "" if no_token else read_secret("token"))
    contexts.current = contexts.current or name
    save_contexts(contexts)
    say(f"context {name!r} stored" + (", in use" if contexts.current == name else ""))


def use(name: Name) -> None:
    """Talk to this server from now on."""
    context_named(name)
    contexts = load_contexts()
    contexts.current = name
    save_contexts(contexts)


def show_all(*, form: Output = Form.TABLE, as_json: AsJson = False) -> None:
    """List the stored servers."""
    choose_form(form, as_json=as_json)
    contexts = load_contexts()
    rows = [
        {"name": c.name, "url": c.url, "current": c.name == contexts.current}
        for c in contexts.known.values()
    ]
    output.show(rows, ("name", "url", "current"))


def remove(name: Name) -> None:
    """Forget a server and its token."""
    context_named(name)
    contexts = load_contexts()
    del contexts.known[name]
    if contexts.current == name:
        contexts.current = ""
    save_contexts(contexts)

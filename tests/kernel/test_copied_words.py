"""Commands that a page copies are pasted into a shell: it must read every name as one word."""

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from holdfast.kernel.web.console.formats import shell_word

PACKAGE = Path(__file__).parent.parent.parent / "src" / "holdfast"
LEAST_COMMANDS = 60


def is_quoted(node: nodes.Node) -> bool:
    """Whether a shell reads this part as it was written."""
    match node:
        case nodes.Const() | nodes.Name() | nodes.Getattr(attr="cli"):
            return True  # a name or field of another macro's or task's cli, looked at there
        case nodes.Filter(name="sh"):
            return True
        case nodes.Concat(nodes=parts):
            return all(
                (is_quoted(part) and not isinstance(part, nodes.Name)) or is_cli(part)
                for part in parts
            )
        case nodes.CondExpr(expr1=one, expr2=other):
            return is_quoted(one) and (other is None or is_quoted(other))
    return False


def is_cli(node: nodes.Node) -> bool:
    """Whether this is the beginning of a command that was put together elsewhere."""
    return getattr(node, "name", getattr(node, "attr", "")) == "cli"


def commands(template: nodes.Template) -> Iterator[nodes.Node]:
    """What is given as ``cli``: to a macro, by its place to `copy_as`, or to a variable."""
    for call in template.find_all(nodes.Call):
        yield from (word.value for word in call.kwargs if word.key == "cli")
        if getattr(call.node, "attr", "") == "copy_as":
            yield call.args[1]
    for given in template.find_all(nodes.Assign):
        if getattr(given.target, "name", "").endswith("cli"):
            yield given.node


def test_every_name_in_a_command_of_a_template_is_quoted() -> None:
    found, bare = 0, []
    for path in PACKAGE.rglob("*.html.j2"):
        for node in commands(Environment(autoescape=True).parse(path.read_text())):
            found += 1
            if not is_quoted(node):
                bare.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert found > LEAST_COMMANDS
    assert not bare


def test_every_name_in_a_command_of_a_page_is_quoted() -> None:
    bare = []
    for path in (path for path in PACKAGE.rglob("*.py") if "pages" in str(path)):
        calls = (
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        )
        for word in (word for call in calls for word in call.keywords if word.arg == "cli"):
            parts = word.value.values if isinstance(word.value, ast.JoinedStr) else []
            names = [part.value for part in parts if isinstance(part, ast.FormattedValue)]
            quoted = [
                isinstance(name, ast.Call) and ast.unparse(name.func) == "shell_word"
                for name in names
            ]
            if not all(quoted):
                bare.append(f"{path.relative_to(PACKAGE)}:{word.value.lineno}")
    assert not bare


@pytest.mark.parametrize("name", ["*.example.org", "[::1]:9000", "vhosts/a b;$(id).conf", "it's"])
def test_a_shell_reads_a_name_as_it_is(name: str) -> None:
    assert shlex.split(f"holdfast x {shell_word(name)}")[2:] == [name]
    assert shell_word([name, name]) == f"{shell_word(name)} {shell_word(name)}"
    assert shell_word(name) != name


def test_a_plain_name_is_copied_as_it_is() -> None:
    assert shell_word("s3.example.org") == "s3.example.org"

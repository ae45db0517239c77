"""Rules of the house that no other tool checks."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import generate
from holdfast import cli

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "holdfast"
MAX_LINES = 400
MAX_SCRIPT_LINES = 600
SLICES = ("gateway", "migrations", "nodes", "tiers", "mirrors", "releases", "vault")
HOME_PATH = re.compile(r"(?<![\w.])/(root|home/\w+)/\.")
PAGE = re.compile(r"docs/[a-z-]+/[a-z0-9-]+\.md")
CODE = re.compile(r"```\w*\n.*?```|`[^`\n]+`", re.DOTALL)
COMMAND = re.compile(r"(?:^ *|`|\| )(holdfast [a-z][a-z-]+(?: [a-z][a-z-]+)?)", re.MULTILINE)
MOCK = re.compile(r"^\s*(from unittest(\.mock)? import .*mock|import unittest\.mock)", re.MULTILINE)


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def of(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def slices() -> Iterator[Path]:
    return (PACKAGE / name for name in SLICES if (PACKAGE / name).is_dir())


def test_no_python_file_is_longer_than_400_lines() -> None:
    files = tracked("*.py")
    assert files
    assert not of([path for path in files if len(path.read_text().splitlines()) > MAX_LINES])


def test_our_own_javascript_stays_under_600_lines() -> None:
    files = tracked("src/*.js")
    assert len(files) > 3
    assert sum(len(path.read_text().splitlines()) for path in files) < MAX_SCRIPT_LINES


@pytest.mark.parametrize("name", generate.TABLES)
def test_the_reference_says_what_the_code_says(name: str) -> None:
    assert (generate.REFERENCE / f"{name}.md").read_text() == generate.page(name), "run: make fix"


@pytest.mark.parametrize("name", generate.TABLES)
def test_every_row_of_the_reference_says_something(name: str) -> None:
    rows = [line for line in generate.TABLES[name]().splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.endswith("|  |")]


def test_every_slice_says_what_it_is_for() -> None:
    packages = [*slices(), PACKAGE, PACKAGE / "kernel"]
    files = [folder / "__init__.py" for folder in packages]
    assert not of([path for path in files if not ast.get_docstring(ast.parse(path.read_text()))])


def test_no_page_of_the_kernel_leads_into_a_slice() -> None:
    """What a slice has to say on such a page it adds to `ConsoleParts`."""
    leads = re.compile(r"/web/(pools|vhosts|buckets|config|migrations|tiers)\b|\btiers?\b(?!\":)")
    pages = [path for path in (PACKAGE / "kernel").rglob("*.j2") if path.is_file()]
    assert pages
    assert not of([path for path in pages if leads.search(path.read_text())])


def test_every_tables_module_is_in_the_schema() -> None:
    known = (PACKAGE / "schema.py").read_text()
    tables = [path for path in PACKAGE.rglob("tables.py") if path.is_file()]
    assert tables
    modules = [".".join(p.relative_to(ROOT / "src").with_suffix("").parts) for p in tables]
    assert not [module for module in modules if f"import {module}" not in known]


def test_every_page_of_the_documentation_is_in_its_contents() -> None:
    contents = (ROOT / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if page not in contents]


def test_every_page_that_the_code_names_is_there() -> None:
    files = tracked("src/*.py", "src/*.j2", "tests/*.py", "docs/*.py")
    named = {name for path in files for name in PAGE.findall(path.read_text())}
    assert named
    assert not sorted(name for name in named if not (ROOT / name).is_file())


def test_every_command_that_the_documentation_names_is_there() -> None:
    known = {path for path, _, _ in generate.commands(cli.app)}
    groups = {path.rpartition(" ")[0] for path in known}
    named = {
        found[1]
        for page in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
        for code in CODE.findall(page.read_text())
        for found in COMMAND.finditer(code)
    }
    assert named
    assert not sorted(
        name for name in named - known - groups if name.rpartition(" ")[0] not in known - groups
    )


def test_nothing_names_the_machine_it_was_written_on() -> None:
    files = [path for path in tracked() if path != Path(__file__)]
    assert not of([path for path in files if HOME_PATH.search(path.read_text(errors="ignore"))])


def test_no_test_uses_a_mock() -> None:
    assert not of([path for path in tracked("tests/*.py") if MOCK.search(path.read_text())])


def test_every_program_is_started_through_the_kernel() -> None:
    """Ruff bans the module; this bans a ``noqa`` of that ban anywhere but where it belongs."""
    allowed = {PACKAGE / "kernel" / name for name in ("process.py", "child.py", "guard.py")}
    files = [path for path in PACKAGE.rglob("*.py") if path not in allowed]
    assert not of([path for path in files if re.search(r"noqa:.*TID251", path.read_text())])


def test_every_fragment_of_the_changelog_has_a_known_kind() -> None:
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    form = re.compile(r"\d+[a-z0-9-]*\.(added|changed|fixed|removed|security)\.md")
    assert not of([path for path in fragments if not form.fullmatch(path.name)])


def test_the_changelog_is_kept_for_the_reader(tmp_path: Path) -> None:
    shown = subprocess.run(
        [ROOT / "deploy" / "changelog.sh"], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert shown.stdout.startswith("## Unreleased\n\n### Added\n\n- A gateway")

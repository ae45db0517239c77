"""The documentation: what it loads, and whether its commands do what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_blocks import blocks, missing_lines

ROOT = Path(__file__).parent.parent
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)[^>]*\ssrc=["']?(?:https?:)?//"""
    r"""|<link[^>]*rel=["']?(?:stylesheet|preconnect|preload)[^>]*(?:https?:)?//"""
    r"""|(?:@import|url\()\s*["']?(?:https?:)?//"""
)


@pytest.mark.real
def test_the_site_loads_nothing_from_another_host(tmp_path: Path) -> None:
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    subprocess.run(mkdocs, cwd=ROOT, check=True, timeout=120)
    built = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert len(built) > 10
    assert not [str(path) for path in built if LOADED.search(path.read_text())]


def test_a_marked_block_is_found_with_its_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nno\n```\n<!-- test -->\n```bash\necho a\n```\n\n"
        "<!-- output -->\n```text\na\n```\n<!-- test -->\n```bash\ntrue\n```\n"
    )
    assert [(b.line, b.commands, b.output) for b in blocks(page)] == [
        (4, "echo a\n", "a\n"),
        (13, "true\n", ""),
    ]


def test_said_lines_are_looked_for_in_order_and_dots_stand_for_anything() -> None:
    printed = "first 12 ms\nsecond\nthird"
    assert not list(missing_lines("first ... ms\n\nthird", printed))
    assert list(missing_lines("third\nfirst ...", printed)) == ["first ..."]
    assert list(missing_lines("sec", printed)) == ["sec"]

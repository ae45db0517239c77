"""Shell blocks of the documentation that are run, and what the page says that they print.

A block is run when the line before its fence is ``<!-- test -->``. A fence that follows with
``<!-- output -->`` before it holds lines that must be in what was printed, in that order; ``...``
in a line stands for anything.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^<!-- (?P<mark>test|output) -->\n+```\w*\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(slots=True)
class Block:
    """Commands of a page, and the lines that they are said to print."""

    page: Path
    line: int
    commands: str
    output: str = ""


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are run, in order."""
    text = page.read_text()
    found: list[Block] = []
    for fence in FENCE.finditer(text):
        line = text.count("\n", 0, fence.start()) + 1
        if fence["mark"] == "test":
            found.append(Block(page, line, fence["body"]))
        elif not found:
            raise ValueError(f"{page}:{line}: output without commands")
        else:
            found[-1].output = fence["body"]
    return found


def missing_lines(said: str, printed: str) -> Iterator[str]:
    """Lines of ``said`` that ``printed`` does not have, looked for in order."""
    rest = iter([_plain(line) for line in printed.splitlines()])
    for line in filter(None, map(_plain, said.splitlines())):
        form = re.compile(".*".join(re.escape(part) for part in line.split("...")))
        if not any(form.fullmatch(candidate) for candidate in rest):
            yield line
            return


def _plain(line: str) -> str:
    return " ".join(line.split())

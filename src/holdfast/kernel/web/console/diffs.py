"""Unified differences as the console shows them: line by line, side by side, file by file."""

import re
from itertools import zip_longest
from typing import NamedTuple

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_EMPTY = " "


class Line(NamedTuple):
    """One line; ``kind``: file, hunk, same, add, del, or gap (the other side has a line here)."""

    kind: str
    text: str


class FileDiff(NamedTuple):
    """What differs in one file."""

    path: str
    text: str


def diff_lines(text: str) -> list[Line]:
    """The lines of a unified difference. The lengths in its heads tell what is a head."""
    found = []
    old = new = 0
    for line in text.removesuffix("\n").split("\n") if text else ():
        if old > 0 or new > 0:
            kind = {"-": "del", "+": "add"}.get(line[:1], "same")
            old -= kind != "add"
            new -= kind != "del"
            found.append(Line(kind, line))
        elif hunk := _HUNK.match(line):
            old, new = (1 if length is None else int(length) for length in hunk.groups())
            found.append(Line("hunk", line))
        else:
            found.append(Line("file", line))
    return found


def diff_sides(text: str) -> tuple[list[Line], list[Line]]:
    """The same as two columns of equal length: before, and after."""
    left: list[Line] = []
    right: list[Line] = []
    gone: list[Line] = []
    came: list[Line] = []

    def settle() -> None:
        gap = Line("gap", _EMPTY)
        for old, new in zip_longest(gone, came, fillvalue=gap):
            left.append(old)
            right.append(new)
        gone.clear()
        came.clear()

    for kind, line in diff_lines(text):
        if kind == "file":
            continue
        shown = Line(kind, (line if kind == "hunk" else line[1:]) or _EMPTY)
        if kind == "del":
            gone.append(shown)
        elif kind == "add":
            came.append(shown)
        else:
            settle()
            left.append(shown)
            right.append(shown)
    settle()
    return left, right


def diff_files(text: str) -> list[FileDiff]:
    """A difference of many files, cut into one for each."""
    found: list[tuple[str, list[str]]] = []
    for kind, line in diff_lines(text):
        if kind == "file" and line.startswith("--- "):
            found.append((line[4:].partition("/")[2] or line[4:], []))
        if found:
            found[-1][1].append(line)
    return [FileDiff(path, "\n".join(lines) + "\n") for path, lines in found]

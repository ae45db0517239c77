"""rclone's filter rules (fs/filter of rclone 1.75), with one meaning for all that a tier does.

A file is taken when the first rule that matches its path takes it, or none matches, and when the
same holds of each folder on the way to it: rclone never looks into a folder that its rules leave
out.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from holdfast.kernel.errors import Invalid
from holdfast.tiers.go_regex import python_regex
from holdfast.tiers.names import as_filtered

KEPT_FOLDERS = 4096
LONGEST_RULE_BYTES = 65_000
"""rclone reads lines up to 64 KiB."""
_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_COMMENTS = ("#", ";")
_SPECIAL = re.compile(r"[\\*?\[\]{}]")
_TOO_HARD = re.compile(r"({[^{}]*(\*\*|/)[^{}]*})|\{\{|\}\}|\{[^{}]*\{")
_ONE_NAME = re.compile(r"(?:\*(?!\*)|[^*/\\\[\]{}])*")
_BRACKET = re.compile(r"[\\\[\]{}]")
_WILD = re.compile(r"[*?]+")
_ASCII = re.compile(r"[ -~]+")
_ANYWHERE = r"(?s:.*?)"
_IN_ANY_NAME = r"(?s:(?:.*?/)??)"
_IN_LAST_NAME = r"(?>(?s:.*/)?)"
Decide = Callable[[str], bool]
First = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class _Rule:
    """``expression``: of Python, to be matched from a path's beginning."""

    takes: bool
    expression: str


class Filters:
    """Rules in their order: ``- *.tmp``, ``+ /kept/**``, ``!`` to forget those before.

    Raises ``Invalid`` for what rclone would refuse.
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._lines = [line for rule in rules if (line := _line(rule))]
        self._files: list[_Rule] = []
        self._folders: list[_Rule] = []
        for line in self._lines:
            self._add(line)
        self._takes_file = _decider(self._files)
        leaves_out = any(not rule.takes for rule in self._folders)
        self._takes_folder = _decider(self._folders) if leaves_out else None
        self._known = lru_cache(KEPT_FOLDERS)(self._takes_way)
        self.needles = tuple(needle(line[2:]) for line in self._lines if line.startswith("- "))
        """Of the rules that leave out: see `needle`."""

    def takes(self, path: bytes) -> bool:
        """Whether a file of this path, relative to the tier's root, is meant."""
        if not self._files and self._takes_folder is None:
            return True
        return self.takes_name(as_filtered(path))

    def takes_name(self, name: str) -> bool:
        """The same of a path as the filters see it: `as_filtered`."""
        if not self._takes_file(name):
            return False
        return self._takes_folder is None or self._known(name.rpartition("/")[0])

    def rclone_lines(self) -> list[str]:
        """The rules for a file of ``rclone --filter-from``."""
        return list(self._lines)

    def _takes_way(self, folder: str) -> bool:
        """Whether a folder, and each that it lies in, is looked into."""
        decide = self._takes_folder
        if not folder or decide is None:
            return True
        names = folder.split("/")
        return all(decide("/".join(names[:end]) + "/") for end in range(1, len(names) + 1))

    def _add(self, line: str) -> None:
        if line == "!":
            self._files.clear()
            self._folders.clear()
            return
        if not line.startswith(("+ ", "- ")):
            raise Invalid(f"{line!r} is not a filter rule", hint="for example: - *.tmp")
        takes, glob = line.startswith("+"), line[2:]
        of_folders = glob.endswith("/")
        of_files = not of_folders
        if of_folders and not takes:
            glob += "**"
        if "**" in glob:
            of_folders = of_files = True
        rule = _Rule(takes, _expression(glob))
        if of_files:
            self._files.append(rule)
            if takes or glob == "*":
                folders = [folder for folder in _folder_globs(glob) if folder != "/"]
                self._folders += [_Rule(takes, _expression(folder)) for folder in folders]
        if of_folders:
            self._folders.append(rule)


def first_match(patterns: Sequence[str]) -> First:
    """The number of the first of rclone's patterns that matches a path as filters see it.

    ``folder/`` is all below it. Raises ``Invalid`` for a pattern that rclone would refuse.
    """
    return _first_of(
        [_expression(f"{each}**" if each.endswith("/") else each) for each in patterns]
    )


def needle(pattern: str) -> bytes:
    """ASCII that stands in each path that one of rclone's patterns matches; empty: none is known.

    What `as_filtered` changes of a path is no ASCII, nor becomes any. Looking for it in many paths
    at once costs a hundredth of matching each.
    """
    if "{{" in pattern:
        return b""
    plain = _BRACKET.split(pattern.removeprefix("/"), maxsplit=1)[0]
    runs = [run for run in _WILD.split(plain) if _ASCII.fullmatch(run)]
    return max(runs, key=len, default="").encode()


def literal(path: str) -> str:
    """The pattern that matches this text and nothing else."""
    return _SPECIAL.sub(r"\\\g<0>", path)


def _line(rule: str) -> str:
    """A rule as rclone reads it from a line; empty for a comment."""
    line = rule.strip(_SPACES)
    if "\n" in line or len(line.encode(errors="replace")) > LONGEST_RULE_BYTES:
        raise Invalid(f"{line[:60]!r} is not one filter rule", hint="a rule is one line")
    return "" if line.startswith(_COMMENTS) else line


def _decider(rules: Iterable[_Rule]) -> Decide:
    """The first rule that matches decides."""
    groups: list[tuple[bool, list[str]]] = []
    for rule in rules:
        if not groups or groups[-1][0] is not rule.takes:
            groups.append((rule.takes, []))
        groups[-1][1].append(rule.expression)
    first = _first_of(["|".join(expressions) for _, expressions in groups])
    decisions = [takes for takes, _ in groups]

    def decide(path: str) -> bool:
        number = first(path)
        return number is None or decisions[number]

    return decide


def _first_of(expressions: Sequence[str]) -> First:
    """One expression for all: the first that matches tells itself by its group."""
    if not expressions:
        return lambda _: None
    match = _python("|".join(f"(?:{each})()" for each in expressions)).match

    def number(path: str) -> int | None:
        found = match(path)
        return None if found is None else (found.lastindex or 1) - 1

    return number


def _python(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid(f"a filter is too hard: {error}") from None


@lru_cache(1024)
def _expression(glob: str) -> str:
    """Python's expression for a glob; checked, so that what is refused names its rule."""
    try:
        found = python_regex(_go_expression(glob))
    except Invalid as error:
        raise Invalid(f"the pattern {glob!r}: {error.message}", hint=error.hint) from None
    if "{{" in glob:  # which may be cut in two by its own brackets
        found = f"{_ANYWHERE}(?:{found})"
    elif not glob.startswith("/"):
        start = _IN_LAST_NAME if _ONE_NAME.fullmatch(glob) else _IN_ANY_NAME
        found = start + found.removeprefix(r"(?:(?:\A)|/)")
    _python(found)
    return found


def _folder_globs(glob: str) -> list[str]:
    """Rclone's globToDirGlobs: the folders in which a file may lie that a glob takes."""
    if _TOO_HARD.search(glob):
        return ["/**"]
    found: list[str] = []
    glob = re.sub("/{2,}", "/", glob)
    while True:
        slash, stars = glob.rfind("/"), glob.rfind("**")
        if max(slash, stars) < 0:
            return found or ["/**"]
        what = "**" if stars > slash else ""
        glob = glob[: max(slash, stars)]
        folder = f"{glob}{what}/"
        if not found or found[-1] != folder:
            found.append(folder)


def _go_expression(glob: str) -> str:
    """Rclone's globToRegexp."""
    return _Glob(glob).expression()


class _Glob:
    """Reads a glob from left to right, as rclone does, and writes the same expression."""

    def __init__(self, glob: str) -> None:
        self._rest = glob.removeprefix("/")
        self._out = ["^"] if glob.startswith("/") else ["(^|/)"]
        self._stars = 0
        self._braces = 0
        self._brackets = 0
        self._slashed = False
        self._in_regex = False
        self._regex_ended = False

    def expression(self) -> str:
        last = ""
        for char in self._rest:
            if not (self._taken_raw(char) or self._in_special(char, last)):
                self._plain(char, last)
            last = char
        self._write_stars()
        if self._brackets:
            raise Invalid("it has a [ without its ]")
        if self._braces or self._in_regex:
            raise Invalid("it has a { without its }")
        return "".join([*self._out, "$"])

    def _taken_raw(self, char: str) -> bool:
        """What stands behind a backslash."""
        if self._slashed:
            self._slashed = False
            self._out.append(char)
            return True
        return False

    def _in_special(self, char: str, last: str) -> bool:
        """What belongs to ``{{an expression}}`` or to ``[a class]``."""
        if self._regex_ended:
            if char == "}":  # the longest: what was taken for its end belongs to it
                self._out[-1] = "}"
                self._out.append(")")
                return True
            self._regex_ended = False
        if self._in_regex:
            if char == "}" and last == "}":
                self._in_regex, self._regex_ended = False, True
                self._out[-1] = ")"
            else:
                self._out.append(char)
            return True
        if char != "*":
            self._write_stars()
        if self._brackets:
            self._out.append(char)
            self._brackets += {"[": 1, "]": -1}.get(char, 0)
            return True
        return False

    def _plain(self, char: str, last: str) -> None:
        match char:
            case "\\":
                self._out.append(char)
                self._slashed = True
            case "*":
                self._stars += 1
            case "?":
                self._out.append("[^/]")
            case "[":
                self._out.append(char)
                self._brackets += 1
            case "]":
                raise Invalid("it has a ] without its [")
            case "{" | "}" | ",":
                self._brace(char, last)
            case "." | "+" | "(" | ")" | "|" | "^" | "$":
                self._out.append("\\" + char)
            case _:
                self._out.append(char)

    def _brace(self, char: str, last: str) -> None:
        if char == "{" and self._braces and last == "{":
            self._in_regex = True
            self._braces -= 1
        elif char == "{":
            self._braces += 1
            self._out.append("(")
        elif char == ",":
            self._out.append("|" if self._braces else ",")
        elif not self._braces:
            raise Invalid("it has a } without its {")
        else:
            self._out.append(")")
            self._braces -= 1

    def _write_stars(self) -> None:
        if self._stars > 2:  # noqa: PLR2004 - rclone knows * and **
            raise Invalid("it has too many stars")
        if self._stars:
            self._out.append(("[^/]*", ".*")[self._stars - 1])
        self._stars = 0

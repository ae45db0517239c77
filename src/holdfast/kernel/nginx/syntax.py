"""nginx text as nginx itself reads it: words, directives, blocks, comments.

The rules are those of ``ngx_conf_read_token``, to the letter: a reader with rules of its own could
be shown one thing while nginx reads another.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.kernel.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\r\n"
_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}


@dataclass(slots=True)
class Node:
    """A directive or a comment, with its place in the text."""

    words: tuple[str, ...]
    start: int
    end: int = 0
    block: "list[Node] | None" = None
    comment: bool = False

    @property
    def name(self) -> str:
        """The directive's name; the whole text of a comment."""
        return self.words[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the name."""
        return self.words[1:]

    def walk(self) -> "Iterator[Node]":
        """The directive and those in its block, without comments."""
        if not self.comment:
            yield self
            for child in self.block or ():
                yield from child.walk()


@dataclass(slots=True)
class _Reader:
    text: str
    at: int = 0
    words: list[str] = field(default_factory=list)
    start: int = 0

    def statement(self) -> str:
        """Read one statement to its ``;``, ``{``, ``}`` or ``#`` (a comment); "" at the end."""
        self.words = []
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in _SPACE:
                self.at += 1
                continue
            if not self.words:
                self.start = self.at
            if char in ";{}#":
                ended = self._mark(char)
                if ended:
                    return ended
                continue
            ended = self._word(char)
            if ended:
                return ended
        if self.words:
            raise Invalid("the nginx text ends inside a directive: a ';' is missing")
        return ""

    def _mark(self, char: str) -> str:
        if char == "#":
            return self._comment()
        if (char == "}") == bool(self.words):
            raise Invalid(f"unexpected {char!r} in the nginx text")
        self.at += 1
        return char

    def _comment(self) -> str:
        end = self.text.find("\n", self.at)
        end = len(self.text) if end < 0 else end
        text, self.at = self.text[self.at : end], end
        if self.words:
            return ""  # a comment between the words of a directive
        self.words = [text]
        return "#"

    def _word(self, char: str) -> str:
        if char in "\"'":
            self.at += 1
            self._quoted(char)
            return self._after_quote()
        return self._bare()

    def _quoted(self, quote: str) -> None:
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                continue
            self.at += 1
            if char == quote:
                self.words.append(_unescaped(self.text[start : self.at - 1]))
                return
        raise Invalid("a quote in the nginx text is not closed")

    def _after_quote(self) -> str:
        if self.at >= len(self.text):
            raise Invalid("the nginx text ends inside a directive: a ';' is missing")
        char = self.text[self.at]
        if char in ";{":
            self.at += 1
            return char
        if char not in _SPACE and char != ")":
            raise Invalid(f"unexpected {char!r} after a quote in the nginx text")
        return ""

    def _bare(self) -> str:
        start, variable = self.at, False
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "\\":
                self.at += 2
                variable = False
                continue
            if char == "{" and variable:
                self.at += 1
                continue
            variable = char == "$"
            if char in _SPACE or char in ";{":
                self.words.append(_unescaped(self.text[start : self.at]))
                self.at += 1
                return char if char in ";{" else ""
            self.at += 1
        raise Invalid("the nginx text ends inside a directive: a ';' is missing")


def parse(text: str) -> list[Node]:
    """Directives and comments in order. Raises `Invalid` for text that nginx would not read."""
    reader = _Reader(text)
    top: list[Node] = []
    open_blocks: list[tuple[Node, list[Node]]] = []
    siblings = top
    while mark := reader.statement():
        if mark == "}":
            if not open_blocks:
                raise Invalid("unexpected '}' in the nginx text: it closes no block of this text")
            node, siblings = open_blocks.pop()
            node.end = reader.at
            continue
        node = Node(tuple(reader.words), reader.start, reader.at, comment=mark == "#")
        siblings.append(node)
        if mark == "{":
            node.block = []
            open_blocks.append((node, siblings))
            siblings = node.block
    if open_blocks:
        raise Invalid(f"the block {open_blocks[-1][0].name!r} in the nginx text is not closed")
    return top


def _unescaped(word: str) -> str:
    if "\\" not in word:
        return word
    parts, at = [], 0
    while at < len(word):
        following = word[at + 1 : at + 2]
        if word[at] == "\\" and following in _ESCAPES and following:
            parts.append(_ESCAPES[following])
            at += 2
        else:
            parts.append(word[at])
            at += 1
    return "".join(parts)

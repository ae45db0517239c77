r"""Regular expressions as Go has them, which rclone's filters are made of, as Python has them.

Only whether a path is matched counts, so what is captured and what is greedy makes no difference.
What Go refuses is refused; classes of Unicode (``\pL``) are refused too.
"""

import re
import string

from holdfast.kernel.errors import Invalid

_DIGIT, _SPACE, _WORD = "0-9", r"\t\n\f\r ", "0-9A-Za-z_"
_PERL = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": _WORD,
    "xdigit": "0-9A-Fa-f",
}
_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_EDGE = f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"
_NO_EDGE = f"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))"
_REPEAT = re.compile(r"\{(0|[1-9]\d*)(,(0|[1-9]\d*)?)?\}")
_GROUP_NAME = re.compile(r"\?P?<([A-Za-z0-9_]+)>")
_FLAGS = re.compile(r"\?([imsU]*)(-[imsU]+)?([:)])")
_HEX = re.compile(r"\{([0-9a-fA-F]+)\}|([0-9a-fA-F]{2})")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")
MOST_REPEATS = 1000
LAST_RUNE = 0x10FFFF


def python_regex(expression: str) -> str:
    """The same expression for `re`. Raises ``Invalid`` for what Go refuses."""
    return _Translator(expression).translate()


class _Translator:
    """Reads an expression from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._out: list[str] = []
        self._flags = frozenset[str]()
        self._around: list[tuple[frozenset[str], int]] = []
        """Of each open group: the flags outside of it, and where its output begins."""
        self._last: int | None = None
        """Where the output of what a repetition would repeat begins."""
        self._repeated = False

    def translate(self) -> str:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "*+?" or (char == "{" and _REPEAT.match(self._text, self._at)):
                self._repeat(char)
                continue
            self._repeated = False
            self._at += 1
            self._one(char)
        if self._around:
            raise self._refused("a missing )")
        return "".join(self._out)

    def _one(self, char: str) -> None:
        match char:
            case "(":
                self._open()
            case ")":
                self._close()
            case "|":
                self._out.append("|")
                self._last = None
            case "[":
                self._emit(self._class())
            case "\\":
                self._escape()
            case "^":
                self._emit("(?m:^)" if "m" in self._flags else r"(?:\A)")
            case "$":
                self._emit("(?m:$)" if "m" in self._flags else r"(?:\Z)")
            case ".":
                self._emit("(?s:.)" if "s" in self._flags else ".")
            case _:
                self._emit(re.escape(char))

    def _emit(self, atom: str) -> None:
        self._last = len(self._out)
        self._out.append(f"(?i:{atom})" if "i" in self._flags else atom)

    def _repeat(self, char: str) -> None:
        found = _REPEAT.match(self._text, self._at) if char == "{" else None
        token = found[0] if found else char
        if self._last is None or self._repeated:
            raise self._refused(f"{token!r} that repeats nothing, or a repetition")
        if found:
            least, most = int(found[1]), int(found[3] or found[1])
            if most < least or most > MOST_REPEATS:
                raise self._refused(f"the repetition {token!r}")
        self._at += len(token)
        if self._text.startswith("?", self._at):  # not greedy: all the same here
            self._at += 1
        self._out[self._last :] = [f"(?:{''.join(self._out[self._last :])}){token}"]
        self._repeated = True

    def _open(self) -> None:
        if not self._text.startswith("?", self._at):
            self._enter(self._flags)
            return
        if named := _GROUP_NAME.match(self._text, self._at):
            self._at = named.end()
            self._enter(self._flags)
            return
        found = _FLAGS.match(self._text, self._at)
        if found is None:
            raise self._refused("a group that Go does not know")
        self._at = found.end()
        flags = (self._flags | set(found[1])) - set(found[2] or "")
        if found[3] == ":":
            self._enter(flags)
        else:
            self._flags = flags

    def _enter(self, flags: frozenset[str]) -> None:
        self._around.append((self._flags, len(self._out)))
        self._flags = flags
        self._out.append("(?:")
        self._last = None

    def _close(self) -> None:
        if not self._around:
            raise self._refused("a ) without its (")
        self._flags, self._last = self._around.pop()
        self._out.append(")")

    def _escape(self) -> None:
        char = self._next()
        if char == "Q":
            end = self._text.find(r"\E", self._at)
            end = len(self._text) if end < 0 else end
            for quoted in self._text[self._at : end]:
                self._emit(re.escape(quoted))
            self._at = min(end + 2, len(self._text))
        elif char in _PERL:
            self._emit(f"[{_PERL[char]}]")
        elif char.lower() in _PERL:
            self._emit(f"[^{_PERL[char.lower()]}]")
        elif char in "AzbB":
            edges = {"A": r"(?:\A)", "z": r"(?:\Z)", "b": _EDGE, "B": _NO_EDGE}
            self._emit(edges[char])
        else:
            self._emit(re.escape(chr(self._rune(char))))

    def _rune(self, char: str) -> int:
        """The character that a backslash and what follows mean; ``char`` is read already."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if octal := _OCTAL.match(self._text, self._at - 1):
            self._at = octal.end()
            return int(octal[0], 8)
        if char == "x" and (digits := _HEX.match(self._text, self._at)):
            self._at = digits.end()
            value = int(digits[1] or digits[2], 16)
            if value <= LAST_RUNE:
                return value
        if char.isascii() and char not in string.ascii_letters + string.digits:
            return ord(char)
        raise self._refused(f"the escape \\{char}")

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise self._refused("a backslash at its end")
        self._at += 1
        return self._text[self._at - 1]

    def _class(self) -> str:
        negated = self._text.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        first = True
        while first or not self._text.startswith("]", self._at):
            parts.append(self._class_part())
            first = False
        self._at += 1
        return f"[{'^' if negated else ''}{''.join(parts)}]"

    def _class_part(self) -> str:
        if named := self._named_class():
            return named
        if self._text.startswith("\\", self._at):
            kind = self._text[self._at + 1 : self._at + 2]
            if kind and kind in "dDsSwW":
                self._at += 2
                return _PERL[kind] if kind in _PERL else _all_but(_PERL[kind.lower()])
        low = high = self._class_rune()
        if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
            self._at += 1
            high = self._class_rune()
        if high < low:
            raise self._refused("a range that ends before it begins")
        return f"{_escaped(low)}-{_escaped(high)}"

    def _named_class(self) -> str:
        """``[:alpha:]`` and its like; empty when there is none here."""
        if not self._text.startswith("[:", self._at):
            return ""
        end = self._text.find(":]", self._at + 2)
        if end < 0:
            return ""
        name = self._text[self._at + 2 : end]
        if name.removeprefix("^") not in _POSIX:
            raise self._refused(f"the class {name!r}")
        self._at = end + 2
        chars = _POSIX[name.removeprefix("^")]
        return _all_but(chars) if name.startswith("^") else chars

    def _class_rune(self) -> int:
        if self._at >= len(self._text):
            raise self._refused("a missing ]")
        char = self._next()
        return self._rune(self._next()) if char == "\\" else ord(char)

    def _refused(self, why: str) -> Invalid:
        return Invalid(f"a filter leads to the expression {self._text!r}, which has {why}")


def _all_but(chars: str) -> str:
    """What a class of ASCII leaves out, written as part of another class."""
    found = re.compile(f"[{chars}]")
    others = [_escaped(code) for code in range(0x80) if not found.match(chr(code))]
    return "".join(others) + _escaped(0x80) + "-" + _escaped(LAST_RUNE)


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"

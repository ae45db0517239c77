"""Names of files: their bytes on a disk, how a store calls them, and how people read them.

Inside, a path is bytes relative to a tier's root. Outside it is text: control characters are
symbols (a newline is ``␊``), bytes that are not UTF-8 are two hex digits after the quote U+201B,
and what would be mistaken for either has that quote before it. rclone calls files by nearly the
same form; what a listed name becomes on a disk is what rclone's pull makes of it (lib/encoder of
rclone 1.75).
"""

import re
from collections.abc import Callable

from holdfast.kernel.errors import Invalid

QUOTE = "\u201b"
_CONTROLS = {chr(code): chr(0x2400 + code) for code in range(1, 0x20)} | {"\x7f": "␡"}
_SLASH = {"/": "／"}  # noqa: RUF001 - rclone's stand-in for a slash in a name
_NUL = {"\0": "␀"}
_DOT, _DOTS = "．", "．．"  # noqa: RUF001 - rclone's stand-ins for . and ..
_DOT_NAMES = {".": _DOT, "..": _DOTS, _DOT: QUOTE + _DOT, _DOTS: (QUOTE + _DOT) * 2}
_INVALID = re.compile("[\udc80-\udcff]")
_PLAIN = re.compile(rb"[ -~/]*")
Recode = Callable[[str], str]


def to_text(path: bytes) -> str:
    """A path as people, JSON and addresses have it; `from_text` gives the same path again."""
    return _each_name(_TEXT_ENCODED, path.decode("utf-8", "surrogateescape"))


def from_text(text: str) -> bytes:
    """The path that a text means; empty is the root. Raises ``Invalid`` for what is none."""
    if not text:
        return b""
    try:
        path = _each_name(_TEXT_DECODED, text).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Invalid(f"{text!r} is not a path") from None
    if b"\0" in path or not {b"", b".", b".."}.isdisjoint(path.split(b"/")):
        raise Invalid(
            f"{text!r} is not a path below a tier's root", hint="for example folder/file.txt"
        )
    return path


def from_remote_listing(listed: bytes) -> bytes | None:
    """What rclone's pull calls a file on a disk that its listing calls ``listed``.

    None for what no path can be.
    """
    if _PLAIN.fullmatch(listed) is None or b"/." in listed or listed.startswith(b"."):
        text = listed.decode("utf-8", "surrogateescape")
        listed = _each_name(_standard_to_local, text).encode("utf-8", "surrogateescape")
    return listed if _is_path(listed) else None


def remote_name(path: bytes) -> bytes | None:
    """How rclone's calls name the file that its pull would make here; None: it never would."""
    if _PLAIN.fullmatch(path) is not None:
        return path
    text = path.decode("utf-8", "surrogateescape")
    named = _each_name(_local_to_standard, text).encode("utf-8", "surrogateescape")
    return named if from_remote_listing(named) == path else None


def as_filtered(path: bytes) -> str:
    """A path as rclone's filters see it; bytes that are not UTF-8 are all alike to them."""
    if _PLAIN.fullmatch(path) is not None:
        return path.decode()
    named = _each_name(_local_to_standard, path.decode("utf-8", "surrogateescape"))
    return _INVALID.sub("\ufffd", named)


def from_s3_key(key: str) -> bytes | None:
    """What rclone's pull calls an object on a disk; None for a key that it cannot pull."""
    path = _each_name(_key_to_local, key).encode("utf-8", "surrogateescape")
    return path if _is_path(path) and s3_key(path) == key else None


def s3_key(path: bytes) -> str | None:
    """The key of the object that rclone's pull would make this file of; None: it never would."""
    if _PLAIN.fullmatch(path) is not None:
        return path.decode()
    key = _each_name(_local_to_key, path.decode("utf-8", "surrogateescape"))
    back = _each_name(_key_to_local, key).encode("utf-8", "surrogateescape")
    return key if back == path else None


def _is_path(path: bytes) -> bool:
    return bool(path) and b"//" not in path and path[0] != 0x2F and path[-1] != 0x2F  # noqa: PLR2004


def _each_name(recode: Recode, path: str) -> str:
    return "/".join([recode(name) for name in path.split("/")])


def _encoder(symbols: dict[str, str], *, dots: bool, invalid: bool) -> Recode:
    """Encode, as rclone has it, for a set of characters that a name of this form may not have."""
    symbols = symbols | _NUL
    told = symbols | {symbol: QUOTE + symbol for symbol in [*symbols.values(), QUOTE]}
    if invalid:
        told |= {chr(0xDC00 + byte): f"{QUOTE}{byte:02X}" for byte in range(0x80, 0x100)}
    found = re.compile(f"[{''.join(map(re.escape, told))}]")

    def encode(name: str) -> str:
        if dots and name in _DOT_NAMES:
            return _DOT_NAMES[name]
        return found.sub(lambda match: told[match[0]], name)

    return encode


def _decoder(symbols: dict[str, str], *, dots: bool, invalid: bool) -> Recode:
    """Decode, the way back."""
    meant = {symbol: char for char, symbol in (symbols | _NUL).items()}
    special = "".join(map(re.escape, meant))
    digits = f"|{QUOTE}([0-9a-fA-F]{{2}})" if invalid else "|(?!)()"
    found = re.compile(f"{QUOTE}([{special}{QUOTE}]){digits}|([{special}])")
    dot_names = {told: name for name, told in _DOT_NAMES.items()}

    def one(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        if match[2]:
            byte = int(match[2], 16)
            return chr(byte if byte < 0x80 else 0xDC00 + byte)  # noqa: PLR2004 - above is no ASCII
        return meant[match[3]]

    def decode(name: str) -> str:
        if dots and name in dot_names:
            return dot_names[name]
        return found.sub(one, name)

    return decode


# rclone's sets: Standard in its listings, Base on a local disk, its own for keys of S3.
_from_standard = _decoder(_SLASH | _CONTROLS, dots=True, invalid=False)
_to_standard = _encoder(_SLASH | _CONTROLS, dots=True, invalid=False)
_from_local = _decoder(_SLASH, dots=True, invalid=False)
_to_local = _encoder(_SLASH, dots=True, invalid=False)
_from_key = _decoder(_SLASH, dots=True, invalid=True)
_to_key = _encoder(_SLASH, dots=True, invalid=True)
_TEXT_ENCODED = _encoder(_CONTROLS, dots=False, invalid=True)
_TEXT_DECODED = _decoder(_CONTROLS, dots=False, invalid=True)


def _standard_to_local(name: str) -> str:
    return _to_local(_from_standard(name))


def _local_to_standard(name: str) -> str:
    return _to_standard(_from_local(name))


def _key_to_local(name: str) -> str:
    return _to_local(_from_key(name))


def _local_to_key(name: str) -> str:
    return _to_key(_from_local(name))

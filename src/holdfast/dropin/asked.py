"""What a client of baricadr sends, and what is wrong with it."""

import json
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from holdfast.kernel.errors import BadRequest, Invalid
from holdfast.kernel.mail_address import is_mail
from holdfast.tiers.schemas import absolute_path

DEEPEST = 1000
"""Deeper than any folder may be asked for: all of it."""
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"", "0", "false", "f", "no", "n", "off", "none", "null"})


class Refused(Exception):
    """An answer other than 200, in the older server's form."""

    def __init__(
        self, error: str = "", *, status: int = 400, body: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.body = dict(body or {"error": error})


@dataclass(frozen=True, slots=True)
class Asked:
    """The body of a request. ``path``: absolute, as bytes."""

    text: str
    path: bytes
    fields: Mapping[str, Any]

    def flag(self, name: str) -> bool:
        """A truth, in JSON or as a word; absent is false. Raises `Refused`."""
        given = self.fields.get(name)
        if given is None or isinstance(given, bool):
            return bool(given)
        word = str(given).strip().lower()
        if word not in _TRUE | _FALSE:
            raise Refused(f'"{name}" is neither true nor false')
        return word in _TRUE

    @property
    def depth(self) -> int:
        """How many folders deep; 0: all."""
        given = self.fields.get("max_depth", 1)
        if not given:
            return 0
        try:
            depth = int(given)
        except (TypeError, ValueError, OverflowError):
            return 1
        return depth if 0 < depth <= DEEPEST else 0

    def email(self) -> list[str]:
        """Whom to tell, if anybody. Raises `Refused`."""
        given = self.fields.get("email")
        if not given:
            return []
        if not isinstance(given, str) or not is_mail(given):
            raise Refused("The email address is not valid.")
        return [given]

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Words a path that is in no tier."""
        try:
            yield
        except BadRequest:
            raise outside(self.text) from None


def outside(path: str) -> Refused:
    """Nobody keeps this path."""
    shown = posixpath.join(path, "")
    return Refused(f'Could not find baricadr repository for path "{shown}"')


async def asked_of(request: Request) -> Asked:
    """The request's body. Raises `Refused`."""
    broken = Refused("Internal server error", status=502)
    if not _is_json(request.headers.get("content-type", "")):
        raise broken
    try:
        fields = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise broken from None
    if not isinstance(fields, dict) or "path" not in fields:
        raise Refused('Missing "path"')
    given = fields["path"]
    if not isinstance(given, str):
        raise broken
    text = posixpath.normpath(given)
    if not text.startswith("/") or "\0" in text:
        raise outside(text)
    text = f"/{text.lstrip('/')}"
    try:
        return Asked(text, absolute_path(text), fields)
    except Invalid as error:
        raise Refused(error.message) from None


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )

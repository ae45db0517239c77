"""Forms: fields with their words, what was sent, and one transaction that the API would do too."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs

from fastapi import Request
from pydantic import BaseModel, ValidationError

from holdfast.kernel.errors import AppError, BadRequest, Invalid
from holdfast.kernel.web.deps import pause_reading, writing
from holdfast.kernel.work import Work

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
Kind = Literal["text", "number", "select", "checkbox", "textarea", "password", "hidden"]
LARGEST_FORM_BYTES = 2 * 1024 * 1024
_EMPTY = {"text": "", "textarea": ""}
"""What clears a field of these kinds; null does the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form."""

    name: str
    """``blocks.0.zone``: the field ``zone`` in line 0 of the list ``blocks``."""
    label: str
    kind: Kind = "text"
    help: str = ""
    options: Sequence[tuple[str, str]] = ()
    """Value and words, of a select."""
    required: bool = False
    value: Any = ""
    """What it holds before anybody typed."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Further attributes of the input: ``min``, ``max``, ``placeholder``, ``autocomplete``."""
    group: str = ""
    """A heading that is shown above the first field of the group."""
    advanced: bool = False
    """Folded away until somebody opens it."""
    clears: bool = False
    """An empty one is sent, a number or a choice as null: it takes away what was there."""
    option: str = ""
    """Its name on the command line when it differs; ``-``: given by its place, without a name.

    ``!``: the command line does not have it.
    """


@dataclass(slots=True)
class Form:
    """The state of a form: its values, and what is wrong with them."""

    fields: Sequence[Field]
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: AppError | None = None
    status: int = 200
    preview: bool = False
    """The person asked what would be; nothing is kept."""
    button: str = ""
    """The value of the button named ``do`` that was pressed."""
    version: str = ""
    """What an edit form was drawn from; see `versions`. It travels in the form's address."""

    def __post_init__(self) -> None:
        self.values = {f.name: f.value for f in self.fields} | self.values

    @property
    def first_bad(self) -> str:
        """The field that gets the focus."""
        return next((f.name for f in self.fields if f.name in self.errors), "")

    def address(self, path: str) -> str:
        """Where it is sent: a copied command has the fields, not the version."""
        return f"{path}?version={self.version}" if self.version else path

    async def submit(
        self,
        request: Request,
        schema: type[Body],
        act: Callable[[Work, Body], Awaitable[Result]],
        *,
        look: Callable[[Body], Awaitable[None]] | None = None,
    ) -> Result | None:
        """Read the form, check it by the API's own schema, and act in one transaction.

        ``look``: what is to be looked at before it, since that may take its time.

        None when something is wrong: ``status``, ``errors`` and ``problem`` say what. With the
        preview button the transaction is a rehearsal.
        """
        try:
            body = await self.read(request, schema)
            if body is None:
                return None
            if look is not None:
                await pause_reading(request)
                await look(body)
            async with writing(request) as work:
                work.dry_run = self.preview
                return await act(work, body)
        except AppError as error:
            self.refuse(error)
            return None

    async def read(self, request: Request, schema: type[Body]) -> Body | None:
        """What was sent, as the API's schema; None when it does not fit."""
        sent = await sent_form(request)
        self.preview, self.button = sent.get("do") == ["preview"], (sent.get("do") or [""])[0]
        self.version = request.query_params.get("version", "")
        for one in self.fields:
            self.values[one.name] = _value(one, sent)
        clearing = {one.name: _EMPTY.get(one.kind) for one in self.fields if one.clears}
        given = {n: v for n, v in self.values.items() if v is not None} | {
            n: v for n, v in clearing.items() if self.values.get(n) is None
        }
        nested, places = _nested(given)
        try:
            return schema.model_validate(
                {n: value for n, value in nested.items() if n in schema.model_fields}
            )
        except ValidationError as error:
            for item in error.errors():
                names = _names(item["loc"], places)
                text = item["msg"].removeprefix("Value error, ")
                known = next((name for name in names if name in self.values), "")
                self.errors.setdefault(known, text)
            self.status = 422
            return None

    def refuse(self, error: AppError) -> None:
        """Show this failure above the fields, or at the field that its first word names."""
        self.status = error.http_status
        first, _, words = error.message.partition(" ")
        name = first.removesuffix(":").replace("[", ".").replace("]", "")
        words = words if first.endswith(":") else error.message
        if isinstance(error, Invalid) and self._shows(name):
            self.errors[name] = f"{words}; {error.hint}" if error.hint else words
        else:
            self.problem = error

    def _shows(self, name: str) -> bool:
        return any(one.name == name and one.kind != "hidden" for one in self.fields)


async def sent_form(request: Request) -> dict[str, list[str]]:
    """The fields that a browser sent, ``application/x-www-form-urlencoded``."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest("this address takes a form", hint="send application/x-www-form-urlencoded")
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > LARGEST_FORM_BYTES:
            raise BadRequest("the form is too large", hint="send at most 2 MiB")
    try:
        sent = parse_qs(raw.decode(), keep_blank_values=True, strict_parsing=bool(raw))
    except ValueError:
        raise BadRequest("the form cannot be read", hint="send it as UTF-8") from None
    for name, values in sent.items():
        if any("\0" in text for text in (name, *values)):
            raise Invalid(f"{name!r} has a NUL character in it", hint="send the text without it")
    return sent


def _value(one: Field, sent: Mapping[str, list[str]]) -> str | bool | None:
    """As the schema wants it: an empty field that may be empty is not given."""
    if one.kind == "checkbox":
        return one.name in sent
    text = (sent.get(one.name) or [""])[0].replace("\r\n", "\n")
    return None if text == "" and not one.required else text


def _nested(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Fields of lists as lists, without empty lines; and which line each place of a list was."""
    found: dict[str, Any] = {}
    lines: dict[str, dict[str, dict[str, Any]]] = {}
    for name, value in given.items():
        head, *rest = name.split(".", 2)
        if len(rest) == 2:  # noqa: PLR2004 - the line, and the field in it
            lines.setdefault(head, {}).setdefault(rest[0], {})[rest[1]] = value
        else:
            found[name] = value
    found |= {head: list(numbered.values()) for head, numbered in lines.items()}
    return found, {head: list(numbered) for head, numbered in lines.items()}


def _names(loc: Sequence[int | str], places: Mapping[str, list[str]]) -> Iterator[str]:
    """What the field at this place of a body may be called, the closest first."""
    head, *rest = [str(part) for part in loc] or [""]
    if head in places and len(rest) > 1:
        yield ".".join((head, places[head][int(rest[0])], *rest[1:]))
    yield head


async def typed_name(request: Request) -> str:
    """What was typed in a dialog that asks for a name."""
    return (await sent_form(request)).get("confirm", [""])[0]


def check_typed(typed: str, name: str, what: str) -> None:
    """Raises ``Invalid`` unless the name of ``what`` was typed, to the letter."""
    if typed != name:
        raise Invalid(f"{typed!r} is not the {what}'s name", hint=f"type {name} to confirm")

"""What the gateway's pages share: its unit of work, forms that can be tried."""

import contextlib
import difflib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service.preview import Preview
from holdfast.kernel.errors import Invalid, NginxRefused
from holdfast.kernel.web.console.forms import Form, sent_form
from holdfast.kernel.web.deps import services_of, writing
from holdfast.kernel.work import Work

Body = TypeVar("Body", bound=BaseModel)
Result = TypeVar("Result")
BAD = 400
_TIME = re.compile(r" updated:\S*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Saved(Generic[Result]):
    """What a form's transaction gave back."""

    value: Result
    work: Work

    @property
    def warning(self) -> str:
        """What is not live, and what to do about it."""
        return warning_of(self.work)


@dataclass(slots=True)
class Trial:
    """A file as it would be, beside the live one; filled while a form is tried."""

    path: str = ""
    before: str = ""
    after: str | None = None

    def keep(self, gateway: Gateway, folder: str, preview: Preview) -> None:
        """Remember what would be written. ``folder``: ``pools`` or ``vhosts``."""
        self.path, self.after = str(preview.path), preview.content or ""
        self.before = gateway.generations.read(f"{folder}/{preview.path.name}") or ""

    def verdict(self, form: Form) -> bool | None:
        """Whether nginx takes it; None when it was not tried, or something else is wrong."""
        if self.after is None:
            return None
        if form.problem is None:
            return True if form.preview and form.status < BAD else None
        return False if isinstance(form.problem, NginxRefused) else None

    @property
    def diff(self) -> str:
        """What changes in the live file; empty for a new one, or when nothing does."""
        if not self.before or self.same:
            return ""
        lines = difflib.unified_diff(
            self.before.splitlines(), (self.after or "").splitlines(), "live", "tried", lineterm=""
        )
        return "\n".join(lines)

    @property
    def same(self) -> bool:
        """Whether nginx would read what it reads now: the time in the head is worth no reload."""
        return _TIME.sub("", self.before) == _TIME.sub("", self.after or "")


@contextlib.asynccontextmanager
async def gateway_work(request: Request) -> AsyncIterator[tuple[Work, Gateway]]:
    """One transaction that is the only writer of the gateway, and the gateway."""
    async with writing(request) as work:
        await queries.lock_gateway(work.session)
        yield work, services_of(request).get(Gateway)


async def submit(
    form: Form,
    request: Request,
    schema: type[Body],
    act: Callable[[Work, Gateway, Body], Awaitable[Result]],
) -> Saved[Result] | None:
    """`Form.submit` in a transaction of the gateway; None when the form is to be shown again.

    That is so when something is wrong, and after a rehearsal.
    """
    gateway = services_of(request).get(Gateway)

    async def acting(work: Work, body: Body) -> Saved[Result]:
        await queries.lock_gateway(work.session)
        return Saved(await act(work, gateway, body), work)

    saved = await form.submit(request, schema, acting)
    return None if form.preview else saved


async def chosen(request: Request) -> tuple[list[int], bool]:
    """The ticked rows of a list, and whether they are to be enabled. Raises ``Invalid``."""
    sent = await sent_form(request)
    numbers, verb = sent.get("chosen", []), sent.get("do", [""])[0]
    if verb not in {"enable", "disable"} or not all(_is_id(number) for number in numbers):
        raise Invalid("this form cannot be read", hint="go back and try again")
    return list(dict.fromkeys(int(number) for number in numbers)), verb == "enable"


def told_of(changed: int, noun: str, *, enabled: bool) -> str:
    """Words like ``3 routes enabled.``, for what was changed."""
    return f"{changed} {noun}{'' if changed == 1 else 's'} {'enabled' if enabled else 'disabled'}."


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text[:11]) < 2**31

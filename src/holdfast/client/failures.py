"""From an answer of the API back to the error that the server raised."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from holdfast.kernel import errors
from holdfast.kernel.errors import AppError


def raise_for_failure(response: httpx.Response) -> None:
    """Raise what a failed answer says, as the class of its code, else of its status."""
    if response.is_success:
        return
    body = {"detail": response.reason_phrase, **_body(response)}
    raise failure_of(body, response.status_code)


def failure_of(body: Mapping[str, Any], status: int = 0) -> AppError:
    """The error that a body tells; ``status``: of its answer, 0: it came in the middle of one."""
    kind = _kind(str(body.get("code", "")), status)
    return kind(
        _worded(body["detail"]) or f"the server answered {status}",
        hint=str(body.get("hint", "")),
        details=body.get("details"),
    )


class UnknownFailure(AppError):
    """The server failed in a way that this client has no class for."""

    code = "unknown_failure"


def _kind(code: str, status: int) -> type[AppError]:
    kinds = {kind.code: kind for kind in _subclasses(AppError)}
    if code in kinds:
        return kinds[code]
    by_status = {
        400: errors.BadRequest,
        401: errors.Unauthenticated,
        403: errors.Forbidden,
        404: errors.NotFound,
        409: errors.Conflict,
        422: errors.Invalid,
        429: errors.TooMany,
        502: errors.BadGateway,
        503: errors.Unavailable,
        504: errors.TimedOut,
    }
    return by_status.get(status, UnknownFailure)


def _subclasses(kind: type[AppError]) -> Iterator[type[AppError]]:
    for child in kind.__subclasses__():
        # Errors of programs and steps have constructors of their own, and no use for a reader;
        # one without a code of its own is told as its parent.
        if child.__init__ is AppError.__init__ and "code" in vars(child):
            yield child
        yield from _subclasses(child)


def _body(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {"detail": response.text[:500]}
    return body if isinstance(body, dict) else {"detail": str(body)}


def _worded(detail: object) -> str:
    """One text; complaints about fields of the body become ``field: what is wrong``."""
    if not isinstance(detail, list):
        return str(detail)
    lines = []
    for item in detail:
        where = ".".join(str(part) for part in item.get("loc", ())[1:]) or "body"
        lines.append(f"{where}: {item.get('msg', 'is not accepted')}")
    return "; ".join(lines)

"""Expected failures: raised where they are known, worded for the reader, rendered at the edge."""

from typing import Any, ClassVar


class AppError(Exception):
    """A failure that Holdfast expects and can explain."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: bool = False

    def __init__(self, message: str, *, hint: str = "", details: object = None) -> None:
        """``message``: what and where; ``hint``: what to do; ``details``: a tool's own words."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def body(self) -> dict[str, Any]:
        """The JSON body that the API answers with."""
        body: dict[str, Any] = {"detail": self.message, "code": self.code, "hint": self.hint}
        return body if self.details is None else {**body, "details": self.details}


class BadRequest(AppError):
    """The request is well formed but does not fit what is there."""

    code, http_status = "bad_request", 400


class Unauthenticated(AppError):
    """No token, or one that is unknown, expired or revoked."""

    code, http_status, exit_code = "unauthenticated", 401, 5


class Forbidden(AppError):
    """The caller is known and may not do this."""

    code, http_status, exit_code = "forbidden", 403, 5


class NotFound(AppError):
    """What was named does not exist."""

    code, http_status, exit_code = "not_found", 404, 4


class Conflict(AppError):
    """What is there stands in the way."""

    code, http_status = "conflict", 409


class Invalid(AppError):
    """A value cannot be accepted."""

    code, http_status, exit_code = "invalid", 422, 2


class NginxRefused(AppError):
    """nginx refused the configuration; ``details`` has its words, and nothing was changed."""

    code, http_status = "nginx_refused", 422


class TooMany(AppError):
    """A limit is reached; the same call may go through later."""

    code, http_status, retryable = "too_many", 429, True
    retry_after_seconds: int | None = None
    """When to try again, if that is known."""


class BadGateway(AppError):
    """Another server answered, but not as it should."""

    code, http_status, retryable = "bad_gateway", 502, True


class Unavailable(AppError):
    """A part that is needed cannot be reached now."""

    code, http_status, retryable = "unavailable", 503, True


class ServerUnreachable(AppError):
    """The command line found no server at the address."""

    code, http_status, exit_code, retryable = "server_unreachable", 503, 6, True


class TimedOut(AppError):
    """A wait came to its limit."""

    code, http_status, exit_code, retryable = "timed_out", 504, 124, True

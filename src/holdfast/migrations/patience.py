"""Outages: what may mend itself is tried again, and the migration says what it waits for."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from holdfast.kernel.errors import AppError
from holdfast.migrations.model import backoff_seconds
from holdfast.migrations.move import Cancelled, Hopeless, Report

T = TypeVar("T")
CANCEL_LOOK_SECONDS = 0.1
PROGRESS_SECONDS = 60.0
"""A try that lasted so long got on: the outage is a new one."""
_PASSING_ERRNO = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO})


async def patiently(
    report: Report,
    give_up_after_seconds: float,
    action: Callable[[], Awaitable[T]],
    *,
    cancellable: bool = True,
) -> T:
    """Do it, again and again while what stands in the way may go away.

    Raises `Hopeless` after ``give_up_after_seconds`` of one outage, `Cancelled`, and what cannot
    mend itself.
    """
    began: float | None = None
    attempt, told = 0, ""
    while True:
        tried = time.monotonic()
        try:
            result = await action()
        except (AppError, OSError) as error:
            if isinstance(error, Hopeless) or not may_pass(error):
                raise
            if began is None or time.monotonic() - tried > PROGRESS_SECONDS:
                began, attempt = time.monotonic(), 0
            attempt += 1
            words = worded(error)
            if time.monotonic() - began > give_up_after_seconds:
                raise Hopeless(f"gave up after {give_up_after_seconds:.0f} s: {words}") from error
            if words != told or attempt == 1:
                await tell(report, f"waiting: {words}")
                told = words
            await pause(report, backoff_seconds(attempt), cancellable=cancellable)
        else:
            if began is not None:
                await tell(report, None)
            return result


async def tell(report: Report, message: str | None) -> None:
    """Report a trouble; it may be the database that is waited for."""
    with suppress(AppError):
        await report.trouble(message)


async def pause(report: Report, seconds: float, *, cancellable: bool = True) -> None:
    """Sleep, but not when somebody wants the end. Raises `Cancelled`."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancellable and report.cancelled:
            raise Cancelled
        await asyncio.sleep(min(left, CANCEL_LOOK_SECONDS))


def may_pass(error: AppError | OSError) -> bool:
    """Whether time may mend it."""
    if isinstance(error, AppError):
        return error.retryable
    return isinstance(error, TimeoutError | ConnectionError) or error.errno in _PASSING_ERRNO


def worded(error: AppError | OSError) -> str:
    """What to tell of it."""
    if isinstance(error, AppError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"{error.strerror or type(error).__name__}" + (
        f": {error.filename}" if error.filename else ""
    )

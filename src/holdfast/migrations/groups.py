"""Tasks that run together, and fail as one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.kernel.errors import AppError


@asynccontextmanager
async def unwrapped() -> AsyncIterator[None]:
    """Around a task group: callers catch the first failure itself, not a group of it."""
    try:
        yield
    except* AppError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None

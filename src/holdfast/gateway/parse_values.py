"""Values of files that somebody wrote by hand may be anything."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from holdfast.kernel.errors import Invalid

_P = ParamSpec("_P")
_T = TypeVar("_T")


def told_when_unfit(read: Callable[_P, _T]) -> Callable[_P, _T]:
    """A reader that raises `Invalid` where a file or a sidecar has a value of another kind."""

    @wraps(read)
    def reader(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return read(*args, **kwargs)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise Invalid(
                f"a value does not fit: {error}",
                hint="mend it, or put the file back: holdfast config rewrite",
            ) from error

    return reader

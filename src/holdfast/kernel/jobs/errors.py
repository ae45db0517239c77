"""Failures of jobs, in forms that can be stored and read back."""

import pickle

from holdfast.kernel.errors import AppError


class JobFailed(AppError):
    """Stands for an error that could not be stored as it was; says the same."""

    code = "job_failed"

    def __init__(self, message: str, code: str = "job_failed") -> None:
        super().__init__(message)
        self.args = (message, code)
        self.stands_for = code
        """The code of the error that it replaces."""

    def __str__(self) -> str:
        return self.message


class JobGaveWay(AppError):
    """A job ended by itself because it was cancelled."""

    code = "job_gave_way"

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)


class LeaseLost(AppError):
    """The worker was declared dead; what it writes does not count any more."""

    code = "lease_lost"


def error_text(error: BaseException) -> str:
    """An error in one text: the message, with the hint when there is one."""
    if isinstance(error, AppError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return f"{type(error).__name__}: {error}"


def error_code(error: BaseException) -> str:
    """The code of one of our errors, ``unexpected`` for any other."""
    if isinstance(error, JobFailed):
        return error.stands_for
    return error.code if isinstance(error, AppError) else "unexpected"


def storable(error: Exception) -> Exception:
    """The error itself when it survives being stored, else a `JobFailed` that says the same."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - what we wrote a moment ago
    except Exception:  # noqa: BLE001 - any class may fail here in any way; then it is replaced
        return JobFailed(error_text(error), error_code(error))
    same = type(copy) is type(error) and str(copy) == str(error)
    return error if same else JobFailed(error_text(error), error_code(error))


def is_retryable(error: Exception) -> bool:
    """Whether another attempt may help: not when we know better."""
    return not isinstance(error, AppError) or error.retryable

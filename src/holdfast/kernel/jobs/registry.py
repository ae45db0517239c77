"""Marks that make functions jobs and steps, and reactions to the end of a job."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from holdfast.kernel.errors import Invalid
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.work import Work

P = ParamSpec("P")
R = TypeVar("R")
JobFunction = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """A registered job."""

    name: str
    function: JobFunction
    cancel_grace_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """How a step is run."""

    name: str
    attempts: int
    backoff_seconds: float
    max_backoff_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedJob:
    """A job that has come to its end, for those who react to it."""

    id: str
    kind: str
    args: dict[str, Any]
    state: JobState
    error: str | None
    created_by: str


class RunsSteps(Protocol):
    """What a step needs of the context it is called with."""

    async def run_step(self, spec: StepSpec, call: Callable[[], Awaitable[R]]) -> R:
        """Run ``call`` as a step of this job."""
        ...


EndHook = Callable[[Work, EndedJob], Awaitable[None]]
C = TypeVar("C", bound=RunsSteps)

_kinds: dict[str, JobKind] = {}
_end_hooks: dict[str, list[EndHook]] = {}


def job(kind: str, *, cancel_grace_seconds: float = 0.0) -> Callable[[JobFunction], JobFunction]:
    """Make ``async def f(ctx, **args)`` the job ``kind``; it must do nothing itself but call steps.

    After a restart it runs from its beginning, with finished steps answering from the record, so
    what it does between them must depend on nothing but arguments and their answers.
    ``cancel_grace_seconds``: how long it may go on after a cancel, to undo things: it sees
    ``ctx.cancelled`` and calls ``ctx.give_way()``. With 0 it is interrupted at once.
    """

    def register(function: JobFunction) -> JobFunction:
        known = _kinds.get(kind)
        if known and known.function.__qualname__ != function.__qualname__:
            raise ValueError(f"two jobs are named {kind!r}")
        _kinds[kind] = JobKind(
            name=kind, function=function, cancel_grace_seconds=cancel_grace_seconds
        )
        return function

    return register


def step(
    name: str,
    *,
    attempts: int = 1,
    backoff_seconds: float = 1.0,
    max_backoff_seconds: float = 60.0,
) -> Callable[
    [Callable[Concatenate[C, P], Awaitable[R]]], Callable[Concatenate[C, P], Awaitable[R]]
]:
    """Make ``async def f(ctx, ...)`` a step: recorded when done, run at least once, so idempotent.

    A failed attempt is followed by another after ``backoff_seconds``, doubled each time up to
    ``max_backoff_seconds``, unless it raised an ``AppError`` that is not retryable. What it gives
    back is stored: small and picklable. Called from another step it is part of that one.
    """
    spec = StepSpec(
        name=name,
        attempts=attempts,
        backoff_seconds=backoff_seconds,
        max_backoff_seconds=max_backoff_seconds,
    )

    def mark(
        function: Callable[Concatenate[C, P], Awaitable[R]],
    ) -> Callable[Concatenate[C, P], Awaitable[R]]:
        @functools.wraps(function)
        async def called(ctx: C, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return await ctx.run_step(spec, lambda: function(ctx, *args, **kwargs))

        return called

    return mark


def on_job_end(*kinds: str) -> Callable[[EndHook], EndHook]:
    """Call ``async def f(work, ended)`` when a job of these kinds ends, however it ends.

    It runs in the transaction that records the end: what it changes is kept exactly once, and it
    may submit another job. It must not wait for anything outside the database.
    """

    def register(hook: EndHook) -> EndHook:
        for kind in kinds:
            _end_hooks.setdefault(kind, []).append(hook)
        return hook

    return register


def kind_named(name: str) -> JobKind:
    """The job of that kind. Raises ``Invalid``."""
    if name not in _kinds:
        raise Invalid(f"there is no job of kind {name!r}", hint="see docs/reference/jobs.md")
    return _kinds[name]


def registered_kinds() -> list[str]:
    """Names of all jobs, sorted."""
    return sorted(_kinds)


def end_hooks(kind: str) -> list[EndHook]:
    """Who reacts to the end of this kind."""
    return _end_hooks.get(kind, [])

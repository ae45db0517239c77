"""Rules of jobs: states, overlapping locks, who is admitted, what a job needs next. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from holdfast.kernel.errors import Invalid

DEFAULT_PRIORITY = 100
"""Lower numbers go first."""


class JobState(StrEnum):
    """Where a job is; the last three are final."""

    WAITING = "waiting"
    """Not admitted yet: the cap is reached, or a job before it holds a lock it needs."""
    RUNNING = "running"
    """Admitted: it holds its locks, and a worker runs it, or will once one is free."""
    CANCELLING = "cancelling"
    """To be ended; it holds its locks until nothing of it runs any more."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE = (JobState.RUNNING, JobState.CANCELLING)
UNFINISHED = (JobState.WAITING, *ACTIVE)
FINAL = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


class StepState(StrEnum):
    """Where a step is. A step that is running and whose worker died runs again."""

    RUNNING = "running"
    RETRYING = "retrying"
    """An attempt failed; the next one follows."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Recorded(StrEnum):
    """What the engine underneath has on record about a job."""

    UNKNOWN = "unknown"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GAVE_UP = "gave up"
    """Its worker died under it too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a job asks for before it may run."""

    id: str
    seq: int
    priority: int
    locks: tuple[str, ...]


def lock_path(text: str) -> str:
    """A lock's canonical form: segments joined by ``/``. Raises ``Invalid`` when there is none."""
    segments = [segment for segment in text.split("/") if segment not in ("", ".")]
    if not segments or ".." in segments:
        raise Invalid(f"{text!r} is not a path that can be locked")
    return "/".join(segments)


def overlap(one: str, other: str) -> bool:
    """Whether two canonical paths are the same, or one lies in the other."""
    a, b = one + "/", other + "/"
    return a.startswith(b) or b.startswith(a)


def admitted(waiting: Iterable[Claim], running: Sequence[Claim], *, cap: int) -> list[str]:
    """Ids of the jobs that may start now.

    A job that waits for a lock also stands before later ones that overlap it, so that jobs on the
    same path run in their order (priority, then submission).
    """
    chosen: list[str] = []
    taken = [path for claim in running for path in claim.locks]
    free = cap - len(running)
    for claim in sorted(waiting, key=lambda claim: (claim.priority, claim.seq)):
        if free <= len(chosen):
            break
        if not any(overlap(mine, theirs) for mine in claim.locks for theirs in taken):
            chosen.append(claim.id)
        taken.extend(claim.locks)
    return chosen


class Action(StrEnum):
    """What an admitted job needs from this worker now."""

    NOTHING = "nothing"
    ENQUEUE = "enqueue"
    """Give it to the engine underneath for the first time."""
    RUN_AGAIN = "run again"
    """Give it back, from the step it failed or was cancelled in."""
    TAKE_OVER = "take over"
    """Give it back, as that of a dead worker: how it ended here could not be written down."""
    CANCEL = "cancel"
    FINISH = "finish"
    """Nothing runs any more: record its end and release its locks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """An admitted job as this worker sees it."""

    state: JobState
    launched: bool
    """Whether the engine underneath was given this attempt."""
    recorded: Recorded
    runs_here: bool
    owner_alive: bool
    owner_is_me: bool
    lost: bool = False
    """Whether it is on record as running here, and has not for a while: the disk was full."""


def next_action(job: Situation) -> Action:
    """Decide for one admitted job; the same answer may be acted on twice without harm."""
    match job.recorded:
        case Recorded.UNKNOWN:
            return Action.FINISH if job.state is JobState.CANCELLING else Action.ENQUEUE
        case Recorded.QUEUED:
            return Action.CANCEL if job.state is JobState.CANCELLING else Action.NOTHING
        case Recorded.RUNNING:
            mine = job.state is JobState.CANCELLING and job.owner_is_me
            if mine:
                return Action.CANCEL
            return Action.TAKE_OVER if job.lost else Action.NOTHING
        case Recorded.SUCCEEDED | Recorded.FAILED | Recorded.CANCELLED | Recorded.GAVE_UP:
            return _after_its_end(job)
        case _:
            assert_never(job.recorded)


def _after_its_end(job: Situation) -> Action:
    if job.runs_here or (job.owner_alive and not job.owner_is_me):
        return Action.NOTHING  # its children may be alive still; its own worker will finish it
    if job.launched or job.state is JobState.CANCELLING:
        return Action.FINISH
    return Action.RUN_AGAIN


def end_state(recorded: Recorded, *, gave_way: bool) -> JobState:
    """The final state. ``gave_way``: the job itself ended because it saw that it was cancelled."""
    match recorded:
        case Recorded.SUCCEEDED:
            return JobState.DONE
        case Recorded.FAILED | Recorded.GAVE_UP:
            return JobState.CANCELLED if gave_way else JobState.FAILED
        case Recorded.CANCELLED | Recorded.UNKNOWN:
            return JobState.CANCELLED
        case Recorded.QUEUED | Recorded.RUNNING:
            raise ValueError(f"a job that is {recorded} has no end")
        case _:
            assert_never(recorded)


def next_fire(cron: str, timezone: str, *, after: datetime) -> datetime:
    """The first moment of a schedule after ``after``. Raises ``Invalid``.

    ``cron``: five fields (minute, hour, day, month, weekday), or six with seconds in front.
    Daylight saving as in Debian's cron: a job of a skipped hour runs right after it, none twice.
    """
    try:
        return next(CronSim(cron, after.astimezone(ZoneInfo(timezone))))
    except (ZoneInfoNotFoundError, ValueError):
        raise Invalid(
            f"{timezone!r} is not a time zone", hint="use a name like Europe/Berlin"
        ) from None
    except (CronSimError, StopIteration) as error:  # the second: not within fifty years
        raise Invalid(
            f"{cron!r} is not a schedule: {error}",
            hint="minute hour day month weekday: */5 * * * *",
        ) from None

"""Rules of a live migration: stages, what each allows, when a hold may begin, what a restart does.

The protocol is specified in docs/reference/migrations.md. Nothing here waits, reads or writes.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, assert_never

from holdfast.gateway.flag_model import Flag, FlagState

DELTA_SHARE = 0.3
"""Part of the longest hold that copying the last dirty keys may be predicted to take."""
FIRST_BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 5.0
FALLBACK_SECONDS_PER_KEY = 0.02
"""Until a round was measured: a small object over a slow link."""


class Stage(StrEnum):
    """Where the protocol stands. Kept in the database before the step is taken."""

    IDLE = "idle"
    PREPARE = "prepare"
    COPY = "copy"
    CONVERGE = "converge"
    CUTOVER = "cutover"
    COMMIT = "commit"
    PROBATION = "probation"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


class Phase(StrEnum):
    """The word that the API uses for a stage."""

    PENDING = "pending"
    COPYING = "copying"
    VERIFYING = "verifying"
    SWITCHING = "switching"
    DONE = "done"
    ERROR = "error"
    CANCELLED = "cancelled"


class Mode(StrEnum):
    """What may happen to objects that are on the destination already."""

    COPY = "copy"
    """The destination must be empty, or adopted on purpose."""
    SYNC = "sync"
    """The destination may have equal copies; what differs or only it has needs to be confirmed."""


class Verify(StrEnum):
    """How equality is proved before the switch."""

    LISTING = "listing"
    """Size and ETag of every object, from two listings."""
    HASH = "hash"
    """The same, and the content of every object once more in the background."""


ACTIVE_PHASES = (Phase.PENDING, Phase.COPYING, Phase.VERIFYING, Phase.SWITCHING)
TERMINAL_PHASES = (Phase.DONE, Phase.ERROR, Phase.CANCELLED)
WAIVERS = (
    "keys",
    "region",
    "versioning",
    "object_lock",
    "policy",
    "bucket_settings",
    "acl",
    "tags",
    "tokens",
    "canary",
    "log_space",
    "ways",
)
"""Checks before the move that may be waived, by name."""


def phase_of(stage: Stage) -> Phase:
    """The wire's word for a stage."""
    match stage:
        case Stage.IDLE | Stage.PREPARE:
            return Phase.PENDING
        case Stage.COPY:
            return Phase.COPYING
        case Stage.CONVERGE:
            return Phase.VERIFYING
        case Stage.CUTOVER | Stage.COMMIT | Stage.PROBATION:
            return Phase.SWITCHING
        case Stage.DONE:
            return Phase.DONE
        case Stage.ERROR:
            return Phase.ERROR
        case Stage.CANCELLED:
            return Phase.CANCELLED
        case _:
            assert_never(stage)


def is_over(stage: Stage) -> bool:
    """Whether nothing more will happen."""
    return phase_of(stage) in TERMINAL_PHASES


def may_cancel(stage: Stage) -> bool:
    """Whether a cancel can still leave everything with the source."""
    match stage:
        case Stage.IDLE | Stage.PREPARE | Stage.COPY | Stage.CONVERGE | Stage.CUTOVER:
            return True
        case Stage.COMMIT | Stage.PROBATION | Stage.DONE | Stage.ERROR | Stage.CANCELLED:
            return False
        case _:
            assert_never(stage)


def served_by(stage: Stage) -> str:
    """``source`` or ``target``: who answers reads. In doubt (commit) the flag on disk decides."""
    match stage:
        case Stage.COMMIT | Stage.PROBATION | Stage.DONE:
            return "target"
        case (
            Stage.IDLE
            | Stage.PREPARE
            | Stage.COPY
            | Stage.CONVERGE
            | Stage.CUTOVER
            | Stage.ERROR
            | Stage.CANCELLED
        ):
            return "source"
        case _:
            assert_never(stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be chosen for one migration. Kept with it."""

    verify: Verify = Verify.LISTING
    bandwidth_bytes_per_second: float | None = None
    transfers: int = 16
    checkers: int = 8
    max_copy_passes: int = 10
    max_hold_seconds: float = 5.0
    probation_seconds: float = 2.0
    give_up_after_seconds: float = 3600.0
    """How long an outage of a part may last until the migration ends in ``error``."""
    upload_idle_seconds: float = 900.0
    """An upload begun on the source that rests for so long is taken for abandoned."""
    adopt: bool = False
    """What is on the destination may be overwritten, and deleted when the source lacks it."""
    waived: frozenset[str] = field(default_factory=frozenset)
    """Names out of ``WAIVERS``: checks that are not to stop the move."""
    admitted: bool = False
    """The checks before the move have passed: what is on the destination now is ours."""

    def to_json(self) -> str:
        """For the database."""
        return json.dumps({**asdict(self), "waived": sorted(self.waived)})

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """The inverse; names that this version does not know are left out."""
        known = {k: v for k, v in json.loads(text).items() if k in cls.__dataclass_fields__}
        values: dict[str, Any] = known | {"waived": frozenset(known.get("waived", ()))}
        if "verify" in values:
            values["verify"] = Verify(values["verify"])
        return cls(**values)


SWITCHED = "switched"


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldAttempt:
    """One try at the switch, as the API tells it."""

    number: int
    started_at: str
    seconds: float
    """How long writes waited."""
    dirty_keys: int
    """Keys that were copied while they waited."""
    pinned_uploads: int
    held_requests: int
    result: str
    """``switched``, or why it stepped back."""


def seconds_per_key(keys: int, seconds: float, before: float | None) -> float | None:
    """What replaying one key costs, as last measured.

    ``before`` when there was nothing to measure.
    """
    return seconds / keys if keys else before


def predicted_hold_seconds(dirty_keys: int, per_key: float | None) -> float:
    """How long the copy of the last keys will take while writes wait."""
    return dirty_keys * (FALLBACK_SECONDS_PER_KEY if per_key is None else per_key)


def may_hold(
    *, dirty_keys: int, per_key: float | None, max_hold_seconds: float, full_pass_owed: bool
) -> bool:
    """Whether the last round is predicted to be short enough to make writes wait for it."""
    predicted = predicted_hold_seconds(dirty_keys, per_key)
    return not full_pass_owed and predicted <= DELTA_SHARE * max_hold_seconds


def backoff_seconds(attempt: int) -> float:
    """Pause before the next try, after ``attempt`` (from 1) of them."""
    doubled: float = FIRST_BACKOFF_SECONDS * 2 ** min(max(attempt, 1) - 1, 20)
    return min(LONGEST_BACKOFF_SECONDS, doubled)


class GateAnswer(StrEnum):
    """What becomes of a request that asks at the gate."""

    GO = "go"
    WAIT = "wait"


def gate_answer(*, counter: str, draining: Collection[str], ended: bool) -> GateAnswer:
    """A request counted under a flag that is still being drained goes on: the drain waits for it.

    Every other one waits for the end of the hold; then nginx reads the flag again.
    """
    return GateAnswer.GO if ended or counter in draining else GateAnswer.WAIT


class Recovery(StrEnum):
    """What the process that takes a migration over does first."""

    START = "start"
    """No flag of a migration: begin, or begin again."""
    FULL_PASS = "full_pass"  # noqa: S105 - no password
    """Take an open hold back, fence the old copier, compare everything."""
    MEND = "mend"
    """Some vhosts were past the point of no return: bring the others after them."""
    FORWARD = "forward"
    """Both sides were proved equal: let go on the destination."""
    PROBATION = "probation"
    """The destination serves: go on watching."""
    FINISH = "finish"
    """Only the record is missing."""


def recovery_of(flags: Iterable[Flag | None], *, source: str, destination: str) -> Recovery:
    """What to do for these flags, one a vhost. ``source`` and ``destination`` are pool aliases."""
    kinds = {_kind_of(flag, source=source, destination=destination) for flag in flags}
    if not kinds or kinds == {Recovery.START}:
        return Recovery.START
    if kinds <= {Recovery.START, Recovery.FULL_PASS}:
        return Recovery.FULL_PASS
    if kinds & {Recovery.START, Recovery.FULL_PASS}:
        return Recovery.MEND
    if kinds == {Recovery.FINISH}:
        return Recovery.FINISH
    return Recovery.FORWARD if Recovery.FORWARD in kinds else Recovery.PROBATION


def contradicts(todo: Recovery, reached: Stage) -> bool:
    """Whether going on by the flags would copy old content over what clients wrote since.

    The destination is recorded as serving only after its flags were set, so these never go back.
    """
    from_start = todo in {Recovery.START, Recovery.FULL_PASS}
    return from_start and served_by(reached) == "target"


def _kind_of(flag: Flag | None, *, source: str, destination: str) -> Recovery:
    if flag is None:
        return Recovery.START
    match flag.state:
        case FlagState.STATIC:
            moved = flag.pool_alias == destination and source != destination
            return Recovery.FINISH if moved else Recovery.START
        case FlagState.SRC | FlagState.HOLD:
            return Recovery.FULL_PASS
        case FlagState.HOLDD:
            return Recovery.FORWARD
        case FlagState.DST:
            return Recovery.PROBATION
        case _:
            assert_never(flag.state)


def probation_is_over(
    *, had_pins: bool, live: int, quiet_seconds: float, wanted_seconds: float
) -> bool:
    """Whether nothing needs the source any more.

    Without uploads that were begun on the source there is nothing to wait for. With some, clients
    get ``wanted_seconds`` after the last one to repeat a Complete whose answer they lost.
    """
    return not had_pins or (not live and quiet_seconds >= wanted_seconds)


SECONDS_PER_OBJECT = 0.02
"""One GET and one PUT of a small object on an ordinary network."""
BYTES_PER_SECOND = 100e6
"""One gigabit link, when no limit is set."""


def estimated_seconds(
    *, objects: int, size_bytes: int, transfers: int, limit: float | None
) -> float:
    """A rough guess of how long the copy takes."""
    by_objects = objects * SECONDS_PER_OBJECT / max(transfers, 1)
    by_bytes = size_bytes / min(BYTES_PER_SECOND, limit or BYTES_PER_SECOND)
    return round(max(by_objects, by_bytes), 1)

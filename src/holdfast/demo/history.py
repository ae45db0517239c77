"""What a reader may see: the rule by which every answer of a store is judged.

Each key has one writer, whose operations follow one another. A read is right when it shows the last
operation that had ended before it began, or one that was under way while it ran (linearizability of
a register with one writer: Herlihy and Wing, "Linearizability", 1990).
"""

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum

ABSENT = 0
"""The version of a key that is not there."""


class Fault(StrEnum):
    """What no client may ever see."""

    FAILED = "failed requests"
    STALE = "stale reads"
    LOST = "lost objects"
    RESURRECTED = "resurrected objects"
    LISTING = "wrong listings"


@dataclass(slots=True)
class Operation:
    """One write or delete. ``ended`` is None while it runs, or when nobody knows if it was done."""

    version: int
    started: float
    ended: float | None = None
    etag: str | None = None


@dataclass(slots=True)
class History:
    """All operations on all keys, in the order in which their one writer made them."""

    operations: dict[str, list[Operation]] = field(default_factory=lambda: defaultdict(list))

    def begin(self, key: str, version: int, moment: float) -> Operation:
        """Note that an operation starts; ``ABSENT`` is a delete."""
        operation = Operation(version, moment)
        self.operations[key].append(operation)
        return operation

    def allowed(self, key: str, read_started: float, read_ended: float) -> list[Operation]:
        """What a read between these moments may show."""
        allowed = [Operation(ABSENT, 0.0, 0.0)]
        for operation in self.operations[key]:
            if operation.ended is not None and operation.ended <= read_started:
                allowed = [operation]
            elif operation.started < read_ended:
                allowed.append(operation)
        return allowed

    def judge(self, key: str, seen: int, read_started: float, read_ended: float) -> Fault | None:
        """What is wrong with a read that showed this version; None when it is right."""
        allowed = {operation.version for operation in self.allowed(key, read_started, read_ended)}
        if seen in allowed:
            return None
        if seen == ABSENT:
            return Fault.LOST
        return Fault.RESURRECTED if allowed == {ABSENT} else Fault.STALE

    def judge_listing(
        self, listed: dict[str, str], read_started: float, read_ended: float, prefix: str
    ) -> list[str]:
        """Keys that this listing (key to ETag) has wrongly: missing, extra, or with an old ETag."""
        return [
            key
            for key in self.operations
            if key.startswith(prefix)
            and not self._listed_rightly(key, listed.get(key), read_started, read_ended)
        ]

    def _listed_rightly(
        self, key: str, etag: str | None, read_started: float, read_ended: float
    ) -> bool:
        allowed = self.allowed(key, read_started, read_ended)
        if len(allowed) > 1:
            return True  # something was under way: any of them may show
        only = allowed[0]
        if only.version == ABSENT or etag is None:
            return (only.version == ABSENT) == (etag is None)
        return only.etag is None or etag == only.etag

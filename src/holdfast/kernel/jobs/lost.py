"""Jobs whose end could not be written down: when they are given in again."""

import math
import time
from collections.abc import Collection, Iterable

LONGEST_WAIT_SECONDS = 3600.0


class LostJobs:
    """Jobs on record as running here that do not, and when each is to be given in again.

    Each time a job waits twice as long: what keeps its end from being written may never go away.
    """

    def __init__(self, wait_seconds: float) -> None:
        """``wait_seconds``: how long its end may yet be written, the first time."""
        self._wait_seconds = wait_seconds
        self._since: dict[str, float] = {}
        """By the monotonic clock."""
        self._waits: dict[str, float] = {}
        """How long those wait that were given in again before."""

    def seen(self, lost: Iterable[str], active: Collection[str]) -> None:
        """Take note of those that are lost now, and forget those that are not active any more."""
        moment = time.monotonic()
        self._since = {job_id: self._since.get(job_id, moment) for job_id in lost}
        self._waits = {job_id: wait for job_id, wait in self._waits.items() if job_id in active}

    def is_due(self, job_id: str) -> bool:
        """Whether it has been lost for long enough."""
        return time.monotonic() - self._since.get(job_id, math.inf) >= self._wait_of(job_id)

    def given_in(self, job_id: str) -> None:
        """It was given in again; until its new run begins here, it looks as lost as before."""
        self._since.pop(job_id, None)
        self._waits[job_id] = min(2 * self._wait_of(job_id), LONGEST_WAIT_SECONDS)

    def _wait_of(self, job_id: str) -> float:
        return self._waits.get(job_id, self._wait_seconds)

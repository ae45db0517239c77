"""How fast something goes, and when it will be there: from its last seconds, not from its whole."""

from collections import deque

WINDOW_SECONDS = 15.0
SHORTEST_SECONDS = 1.0
"""Two measures that are closer than this say nothing about a rate."""


class Pace:
    """Measures of one growing number."""

    def __init__(self) -> None:
        self._measures: deque[tuple[float, int]] = deque()

    def add(self, moment_seconds: float, done: int) -> None:
        """``done`` at this moment of a clock that never goes back; less than before: a new count.

        Where it stood still before the window began counts as the window's begin.
        """
        measures = self._measures
        if measures and done < measures[-1][1]:
            measures.clear()
        measures.append((moment_seconds, done))
        while len(measures) > 2 and measures[1][0] <= moment_seconds - WINDOW_SECONDS:  # noqa: PLR2004 - the ends
            measures.popleft()

    @property
    def per_second(self) -> float | None:
        """The rate; None while too little is known."""
        if len(self._measures) < 2:  # noqa: PLR2004 - two measures make a rate
            return None
        (began, first), (ended, last) = self._measures[0], self._measures[-1]
        span = ended - began
        return round((last - first) / span, 2) if span >= SHORTEST_SECONDS else None

    def eta_seconds(self, total: int | None) -> float | None:
        """Seconds until ``total`` at this rate; None: unknown, or it stands still."""
        rate = self.per_second
        if total is None or not self._measures:
            return None
        left = total - self._measures[-1][1]
        if left <= 0:
            return 0.0
        return round(left / rate, 1) if rate else None

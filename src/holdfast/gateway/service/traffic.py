"""What nginx has to do now: requests a second and connections, as it counts them itself."""

import re
import time
from dataclasses import dataclass

from holdfast.gateway.context import Gateway
from holdfast.kernel.nginx import control_status

_CONNECTIONS = re.compile(r"Active connections: (\d+)")
_COUNTERS = re.compile(r"^ (\d+) (\d+) (\d+) *$", re.MULTILINE)
_OK = 200
SHORTEST_SPAN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """``requests_per_second`` is None at the first look, and after nginx began to count anew."""

    connections: int
    requests_per_second: float | None


@dataclass(slots=True)
class TrafficMeter:
    """Remembers the last look; one a process."""

    _since: float = 0.0
    _requests: int = 0
    requests_per_second: float | None = None

    async def look(self, gateway: Gateway) -> Traffic | None:
        """None when nginx does not run, or was built without ``stub_status``."""
        status, text = await control_status(gateway.nginx.control_port, "/status")
        found = parse_status(text)
        if status != _OK or found is None:
            return None
        connections, requests = found
        self.count(requests, time.monotonic())
        return Traffic(connections, self.requests_per_second)

    def count(self, requests: int, now: float) -> None:
        """A look at ``now`` (seconds, monotonic) that found so many requests since the start."""
        span = now - self._since
        if requests < self._requests:
            self.requests_per_second = None
        elif self._since and span >= SHORTEST_SPAN_SECONDS:
            self.requests_per_second = (requests - self._requests) / span
        elif self._since:
            return
        self._since, self._requests = now, requests


def parse_status(text: str) -> tuple[int, int] | None:
    """Connections and requests so far, of ``stub_status``."""
    active, counted = _CONNECTIONS.search(text), _COUNTERS.search(text)
    return (int(active[1]), int(counted[3])) if active and counted else None

"""What nginx has to do now: requests a second and connections, as it counts them itself."""

import asyncio
import re
import time
from dataclasses import dataclass

from holdfast.gateway.context import Gateway
from holdfast.kernel.nginx import control_status

_CONNECTIONS = re.compile(r"Active connections: (\d+)")
_COUNTERS = re.compile(r"^ (\d+) (\d+) (\d+) *$", re.MULTILINE)
_OK = 200
SHORTEST_SPAN_SECONDS = 5.0
LONGEST_SPAN_SECONDS = 60.0
"""A look that is older tells nothing of now."""
FIRST_SPAN_SECONDS = 0.3
"""Between the two looks of somebody who comes first, or after a while."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """``requests_per_second``: of the last seconds; None: nginx began to count anew meanwhile."""

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
        found = await _counters(gateway)
        if found is None:
            return None
        if not self._since or time.monotonic() - self._since > LONGEST_SPAN_SECONDS:
            return await self._look_twice(gateway, found[1])
        self.count(found[1], time.monotonic())
        return Traffic(found[0], self.requests_per_second)

    async def _look_twice(self, gateway: Gateway, before: int) -> Traffic | None:
        began = time.monotonic()
        await asyncio.sleep(FIRST_SPAN_SECONDS)
        found = await _counters(gateway)
        if found is None:
            return None
        others = found[1] - before - 1  # one request is this look
        rate = others / (time.monotonic() - began) if others >= 0 else None
        self._since, self._requests, self.requests_per_second = time.monotonic(), found[1], rate
        return Traffic(found[0], rate)

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


async def _counters(gateway: Gateway) -> tuple[int, int] | None:
    status, text = await control_status(gateway.nginx.control_port, "/status")
    return parse_status(text) if status == _OK else None


def parse_status(text: str) -> tuple[int, int] | None:
    """Connections and requests so far, of ``stub_status``."""
    active, counted = _CONNECTIONS.search(text), _COUNTERS.search(text)
    return (int(active[1]), int(counted[3])) if active and counted else None

"""A limit on bytes a second, shared by all transfers of a migration."""

import asyncio

BURST_SECONDS = 0.25
"""Unused time that may be caught up: small objects need not wait for the timer."""


class TokenBucket:
    """Lets ``bytes_per_second`` through; a large piece passes whole and is paid for afterwards."""

    def __init__(self, bytes_per_second: float) -> None:
        if bytes_per_second <= 0:
            raise ValueError("a bandwidth limit is positive; no limit is no bucket")
        self._bytes_per_second = bytes_per_second
        self._paid_until = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until ``size_bytes`` may be sent."""
        now = asyncio.get_running_loop().time()
        start = max(self._paid_until, now - BURST_SECONDS)
        self._paid_until = start + size_bytes / self._bytes_per_second
        if self._paid_until > now:
            await asyncio.sleep(self._paid_until - now)

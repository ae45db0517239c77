"""Loopback ports for the programs that tests start."""

import random
import socket

RANGE = range(20_000, 32_000)
"""Below the range that the kernel hands out to outgoing connections (32768-60999), so that none of
those can take a port between our looking and the program's binding."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on now."""
    while True:
        port = random.SystemRandom().choice(RANGE)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

"""Ports: whether one is free, and a loopback one for a program that starts later."""

import secrets
import socket
from contextlib import suppress
from itertools import chain

from holdfast.kernel.errors import Unavailable

RANGE = range(20_000, 32_000)
"""Below the range that Linux gives to outgoing connections (32768-60999 as installed): none of
those can take a port between our looking and the program's binding."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on now. Raises ``Unavailable`` when there is none."""
    begin = secrets.randbelow(len(RANGE))  # to shuffle them all takes 11 ms
    for port in chain(RANGE[begin:], RANGE[:begin]):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise Unavailable(f"no loopback port is free from {RANGE.start} to {RANGE.stop - 1}")


def check_free(host: str, port: int) -> None:
    """Raises ``Unavailable`` when nobody can listen there, naming the port and why."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"port {port} of {host} cannot be listened on: {error.strerror}",
                hint="does another program listen there? see: holdfast config show",
            ) from None

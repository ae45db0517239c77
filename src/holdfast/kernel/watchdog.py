"""Ends process groups whose owner died or froze. A program of its own, on the standard library.

It reads lines on stdin: ``+<group>`` and ``-<group>`` say which process groups the owner has, ``.``
is a sign of life. End of file (the owner is gone), or silence for longer than the limit (the owner
is stopped, while another process may have taken over its work): every group left is killed.
`guard.py` starts one for each owner.
"""

import contextlib
import os
import select
import signal
import sys

READ_BYTES = 65536


def kill_group(group: int) -> None:
    """SIGKILL to a whole process group; one that is gone already is fine."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def apply(line: bytes, groups: set[int]) -> None:
    """Take one line of the owner into ``groups``."""
    if line.startswith(b"+"):
        groups.add(int(line[1:]))
    elif line.startswith(b"-"):
        groups.discard(int(line[1:]))


def watch(descriptor: int, silence_seconds: float) -> None:
    """Follow the owner until it closes its end."""
    groups: set[int] = set()
    rest = b""
    while True:
        readable, _, _ = select.select([descriptor], [], [], silence_seconds)
        received = os.read(descriptor, READ_BYTES) if readable else None
        if not received:
            for group in groups:
                kill_group(group)
            groups.clear()
            if readable:
                return
            continue
        *lines, rest = (rest + received).split(b"\n")
        for line in lines:
            apply(line, groups)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    watch(sys.stdin.fileno(), float(sys.argv[1]))

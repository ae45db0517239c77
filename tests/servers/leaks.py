"""Which processes did a test run leave behind?"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

GRACE_SECONDS = 5.0
NOT_OURS = (
    "multiprocessing.resource_tracker",
    "multiprocessing.forkserver",
    "holdfast/kernel/watchdog.py",
)
"""Helpers of Python and of the kernel, which end with the interpreter."""


def left_behind(directory: Path, *, grace_seconds: float = GRACE_SECONDS) -> list[str]:
    """Processes that are still there when all tests are over; an empty list is what we want.

    These are the descendants of this process, and every process that works in ``directory`` (the
    temporary directory of the run) or names it in its arguments: those were ours too, and lost
    their parent. They get ``grace_seconds`` to end.
    """
    deadline = time.monotonic() + grace_seconds
    while found := list(_ours(directory)):
        if time.monotonic() > deadline:
            return found
        time.sleep(0.05)
    return []


def _ours(directory: Path) -> Iterator[str]:
    parents = _parents()
    for pid in parents:
        try:
            command = (
                Path(f"/proc/{pid}/cmdline")
                .read_bytes()
                .replace(b"\0", b" ")
                .decode(errors="replace")
            )
            works_in = str(Path(f"/proc/{pid}/cwd").readlink())
        except OSError:
            continue  # ended while we looked
        named = str(directory) in command or Path(works_in).is_relative_to(directory)
        if pid == os.getpid() or not command or any(word in command for word in NOT_OURS):
            continue
        if named or os.getpid() in _ancestors(pid, parents):
            yield f"{pid} {command.strip()}"


def _parents() -> dict[int, int]:
    """Every process and its parent, without zombies: only their exit status is left."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.name)] = int(parent)
    return parents


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    seen: set[int] = set()
    while (pid := parents.get(pid, 0)) and pid not in seen:
        seen.add(pid)
    return seen

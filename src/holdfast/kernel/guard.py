"""Our end of `watchdog.py`: tells it which process groups we have, and that we live."""

import atexit
import contextlib
import functools
import os
import subprocess  # noqa: TID251 - part of the one place, process.py
import sys
import threading
from pathlib import Path

from holdfast.kernel import watchdog

FROZEN_AFTER_SECONDS = 6.0
"""An owner that gave no sign of life for so long counts as frozen, and its programs are killed."""
BEAT_SECONDS = 1.0
LAST_WAIT_SECONDS = 5.0


class Guard:
    """The watchdog of this process: started with the first group, again when it was killed."""

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._popen: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()
        # A thread, not a task: a busy event loop is not a frozen process.
        self._beats = threading.Thread(target=self._beat, name="holdfast-watchdog", daemon=True)
        self._beats.start()
        atexit.register(self.close)

    def watch(self, group: int) -> None:
        """From now on the group dies with us."""
        with self._lock:
            self._groups.add(group)
            self._send(b"+%d\n" % group)

    def forget(self, group: int) -> None:
        """The group is gone."""
        with self._lock:
            self._groups.discard(group)
            self._send(b"-%d\n" % group)

    def close(self) -> None:
        """Let go of the watchdog, which kills what we still have."""
        self._closed.set()
        self._beats.join()
        with self._lock:
            if self._popen is not None:
                self._let_go(self._popen)

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            with self._lock:
                if self._popen is not None:
                    self._send(b".\n")

    def _send(self, line: bytes) -> None:
        if self._popen is None or self._popen.poll() is not None:
            self._start()
        elif self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # just died: the next beat starts another
                os.write(self._popen.stdin.fileno(), line)

    def _start(self) -> None:
        if self._popen is not None:
            self._let_go(self._popen)
        self._popen = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", str(Path(watchdog.__file__)), str(FROZEN_AFTER_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            bufsize=0,
            start_new_session=True,
        )
        if self._popen.stdin is not None:
            for group in self._groups:
                os.write(self._popen.stdin.fileno(), b"+%d\n" % group)

    @staticmethod
    def _let_go(popen: subprocess.Popen[bytes]) -> None:
        if popen.stdin is not None:
            popen.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(LAST_WAIT_SECONDS)


def guard() -> Guard:
    """The one of this process; a process made by fork gets its own."""
    return _guard_of(os.getpid())


@functools.lru_cache(maxsize=1)
def _guard_of(_pid: int) -> Guard:
    return Guard()

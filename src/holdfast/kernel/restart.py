"""The server's way to end in order and begin again with new settings."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Restarter:
    """Registered by the process that can restart itself; ``stop`` ends it in order."""

    stop: Callable[[], None]
    asked: bool = False

    def ask(self) -> None:
        """End this process, then begin again."""
        self.asked = True
        self.stop()


def begin_again() -> None:
    """Replace this process by a new one with the same arguments and environment."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves

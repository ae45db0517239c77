"""Why a running nginx did not take its files: its master says so in the error log, and goes on."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

_RETRIED = "bind() to "
"""nginx tries five times to bind an address, half a second apart, and complains each time."""


class Complaints:
    """What a master complains of from now on; nothing when its log cannot be read by us."""

    def __init__(self, logs: Sequence[Path], master: int) -> None:
        """``logs``: where the main file sends errors; ``master``: its process id."""
        self._from = {path: _size(path) for path in logs}
        self._rest = dict.fromkeys(logs, b"")
        self._line = re.compile(rf"^\S+ \S+ \[emerg\] {master}#\d+: (.*)$", re.MULTILINE)
        self._words: dict[str, None] = {}

    def given_up(self) -> str:
        """Why nginx goes on with what it had; empty while it may still take the new files."""
        for path in self._from:
            self._words |= dict.fromkeys(self._line.findall(self._news(path)))
        final = any(not word.startswith(_RETRIED) for word in self._words)
        return "\n".join(self._words) if final else ""

    def _news(self, path: Path) -> str:
        """The whole lines that came since the last look."""
        with contextlib.suppress(OSError), path.open("rb") as file:
            if self._from[path] > file.seek(0, 2):  # another file is there now, or it was emptied
                self._from[path] = 0
            file.seek(self._from[path])
            new = file.read()
            self._from[path] += len(new)
            lines, _, self._rest[path] = (self._rest[path] + new).rpartition(b"\n")
            return lines.decode(errors="replace")
        return ""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

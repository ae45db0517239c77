"""One ``rclone copy`` that fetches files into a folder of ours: its words, how it ends.

Content lies under a name of its own until it is whole. Secrets go in by environment. A symlink
comes as a file with what it leads to: rclone makes none, and so follows none.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.kernel.child import ProcessFailed, ProgramMissing
from holdfast.kernel.logging import get_logger
from holdfast.kernel.process import run
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_daemon import find_rclone, rclone_environment
from holdfast.kernel.stores.rclone_words import (
    IN_LOG,
    LOG_IN_JSON,
    RcloneFailed,
    from_log,
    is_problem,
    is_unreachable,
    rclone_failure,
    reason_of,
)
from holdfast.tiers.model import STAGING, Skip

LONGEST_SECONDS = 90 * 86_400.0
"""rclone itself ends what stands still; this bounds a transfer that goes on."""
LOW_LEVEL_TRIES = 5
"""Of one request; a store that is away is noticed in seconds, and a job tries again later."""
TRANSFERS = 8
"""Small files wait for the way there and back; some servers allow ten connections, and no more."""
STATS_INTERVAL = "500ms"
KEPT_PROBLEMS = 10_000
AWAY_SECONDS = 60.0
"""So long after a store was not there for a file, and nothing came since, rclone is ended: it would
try each file that is left several times, which takes hours."""
_HERE = {"RCLONE_CONFIG_HERE_TYPE": "local"}
_MOVES = ("bytes", "checks", "listed")
"""Of rclone's figures those that grow while a store answers."""
_NO_ROOM = ("no space left", "remaining disk space", "disk quota exceeded")
_FORBIDDEN = ("permission denied", "operation not permitted", "read-only file system")
_GONE = re.compile(r"object not found|no such file|file does not exist|\b404\b")

log = get_logger(__name__)
OnStats = Callable[[int, int], None]
"""Called with bytes and files moved so far."""


class _StoreAway(Exception):
    """Ends rclone."""


@dataclass(slots=True)
class Ended:
    """How a transfer went."""

    status: int | None = None
    """rclone's; None when it was killed."""
    last: str = ""
    """The last problem that it told."""
    problems: dict[str, str] = field(default_factory=dict)
    """By file, as rclone names it."""
    away_since: float | None = None
    """When the store was first not there for a file, by the monotonic clock; None: it is there."""

    def hear(self, said: dict[str, Any], hide: Callable[[str], str]) -> None:
        """Keep a problem."""
        if not is_problem(said):
            return
        text = hide(str(said.get("msg", ""))).removeprefix("Failed to copy: ")
        name = said.get("object")
        if not text.startswith("Attempt "):
            self.last = text
            if self.away_since is None and is_unreachable(text):
                self.away_since = time.monotonic()
            if name and said.get("objectType") != "string" and len(self.problems) < KEPT_PROBLEMS:
                self.problems[str(name)] = text

    def problem_of(self, stored_as: bytes) -> str:
        """What was told of one file; empty: nothing."""
        return self.problems.get(stored_as.decode("utf-8", "replace"), "")


def together(ends: Iterable[Ended]) -> Ended:
    """How transfers went, one after the other."""
    whole = Ended(status=0)
    for one in ends:
        whole.status = None if one.status is None else (whole.status or one.status)
        whole.last = one.last or whole.last
        whole.problems |= one.problems
    return whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to fetch."""

    names: Path
    """A file of the store's names, one a line."""
    listed: bool = False
    """The store's folders are listed, instead of asking for each name by itself."""

    def words(self) -> list[str]:
        """As rclone takes it."""
        words = ["--files-from-raw", str(self.names)]
        return words if self.listed else [*words, "--no-traverse"]


async def fetch(
    services: Services,
    place: Place,
    to: str,
    choice: Choice,
    *,
    bytes_per_second: int | None,
    on_stats: OnStats,
) -> Ended:
    """Fetch what is chosen and not in the folder ``to``; what failed is told in the answer.

    Raises ``ProgramMissing``, or what the remote's options are refused for. Cancelled, it ends
    rclone at once.
    """
    daemon = services.get(RcloneHub).daemon
    await daemon.call("rc/noop", {}, remotes=(place.remote,))  # obscures the passwords
    ended = Ended()

    def hide(text: str) -> str:
        return place.remote.hide(text).replace(to, STAGING)

    seen: list[int] = []

    def hear(line: str) -> None:
        nonlocal seen
        said = from_log(line)
        if "stats" not in said:
            ended.hear(said, hide)
            return
        stats = said["stats"]
        on_stats(int(stats.get("bytes", 0)), int(stats.get("transfers", 0)))
        now = [int(stats.get(name, 0)) for name in _MOVES]
        if now != seen:
            seen, ended.away_since = now, None
        elif ended.away_since and time.monotonic() - ended.away_since >= AWAY_SECONDS:
            raise _StoreAway

    environment = rclone_environment(daemon.directory) | place.remote.environment() | _HERE
    try:
        done = await run(
            _words(place, to, choice, bytes_per_second),
            timeout_seconds=LONGEST_SECONDS,
            accept=frozenset(range(256)),
            env=environment,
            cwd=daemon.directory,
            on_error_line=hear,
        )
    except ProgramMissing:
        raise
    except _StoreAway:
        ended.status = 1
        return ended
    except ProcessFailed as error:
        ended.last = ended.last or f"rclone was ended: {error.returncode}"
        return ended
    ended.status = done.returncode
    return ended


def _words(place: Place, to: str, choice: Choice, bytes_per_second: int | None) -> list[str]:
    words = [find_rclone(), "copy", "--config=", "--ignore-existing", "--retries=1"]
    words += [f"--low-level-retries={LOW_LEVEL_TRIES}", f"--transfers={TRANSFERS}"]
    words += ["--no-update-dir-modtime", LOG_IN_JSON]
    words += [f"--stats={STATS_INTERVAL}", "--stats-log-level=NOTICE"]
    words += [f"--bwlimit={bytes_per_second}B"] if bytes_per_second else []
    return [*words, *choice.words(), "--", f"hf:{place.remote.root}", f"here:{to}"]


def bytes_a_second(limit: str) -> int | None:
    """A bandwidth of the settings in bytes; None: no limit."""
    if not limit:
        return None
    unit = {"K": 1024, "M": 1024**2, "G": 1024**3}.get(limit[-1].upper())
    return int(float(limit[:-1]) * unit if unit else float(limit)) or None


def no_room(problem: str) -> bool:
    """Whether the disk was full."""
    return any(words in problem.lower() for words in _NO_ROOM)


def lasting(problem: str) -> Skip | None:
    """Why trying again would not help; None: it may."""
    text = problem.lower()
    if is_unreachable(text):
        return None
    if any(words in text for words in _FORBIDDEN):
        return Skip.NOT_PERMITTED
    return Skip.MISSING_ON_STORE if _GONE.search(text) else None


def failed(place: Place, ended: Ended) -> RcloneFailed:
    """The error of a transfer that did not bring everything."""
    log.warning("a pull did not fetch everything", store=place.name, rclone=ended.last)
    return rclone_failure(
        ended.last,
        f"not everything could be fetched from the store {place.name!r}",
        hint=f"what arrived is kept: pull again for the rest; {IN_LOG}",
    )


def spoken(problem: str) -> str:
    """A problem that rclone told, in words for those who may not see what a server answered."""
    return reason_of(problem)[0] or (IN_LOG if problem else "")

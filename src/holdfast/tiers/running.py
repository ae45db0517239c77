"""What the work on a tier's files needs: the run it belongs to, what it tells, its threads."""

import asyncio
import json
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO, TypeVar

from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.stores.place import Place
from holdfast.tiers import asking
from holdfast.tiers.model import Skip, Tier
from holdfast.tiers.names import to_text

R = TypeVar("R")
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A job at work on a tier."""

    ctx: JobContext
    tier: Tier
    places: tuple[Place, ...]
    """Each must prove; the first is where pulls come from."""
    work: Path
    """A folder for listings, removed when the job has ended."""
    report: Path
    """What became of each file, as lines of JSON; added to."""
    ask: asking.Ask = asking.ask_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done, and what was left, by reason: files and bytes."""

    files: int = 0
    size_bytes: int = 0
    skipped: dict[Skip, tuple[int, int]] = field(default_factory=dict)


class Tally:
    """Counts what is done and what stays, and tells each in the run's report."""

    def __init__(self, report: TextIO) -> None:
        self._report = report
        self.files = 0
        self.size_bytes = 0
        self._skipped: dict[Skip, list[int]] = {}

    def done(self, path: bytes, size_bytes: int, what: str, detail: str = "") -> None:
        """One more file."""
        self.files += 1
        self.size_bytes += size_bytes
        self.tell(path, size_bytes, what, detail)

    def stays(self, path: bytes, size_bytes: int, reason: Skip, detail: str = "") -> None:
        """One that was left as it is."""
        self.count(reason, 1, size_bytes)
        self.tell(path, size_bytes, "stays", f"{reason}: {detail}" if detail else str(reason))

    def count(self, reason: Skip, files: int, size_bytes: int) -> None:
        """Files that are not told one by one."""
        if files:
            counted = self._skipped.setdefault(reason, [0, 0])
            counted[0] += files
            counted[1] += size_bytes

    def tell(self, path: bytes, size_bytes: int, what: str, reason: str) -> None:
        """A line of the report."""
        line = {"path": to_text(path), "bytes": size_bytes, "what": what, "reason": reason}
        self._report.write(json.dumps(line, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """What was told is in the file, whatever becomes of this process."""
        self._report.flush()

    def outcome(self) -> Outcome:
        """All of it."""
        skipped = {reason: (files, size) for reason, (files, size) in self._skipped.items()}
        return Outcome(files=self.files, size_bytes=self.size_bytes, skipped=skipped)


@contextmanager
def tallying(path: Path) -> Iterator[Tally]:
    """A tally that adds to the report at ``path``."""
    _cut_half_line(path)
    with path.open("a", encoding="utf-8") as report:
        yield Tally(report)


def _cut_half_line(path: Path) -> None:
    """What a process that was killed, or a full disk, has left at the end of a report."""
    if not path.exists():
        return
    with path.open("r+b") as report:
        end = report.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - PIECE_BYTES)
            report.seek(start)
            found = report.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        report.truncate(end)


class Stop:
    """Tells a thread that nobody waits for its work any more."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def now(self) -> None:
        """End what looks at this."""
        self._event.set()


async def in_threads(calls: Iterable[Callable[[Stop], R]]) -> list[R]:
    """Call each in a thread of its own, and wait for all, also when cancelled: then they stop.

    What a thread has begun is thus never left running behind the back of the journal.
    """
    stop = Stop()
    waiting = [asyncio.ensure_future(asyncio.to_thread(call, stop)) for call in calls]
    together = asyncio.gather(*waiting, return_exceptions=True)
    await to_the_end(together, on_cancel=stop.now)
    return [task.result() for task in waiting]


async def to_the_end(call: Awaitable[R], on_cancel: Callable[[], None] = lambda: None) -> R:
    """Wait for something that must not be left half done, also when cancelled meanwhile."""
    task = asyncio.ensure_future(call)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            on_cancel()
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()


def block_of(items: Iterator[R], size: int) -> list[R]:
    """The next items, at most ``size``."""
    return list(islice(items, size))

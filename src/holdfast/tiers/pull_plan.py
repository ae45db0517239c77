"""What a pull would bring in: what a store has and a tree has not; what differs stays, and is told.

A plan is a folder: ``fetch`` has a record a file (as in `merge`; its rest is the store's name of
it), there only when the plan is whole.
"""

import errno
import hashlib
import os
import pickle
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import IO, NamedTuple

from holdfast.tiers.filters import Filters
from holdfast.tiers.merge import REST_MARK, SIZE_MARK, Listed, read_listing
from holdfast.tiers.model import Candidate, Skip, is_own
from holdfast.tiers.present import (
    Present,
    absolute,
    at_home,
    read_present,
    read_records,
)
from holdfast.tiers.running import Stop, Tally

FETCH = "fetch"
DOUBTS = "doubts"
Doubt = tuple[Candidate, Listed, str]
"""A file on both sides with the same size, and what seems to differ."""
CHECK_EACH = 1000
_IN_THE_WAY = {
    modes.S_IFREG: "a file is in the way",
    modes.S_IFLNK: "a symlink is in the way",
    modes.S_IFDIR: "a folder is in the way",
}
Problem = tuple[Skip, str]
"""Why a file cannot be made."""
_MISSING: Problem = (Skip.GONE, "")
"""Nothing is there: a folder can be made."""
_REASONS = {
    errno.EACCES: Skip.NOT_PERMITTED,
    errno.EPERM: Skip.NOT_PERMITTED,
    errno.ENAMETOOLONG: Skip.NO_NAME,
}
MD5_DIGITS = 32
LONGEST_NAME = 255
SAME_TIME_NS = 2_000_000_000
"""Some stores keep whole seconds, or every other one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to be fetched. ``path``: with the suffix of a symlink."""

    path: bytes
    size_bytes: int
    stored_as: bytes

    def record(self) -> bytes:
        """As kept in a plan."""
        return b"%b//%d//:%b\0" % (self.path, self.size_bytes, self.stored_as)


@dataclass(slots=True)
class Counter:
    """Files that are counted one by one."""

    files: int = 0
    size_bytes: int = 0

    def add(self, size_bytes: int) -> None:
        """One more."""
        self.files += 1
        self.size_bytes += size_bytes


@dataclass(slots=True)
class Plan:
    """What a plan found, counted."""

    listed: Counter = field(default_factory=Counter)
    """On the store, below the asked paths."""
    present: Counter = field(default_factory=Counter)
    fetch: Counter = field(default_factory=Counter)
    room_bytes: int = 0
    """What the files to fetch take on the disk."""


def read_wanted(path: Path) -> Iterator[Wanted]:
    """The files of a plan, or of what is left of one."""
    for record in read_records(path):
        key, _, stored_as = record.rpartition(REST_MARK)
        name, _, size = key.rpartition(SIZE_MARK)
        yield Wanted(name, int(size), stored_as)


def joined(
    present: Iterator[Present], listed: Iterator[Listed]
) -> Iterator[tuple[Present | None, Listed | None]]:
    """Both sides in their order; the same path comes as one pair, a repeated one alone."""
    one, two = next(present, None), next(listed, None)
    while one is not None or two is not None:
        here = one.path + SIZE_MARK if one is not None else None
        there = two.path + SIZE_MARK if two is not None else None
        mine = here is not None and (there is None or here <= there)
        other = there is not None and (here is None or there <= here)
        yield (one if mine else None), (two if other else None)
        one = next(present, None) if mine else one
        two = next(listed, None) if other else two


class Planner:
    """Makes one plan, of all asked paths."""

    def __init__(
        self,
        root: bytes,
        filters: Filters | None,
        folder: Path,
        tally: Tally,
        *,
        with_proofs: bool = False,
        by_name: bool = False,
    ) -> None:
        """``folder``: where the plan will be; it is there. ``filters``: None takes everything.

        ``with_proofs``: hashes of the tier's files may be known, so files of one size are doubts.
        ``by_name``: excluded files are told each, and not only counted.
        """
        self.plan = Plan()
        self._root = root
        self._filters = filters
        self._folder = folder
        self._tally = tally
        self._block_bytes = os.statvfs(root).f_frsize
        self._ways: dict[bytes, Problem | None] = {b"": None}
        self._last: bytes | None = None
        self._closed: Problem | None = None
        self._with_proofs = with_proofs
        self._by_name = by_name

    def add(self, listing: Path, present: Path, stop: Stop) -> None:
        """Compare what is below one path. Blocks."""
        with self._open(FETCH + ".part") as fetch, self._open(DOUBTS) as doubts:
            out = _Files(fetch, doubts)
            pairs = joined(read_present(present), read_listing(listing))
            for number, (mine, theirs) in enumerate(pairs):
                if number % CHECK_EACH == 0 and stop:
                    return
                if theirs is not None and not is_own(theirs.path):
                    self._compare(mine, theirs, out)

    def finish(self) -> None:
        """From here on the plan is whole."""
        part = self._folder / (FETCH + ".part")
        part.touch()
        part.rename(self._folder / FETCH)

    def _open(self, name: str) -> BufferedWriter:
        return (self._folder / name).open("ab")

    def _compare(self, mine: Present | None, theirs: Listed, out: "_Files") -> None:
        size = theirs.size_bytes
        self.plan.listed.add(size)
        if self._filters is not None and not self._filters.takes(at_home(theirs.path)):
            self._tally.count(Skip.EXCLUDED, 1, size)
            if self._by_name:
                self._tally.tell(at_home(theirs.path), size, "stays", str(Skip.EXCLUDED))
        elif mine is not None and mine.kind != b"d":
            self._keep(mine, theirs, out)
        elif problem := self._in_the_way(at_home(theirs.path)):
            self._tally.stays(theirs.path, size, *problem)
        else:
            out.fetch.write(Wanted(theirs.path, size, theirs.stored_as).record())
            self.plan.fetch.add(size)
            self.plan.room_bytes += -(-size // self._block_bytes) * self._block_bytes

    def _keep(self, mine: Present, theirs: Listed, out: "_Files") -> None:
        if mine.size_bytes != theirs.size_bytes:
            words = f"{mine.size_bytes} bytes here, {theirs.size_bytes} on the store"
            self._tally.stays(at_home(mine.path), mine.size_bytes, Skip.DIFFERS, words)
        else:
            words = self._differs(mine, theirs)
            if mine.kind == b"f" and (words or self._with_proofs):
                pickle.dump((mine.candidate(), theirs, words), out.doubts)
            else:
                self.judge(at_home(mine.path), mine.size_bytes, words)

    def judge(self, path: bytes, size_bytes: int, words: str) -> None:
        """A file is here; ``words``: what differs, empty: nothing that is known."""
        if words:
            self._tally.stays(path, size_bytes, Skip.DIFFERS, words)
        else:
            self.plan.present.add(size_bytes)

    def doubts(self) -> Iterator[Doubt]:
        """Files about which more may be known, to be judged."""
        path = self._folder / DOUBTS
        with path.open("rb") as file:
            while file.peek(1):
                yield pickle.load(file)  # noqa: S301 - what we wrote a moment ago
        path.unlink()

    def _differs(self, mine: Present, theirs: Listed) -> str:
        """What shows, at no cost, that files of one size are not the same; empty: nothing."""
        if mine.kind == b"l":
            return "" if self._leads_there(mine, theirs) else "a symlink that leads elsewhere"
        if theirs.digest or not theirs.version.isdecimal():
            return ""
        later_ns = mine.mtime_ns - int(theirs.version)
        if abs(later_ns) <= SAME_TIME_NS:
            return ""
        return "it was changed later than on the store" if later_ns > 0 else "the store's is newer"

    def _leads_there(self, mine: Present, theirs: Listed) -> bool:
        if len(theirs.digest) != MD5_DIGITS:
            return True
        try:
            target = os.readlink(absolute(self._root, at_home(mine.path)))  # noqa: PTH115 - bytes
        except OSError:
            return True
        return hashlib.md5(target, usedforsecurity=False).hexdigest() == theirs.digest

    def _in_the_way(self, path: bytes) -> Problem | None:
        """What keeps a file from being made."""
        parent = path.rpartition(b"/")[0]
        if parent != self._last:
            self._go(parent)
        way = self._ways[parent]
        if way is _MISSING:
            return _too_long(path)
        return way or _stands(absolute(self._root, path)) or self._closed

    def _go(self, folder: bytes) -> None:
        """Look at each folder on the way to one, as far as that was not done just before."""
        ways: dict[bytes, Problem | None] = {b"": None}
        here = b""
        for name in folder.split(b"/"):
            above = ways[here]
            here = here + b"/" + name if here else name
            if here in self._ways:
                ways[here] = self._ways[here]
                continue
            state = above or _folder_state(absolute(self._root, here))
            if state is _MISSING and above is None:
                state = _closed(absolute(self._root, here.rpartition(b"/")[0])) or _MISSING
            ways[here] = state
        self._ways, self._last = ways, folder
        self._closed = None if ways[folder] else _closed(absolute(self._root, folder))


class _Files(NamedTuple):
    """What a plan is written to."""

    fetch: IO[bytes]
    doubts: IO[bytes]


def _folder_state(path: bytes) -> Problem | None:
    try:
        found = os.lstat(path).st_mode
    except OSError as error:
        return _problem(error) or _MISSING
    return None if modes.S_ISDIR(found) else _words(found)


def _stands(path: bytes) -> Problem | None:
    try:
        return _words(os.lstat(path).st_mode)
    except OSError as error:
        return _problem(error)


def _closed(folder: bytes) -> Problem | None:
    """Why nothing can be made in a folder."""
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return None
    return Skip.NOT_PERMITTED, "its folder cannot be written to"


def _too_long(path: bytes) -> Problem | None:
    """Where folders are missing, the system cannot be asked."""
    names = path.split(b"/")
    return (Skip.NO_NAME, "too long") if max(map(len, names)) > LONGEST_NAME else None


def _problem(error: OSError) -> Problem | None:
    """None: there is nothing."""
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return None
    return _REASONS.get(error.errno or 0, Skip.FAILED), error.strerror or ""


def _words(mode: int) -> Problem:
    return Skip.EXISTS, _IN_THE_WAY.get(modes.S_IFMT(mode), "something is in the way")

"""What a pull would bring in: what a store has and a tree has not; what differs stays, and is told.

A plan is a folder: ``fetch`` has a record a file (as in `merge`; its rest is the store's name of
it), there only when the plan is whole; ``folders`` has the folders that will be made on the way.
"""

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
from holdfast.tiers.model import QUARANTINE, Candidate, Skip, inside
from holdfast.tiers.present import (
    LINK_SUFFIX,
    Present,
    absolute,
    at_home,
    read_present,
    read_records,
)
from holdfast.tiers.pull_process import is_partial
from holdfast.tiers.running import Stop, Tally

FETCH = "fetch"
FOLDERS = "folders"
DOUBTS = "doubts"
Doubt = tuple[Candidate, Listed, str]
"""A file on both sides with the same size, and what seems to differ."""
CHECK_EACH = 1000
_IN_THE_WAY = {
    modes.S_IFREG: "a file is in the way",
    modes.S_IFLNK: "a symlink is in the way",
    modes.S_IFDIR: "a folder is in the way",
}
_MISSING = "missing"
MD5_DIGITS = 32
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
    excluded: int = 0
    refused: int = 0
    """Files that are not here and are not fetched all the same."""


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
    ) -> None:
        """``folder``: where the plan will be; it is there. ``filters``: None takes everything.

        ``with_proofs``: hashes of the tier's files may be known, so files of one size are doubts.
        """
        self.plan = Plan()
        self._root = root
        self._filters = filters
        self._folder = folder
        self._tally = tally
        self._block_bytes = os.statvfs(root).f_frsize
        self._ways: dict[bytes, str] = {b"": ""}
        self._last = b""
        self._with_proofs = with_proofs

    def add(self, listing: Path, present: Path, stop: Stop) -> None:
        """Compare what is below one path. Blocks."""
        with (
            self._open(FETCH + ".part") as fetch,
            self._open(FOLDERS) as folders,
            self._open(DOUBTS) as doubts,
        ):
            out = _Files(fetch, folders, doubts)
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
        (self._folder / FOLDERS).touch()
        part.rename(self._folder / FETCH)

    def _open(self, name: str) -> BufferedWriter:
        return (self._folder / name).open("ab")

    def _compare(self, mine: Present | None, theirs: Listed, out: "_Files") -> None:
        size = theirs.size_bytes
        self.plan.listed.add(size)
        if self._filters is not None and not self._filters.takes(at_home(theirs.path)):
            self.plan.excluded += 1
            self.plan.refused += theirs.path.endswith(LINK_SUFFIX)  # rclone's rules see the suffix
            self._tally.count(Skip.EXCLUDED, 1, size)
        elif mine is not None and mine.kind != b"d":
            self._keep(mine, theirs, out)
        elif problem := self._in_the_way(at_home(theirs.path), out.folders):
            self.plan.refused += 1
            self._tally.stays(theirs.path, size, Skip.EXISTS, problem)
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

    def _in_the_way(self, path: bytes, folders: IO[bytes]) -> str:
        """What keeps a file from being made; empty when nothing does."""
        parent = path.rpartition(b"/")[0]
        if parent != self._last:
            self._go(parent, folders)
        way = self._ways[parent]
        if way == _MISSING:
            return ""
        return way or _stands(absolute(self._root, path))

    def _go(self, folder: bytes, folders: IO[bytes]) -> None:
        """Look at each folder on the way to one, as far as that was not done just before."""
        ways, here = {b"": ""}, b""
        for name in folder.split(b"/"):
            above = ways[here]
            here = here + b"/" + name if here else name
            if here in self._ways:
                ways[here] = self._ways[here]
                continue
            ways[here] = above or _folder_state(absolute(self._root, here))
            if ways[here] == _MISSING:
                folders.write(here + b"\0")
        self._ways, self._last = ways, folder


class _Files(NamedTuple):
    """What a plan is written to."""

    fetch: IO[bytes]
    folders: IO[bytes]
    doubts: IO[bytes]


def is_own(path: bytes) -> bool:
    """Whether a path is of our own making: quarantine, or content that is not whole."""
    return inside(path, QUARANTINE.encode()) or is_partial(path.removesuffix(LINK_SUFFIX))


def _folder_state(path: bytes) -> str:
    found = _mode(path)
    if found is None:
        return _MISSING
    return "" if modes.S_ISDIR(found) else _words(found)


def _stands(path: bytes) -> str:
    found = _mode(path)
    return "" if found is None else _words(found)


def _words(mode: int) -> str:
    return _IN_THE_WAY.get(modes.S_IFMT(mode), "something is in the way")


def _mode(path: bytes) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None

"""Report: what a tree holds by age, folder and owner, and what freezing would save.

One pass of find. Ages are of the last use of a file: its latest reading or change, as the freeze
counts it. Whether a store has a file is not asked: what would be saved is at most so much.
"""

import asyncio
import os
import pwd
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from holdfast.kernel.clock import iso_time
from holdfast.kernel.errors import NotFound
from holdfast.kernel.web.console.formats import size
from holdfast.tiers.deciding import Rules
from holdfast.tiers.model import DAY_SECONDS, Skip, Tier
from holdfast.tiers.names import to_text
from holdfast.tiers.present import Present, absolute, list_present, parsed, read_records
from holdfast.tiers.running import Run, Stop, in_threads
from holdfast.tiers.scan import sort

AGES_DAYS = (30, 90, 180, 365)
HISTOGRAM_DAYS = (1, 7, 14, 30, 60, 90, 120, 180, 270, 365, 540, 730, 1095, 1825)
DEPTH = 2
MOST_FOLDERS = 20_000
"""Deeper ones are counted in those above once there are so many."""
MOST_TOLD = 200
"""The largest folders, each in a row of its own; the report is kept with its run."""
MOST_CHILDREN = 24
"""Of one folder in a treemap; the smaller ones are put together."""
CHECK_EACH = 5000
OTHERS = "…"
_DAY_NS = DAY_SECONDS * 1_000_000_000


@dataclass(slots=True)
class Sum:
    """Files, and bytes by the age of their last use."""

    files: int = 0
    size_bytes: int = 0
    cold_bytes: list[int] = field(default_factory=lambda: [0] * len(AGES_DAYS))
    """Of what is at least as old as each of `AGES_DAYS`."""

    def add(self, size_bytes: int, age: int) -> None:
        """One more file; ``age``: how many of the ages it has."""
        self.files += 1
        self.size_bytes += size_bytes
        for number in range(age):
            self.cold_bytes[number] += size_bytes

    def merge(self, other: "Sum") -> None:
        """All of another sum."""
        self.files += other.files
        self.size_bytes += other.size_bytes
        self.cold_bytes = [a + b for a, b in zip(self.cold_bytes, other.cold_bytes, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """For people and pages."""
        cold = {str(days): size for days, size in zip(AGES_DAYS, self.cold_bytes, strict=True)}
        return {"files": self.files, "bytes": self.size_bytes, "unread_bytes": cold}


@dataclass(slots=True)
class Save:
    """What would leave at one age."""

    files: int = 0
    size_bytes: int = 0


async def report(run: Run, *, below: bytes = b"", depth: int = DEPTH) -> dict[str, Any]:
    """The report of a tier, or of a folder of it, in JSON types. Raises ``NotFound``."""
    if not await asyncio.to_thread(os.path.lexists, absolute(run.tier.root, below)):
        raise NotFound(f"{to_text(below)!r} is not here", hint="what is frozen takes no room")
    seen = run.work / "seen"
    linked = run.work / "linked"
    await list_present(run.tier.root, below, seen, tell=run.ctx.log, ordered=False, one_disk=True)
    sums = Sums(run.tier, below, depth, now_ns=int(run.ctx.now().timestamp() * 1e9))

    def count(stop: Stop) -> None:
        with linked.open("wb") as later:
            for number, record in enumerate(read_records(seen)):
                if number % CHECK_EACH == 0:
                    run.ctx.progress(number, unit="files", text=size(sums.size_bytes))
                    if stop:
                        return
                one = parsed(record)
                if one.kind == b"f" and one.links > 1:
                    later.write(b"%d %d %s\0" % (one.device, one.inode, record))
                else:
                    sums.add([one])

    def count_linked(stop: Stop) -> None:
        for _, names in groupby(read_records(linked), key=lambda record: record.split(b" ", 2)[:2]):
            if stop:
                return
            sums.add([parsed(name.split(b" ", 2)[2]) for name in names])

    await in_threads([count])
    await sort(linked, linked)
    await in_threads([count_linked])
    seen.unlink()
    linked.unlink()
    told = sums.as_json()
    run.ctx.progress(told["files"], unit="files", text=size(told["bytes"]))
    return {"at": iso_time(run.ctx.now()), "path": to_text(below), **told}


class Sums:
    """Everything that is summed up, as files come."""

    def __init__(self, tier: Tier, below: bytes, depth: int, *, now_ns: int) -> None:
        self._min_size_bytes = tier.options.min_size_bytes
        self._rules = Rules(tier.options, now_ns)
        self._below = below
        self._depth = depth
        self._now_ns = now_ns
        self._total = Sum()
        self._folders: dict[bytes, Sum] = {}
        self._owners: dict[int, Sum] = {}
        self._bars = [Save() for _ in range(len(HISTOGRAM_DAYS) + 1)]
        self._saved = [Save() for _ in AGES_DAYS]
        self._kept: dict[Skip, Save] = {}

    @property
    def size_bytes(self) -> int:
        """Of all files so far."""
        return self._total.size_bytes

    def add(self, names: Sequence[Present]) -> None:
        """One more file by all its names in the tree; its bytes are counted once."""
        first = names[0]
        if first.kind == b"d":
            return
        if first.kind != b"f":
            self._stays(Skip.NOT_A_FILE, first.size_bytes)
            return
        reasons = [self._why_it_stays(one) for one in names]
        if len(names) < first.links or any(reasons):
            reasons = [reason or Skip.LINKED for reason in reasons]
        self._add(first, reasons[0], first.size_bytes)
        for one, reason in zip(names[1:], reasons[1:], strict=True):
            self._add(one, reason, 0)

    def _add(self, one: Present, reason: Skip | None, size_bytes: int) -> None:
        days = max(0, self._now_ns - max(one.atime_ns, one.mtime_ns)) // _DAY_NS
        age = bisect_right(AGES_DAYS, days)
        self._total.add(size_bytes, age)
        self._folder(one.path).add(size_bytes, age)
        self._owners.setdefault(one.owner_id, Sum()).add(size_bytes, age)
        _more(self._bars[bisect_right(HISTOGRAM_DAYS, days)], size_bytes)
        if reason is not None:
            self._stays(reason, size_bytes)
        else:
            for saved in self._saved[:age]:
                _more(saved, size_bytes)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        saved = zip(AGES_DAYS, self._saved, strict=True)
        return {
            **self._total.as_json(),
            "would_save": [
                {"days": days, "files": one.files, "bytes": one.size_bytes} for days, one in saved
            ],
            "stays": {
                str(why): {"files": one.files, "bytes": one.size_bytes}
                for why, one in self._kept.items()
            },
            "histogram": list(self._histogram()),
            "folders": [
                {"path": to_text(self._whole(path)), **self._folders[path].as_json()}
                for path in self._largest()
            ],
            "folders_left_out": max(0, len(self._folders) - MOST_TOLD),
            "owners": [
                {"id": uid, "name": _owner(uid), **one.as_json()}
                for uid, one in sorted(self._owners.items())
            ],
            "treemap": self._treemap(),
        }

    def _why_it_stays(self, one: Present) -> Skip | None:
        if one.size_bytes < self._min_size_bytes:
            return Skip.TOO_SMALL
        return self._rules.of_name(one.path)

    def _stays(self, reason: Skip, size_bytes: int) -> None:
        _more(self._kept.setdefault(reason, Save()), size_bytes)

    def _folder(self, path: bytes) -> Sum:
        """The folder that a file is counted in: at most so deep below the one asked for."""
        inner = path[len(self._below) + 1 :] if self._below else path
        parts = inner.split(b"/")[:-1][: self._depth]
        while True:
            name = b"/".join(parts)
            known = self._folders.get(name)
            if known is not None:
                return known
            if len(self._folders) < MOST_FOLDERS or not parts:
                return self._folders.setdefault(name, Sum())
            parts.pop()

    def _largest(self) -> list[bytes]:
        """The folders that are told, by path."""
        by_size = sorted(self._folders, key=lambda path: -self._folders[path].size_bytes)
        return sorted(by_size[:MOST_TOLD])

    def _whole(self, path: bytes) -> bytes:
        return b"/".join(part for part in (self._below, path) if part)

    def _histogram(self) -> Iterator[dict[str, Any]]:
        edges = zip((0, *HISTOGRAM_DAYS), (*HISTOGRAM_DAYS, None), self._bars, strict=True)
        for start, end, bar in edges:
            yield {
                "from_days": start,
                "to_days": end,
                "files": bar.files,
                "bytes": bar.size_bytes,
            }

    def _treemap(self) -> dict[str, Any]:
        """Folders in folders, by size, the small ones of each put together."""
        top = _Node("")
        for path, one in self._folders.items():
            node = top
            for name in path.split(b"/") if path else ():
                node = node.children.setdefault(name, _Node(to_text(name)))
            node.own.merge(one)
        return top.as_json()


class _Node:
    """A folder of a treemap."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.own = Sum()
        """Of files that lie right in it, or too deep to be told apart."""
        self.children: dict[bytes, _Node] = {}

    def total(self) -> Sum:
        """With everything in it."""
        whole = Sum()
        for one in (self.own, *(child.total() for child in self.children.values())):
            whole.merge(one)
        return whole

    def as_json(self) -> dict[str, Any]:
        """Itself, and its folders, largest first."""
        sized = sorted(
            self.children.values(), key=lambda child: (-child.total().size_bytes, child.name)
        )
        children = [child.as_json() for child in sized[:MOST_CHILDREN]]
        rest = _together(sized[MOST_CHILDREN:])
        if rest is not None:
            children.append({"name": OTHERS, **rest.as_json(), "children": []})
        return {"name": self.name, **self.total().as_json(), "children": children}


def _together(nodes: Sequence[_Node]) -> Sum | None:
    if not nodes:
        return None
    rest = Sum()
    for node in nodes:
        rest.merge(node.total())
    return rest


def _more(counted: Save, size_bytes: int) -> None:
    counted.files += 1
    counted.size_bytes += size_bytes


def _owner(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""

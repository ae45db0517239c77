"""What lies below a folder of a tier: GNU find looks, and tells only of what may leave.

A link is never followed nor read, so looking at a tree does not warm it. Other file systems that
are mounted in it are not entered. What is hot, small, linked elsewhere or no file is counted.
"""

import asyncio
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import IO

from holdfast.kernel.errors import Invalid, NotFound, Unavailable
from holdfast.kernel.process import ProcessFailed, ProgramMissing, find_program, run
from holdfast.tiers.merge import (
    REST_MARK,
    Count,
    lists,
    rest_of,
    size_of,
    split_records,
    write_list,
)
from holdfast.tiers.merge import read_candidates as read_candidates  # noqa: PLC0414 - asked here
from holdfast.tiers.model import OWN, Skip, is_own
from holdfast.tiers.names import to_text

SCAN_SECONDS = 24 * 3600.0
SORT_MEMORY = "12M"
BY_BYTES = {"LC_ALL": "C"}
MOST_COMPLAINTS = 100
READ_BYTES = 128 * 1024
_REST = "%i %n %T@ %C@ %A@"
_COUNTED = {"hot": Skip.READ_RECENTLY, "small": Skip.TOO_SMALL, "special": Skip.NOT_A_FILE}
_REASONS = {**_COUNTED, "linked": Skip.LINKED}
_OUTPUTS = ("cold", "sizes", "linked", *_COUNTED)
_LINE = b"%d\n"
Writers = Mapping[str, IO[bytes]]


@dataclass(slots=True)
class ScanTotals:
    """What a scan saw. What could not be looked at is in none of the counts."""

    candidates: Count = field(default_factory=Count)
    skipped: dict[Skip, Count] = field(default_factory=dict)
    unreadable: int = 0
    """Folders and files that could not be looked at."""
    complaints: list[str] = field(default_factory=list)
    """About the first of them."""

    @property
    def seen(self) -> Count:
        """All regular files."""
        others = [count for why, count in self.skipped.items() if why is not Skip.NOT_A_FILE]
        return sum(others, self.candidates)

    def complain(self, line: str) -> None:
        """Something could not be looked at."""
        self.unreadable += 1
        if len(self.complaints) < MOST_COMPLAINTS:
            self.complaints.append(line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What is looked for."""

    root: bytes
    below: bytes
    cold_before_ns: int
    min_size: int
    details: bool
    everything: bool
    tell: Path | None
    """Where files that stay are named."""
    device: int
    own: frozenset[int]
    """Inodes of the folders at the root that are ours."""

    @property
    def start(self) -> bytes:
        return _in(self.root, self.below)


async def scan(
    root: bytes,
    below: bytes,
    cold_before_ns: int,
    *,
    min_size: int,
    to: Path,
    details: bool = False,
    everything: bool = False,
    tell: Path | None = None,
) -> ScanTotals:
    """Write the cold files of ``below`` (a folder or a file; b"" is all) to a sorted file of keys.

    Cold is what was neither read nor changed since ``cold_before_ns``. A file of several names is
    among them when all its names are. ``details``: all that a ``Candidate`` has is kept, which
    costs a third more; without, `read_candidates` looks again. ``everything``: all regular files.
    ``tell``: a file in which what stays is named besides, for `read_told`.
    Raises ``NotFound`` when ``below`` is not there, ``Invalid`` when a link is on the way, or what
    is our own.
    """
    found = await asyncio.to_thread(_way, root, below)
    own = await asyncio.to_thread(_inodes, [_in(root, name.encode()) for name in OWN])
    search = _Search(
        root=root,
        below=below,
        cold_before_ns=cold_before_ns,
        min_size=min_size,
        details=details,
        everything=everything,
        tell=tell,
        device=found.st_dev,
        own=frozenset() if below else own,
    )
    parts = {name: to.with_name(f"{to.name}.{name}") for name in _OUTPUTS}
    totals = ScanTotals()
    try:
        if stat.S_ISDIR(found.st_mode) and await _has_gnu_find():
            await _find(search, parts, totals)
        else:
            await asyncio.to_thread(_walk, search, found, parts, totals)
        for name, reason in _COUNTED.items():
            count = await asyncio.to_thread(_sum, parts[name])
            if count.files:
                totals.skipped[reason] = count
        await _add_linked(parts, totals, tell)
        if details:
            await sort(parts["cold"], parts["cold"])
            await asyncio.to_thread(split_records, parts["cold"], to)
        else:
            await sort(parts["cold"], to)
        totals.candidates += await asyncio.to_thread(_sum, parts["sizes"])
        if await asyncio.to_thread(_records_in, to) != totals.candidates.files:
            raise Unavailable("the scan could not be kept whole", hint="is the disk full?")
    except (OSError, ValueError) as error:
        raise Unavailable(f"the scan could not be kept: {error}") from None
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return totals


def keeps_no_atime(root: bytes) -> bool:
    """Whether its file system is mounted so that reading leaves no trace."""
    return bool(os.statvfs(root).f_flag & os.ST_NOATIME)


async def sort(given: Path, to: Path, *, unique: bool = False) -> None:
    """Sort a file of records by their bytes, in memory of one size."""
    words = ["sort", "-z", f"--buffer-size={SORT_MEMORY}", "--parallel=1"]
    words += ["-u"] if unique else []
    words += [f"--temporary-directory={to.parent}", "-o", str(to), "--", str(given)]
    await run(words, timeout_seconds=SCAN_SECONDS, env=BY_BYTES)


def _way(root: bytes, below: bytes) -> os.stat_result:
    """What ``below`` is, when no link is on the way to it."""
    try:
        path, found = root, os.lstat(root)
    except OSError as error:
        raise Unavailable(f"the tier's root cannot be looked at: {error.strerror}") from None
    for name in below.split(b"/") if below else ():
        path = _in(path, name)
        told = to_text(below)
        if name in {b"", b".", b".."} or is_own(below):
            raise Invalid(f"{told!r} is no path of the tier")
        if not stat.S_ISDIR(found.st_mode):
            raise Invalid(f"{told!r} leads through a link or a file")
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"{told!r} is not there") from None
        except OSError as error:
            raise Unavailable(f"{told!r} cannot be looked at: {error.strerror}") from None
    return found


def _in(folder: bytes, name: bytes) -> bytes:
    if not folder or not name:
        return folder or name
    return folder.rstrip(b"/") + b"/" + name


def _inodes(paths: Iterable[bytes]) -> frozenset[int]:
    found: set[int] = set()
    for path in paths:
        with suppress(OSError):
            found.add(os.lstat(path).st_ino)
    return frozenset(found)


@cache
def _gnu_find() -> list[bool]:
    """What `_has_gnu_find` found out, once it did."""
    return []


async def _has_gnu_find() -> bool:
    known = _gnu_find()
    if not known:
        try:
            find_program("sort")
            told = await run(["find", "--version"], timeout_seconds=10)
            known.append("GNU findutils" in told.stdout)
        except (ProgramMissing, ProcessFailed):
            known.append(False)
    return known[0]


async def _find(search: _Search, parts: Mapping[str, Path], totals: ScanTotals) -> None:
    path = f"{_literal(search.below)}/%P" if search.below else "%P"
    key = f"{path}//%s"
    record = f"{key}//:{search.device} {_REST}\\0" if search.details else f"{key}\\0"
    out = {name: ["-fprintf", str(part)] for name, part in parts.items()}
    if search.tell is not None:
        for name in _COUNTED:
            out[name] = ["-fprintf", str(search.tell), f"{key}//{name}\\0", *out[name]]
    take = [*out["cold"], record, *out["sizes"], "%s\\n"]
    if search.everything:
        chosen = take
    else:
        moment = _seconds(search.cold_before_ns - 1)
        hot = ["(", "-newerat", moment, "-o", "-newermt", moment, ")", *out["hot"], "%s\\n"]
        small = ["-size", f"-{search.min_size}c", *out["small"], "%s\\n", "-o"]
        linked = ["-links", "+1", *out["linked"], f"%i %n {record}"]
        chosen = [*hot, "-o", *(small if search.min_size else []), *linked, "-o", *take]
    words = ["find", os.fsdecode(search.start), "-xdev", "-ignore_readdir_race"]
    for inode in search.own:
        words += ["-type", "d", "-inum", str(inode), "-prune", "-o"]
    words += ["-type", "f", "(", *chosen, ")", "-o", "!", "-type", "d", *out["special"], "0\\n"]
    for part in (*parts.values(), *([search.tell] if search.tell else [])):
        part.touch(mode=0o600)
    try:
        await run(
            words,
            timeout_seconds=SCAN_SECONDS,
            accept=frozenset({0, 1}),
            env=BY_BYTES,
            on_error_line=totals.complain,
        )
    except ProcessFailed as error:
        raise Unavailable(f"the scan did not end: {error.message}") from None
    kept = [str(part) for part in (*parts.values(), search.tell) if part]
    lost = [line for line in totals.complaints if any(part in line for part in kept)]
    if lost:
        raise Unavailable(f"the scan could not be kept: {lost[0]}")


def _literal(path: bytes) -> str:
    """As `-printf` takes what it should not change."""
    return os.fsdecode(path).replace("\\", "\\\\").replace("%", "%%")


def _seconds(nanoseconds: int) -> str:
    whole, rest = divmod(abs(nanoseconds), 1_000_000_000)
    return f"@{'-' if nanoseconds < 0 else ''}{whole}.{rest:09d}"


def _walk(
    search: _Search, found: os.stat_result, parts: Mapping[str, Path], totals: ScanTotals
) -> None:
    """The same without find, and for one file."""
    with ExitStack() as stack:
        files = {name: stack.enter_context(part.open("wb")) for name, part in parts.items()}
        if search.tell is not None:
            files["told"] = stack.enter_context(search.tell.open("wb"))
        for path, info in _below(search, found, totals):
            _put(search, path, info, files)


def _below(
    search: _Search, found: os.stat_result, totals: ScanTotals
) -> Iterator[tuple[bytes, os.stat_result]]:
    """What is no folder, with what is known of it."""
    waiting = [(search.below, found)]
    while waiting:
        path, info = waiting.pop()
        if not stat.S_ISDIR(info.st_mode):
            yield path, info
            continue
        if info.st_dev != search.device or info.st_ino in search.own:
            continue
        try:
            with os.scandir(_in(search.root, path)) as entries:
                waiting.extend(
                    (_in(path, entry.name), entry.stat(follow_symlinks=False)) for entry in entries
                )
        except FileNotFoundError:
            continue  # gone meanwhile
        except OSError as error:
            totals.complain(f"{to_text(path)!r}: {error.strerror}")


def _put(search: _Search, path: bytes, info: os.stat_result, files: Writers) -> None:
    key = b"%s//%d" % (path, info.st_size)
    record = key + (REST_MARK + rest_of(info) if search.details else b"") + b"\0"
    cold = max(info.st_mtime_ns, info.st_atime_ns) < search.cold_before_ns
    counted = ""
    if not stat.S_ISREG(info.st_mode):
        counted = "special"
    elif not (search.everything or cold):
        counted = "hot"
    elif info.st_size < search.min_size and not search.everything:
        counted = "small"
    if counted:
        files[counted].write(_LINE % (0 if counted == "special" else info.st_size))
        if "told" in files:
            files["told"].write(b"%s//%s\0" % (key, counted.encode()))
    elif info.st_nlink > 1 and not search.everything:
        files["linked"].write(b"%d %d %s" % (info.st_ino, info.st_nlink, record))
    else:
        files["cold"].write(record)
        files["sizes"].write(_LINE % info.st_size)


def _sum(path: Path) -> Count:
    """Of lines with a number each."""
    files = total = 0
    rest = b""
    with path.open("rb", buffering=0) as file:
        while read := file.read(READ_BYTES):
            whole, _, rest = (rest + read).rpartition(b"\n")
            sizes = json.loads(
                b"[%s]" % whole.replace(b"\n", b",")
            )  # a third less than int of each
            files += len(sizes)
            total += sum(sizes)
    return Count(files, total)


def _records_in(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(read.count(b"\0") for read in iter(lambda: file.read(READ_BYTES), b""))


def read_told(path: Path) -> Iterator[tuple[bytes, int, Skip]]:
    """Path, size and reason of each file that a scan named; nothing when it named none."""
    if not path.exists():
        return
    for block in lists(path):
        for record in block:
            name, size, reason = record.rsplit(b"//", 2)
            yield name, int(size), _REASONS[reason.decode()]


async def _add_linked(parts: Mapping[str, Path], totals: ScanTotals, tell: Path | None) -> None:
    """Files of several names join the others when all their names are cold and below."""
    linked = parts["linked"]
    if not linked.stat().st_size:
        return
    await sort(linked, linked)
    stay = await asyncio.to_thread(_part_linked, linked, parts, tell)
    if stay.files:
        totals.skipped[Skip.LINKED] = stay


def _part_linked(linked: Path, parts: Mapping[str, Path], tell: Path | None) -> Count:
    stay = Count()
    with (
        parts["cold"].open("ab") as into,
        parts["sizes"].open("ab") as told,
        (tell or Path(os.devnull)).open("ab") as named,
    ):
        for (_, links), group in groupby(_split_linked(linked), key=lambda item: item[:2]):
            found = [record for _, _, record in group]
            lengths = [size_of(record.partition(REST_MARK)[0]) for record in found]
            if len(found) == int(links):
                write_list(into, found)
                told.writelines(_LINE % length for length in lengths)
            else:
                stay += Count(len(found), sum(lengths))
                keys = [record.partition(REST_MARK)[0] for record in found]
                write_list(named, [key + b"//linked" for key in keys])
    return stay


def _split_linked(path: Path) -> Iterator[list[bytes]]:
    """Inode, links and record."""
    for block in lists(path):
        for record in block:
            yield record.split(b" ", 2)

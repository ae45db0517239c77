"""What lies in a tier's tree: one pass of find, in the order and form of the records of `merge`."""

import stat as modes
from asyncio import to_thread
from collections.abc import Callable, Iterator
from os import fsdecode, fspath, lstat, stat_result
from pathlib import Path
from typing import NamedTuple

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.process import find_program, run
from holdfast.tiers.merge import REST_MARK, SIZE_MARK
from holdfast.tiers.model import OWN, Candidate

LINK_SUFFIX = b".rclonelink"
"""What rclone puts behind the name of a symlink on a store; the content is where it leads to."""
SCAN_SECONDS = 86_400.0
READ_BYTES = 1024 * 1024
SORT_MEMORY = "24M"
_FIELDS = "%s//:%y/%D/%i/%n/%T@/%C@/%A@/%U\\0"
_NANO = 1_000_000_000

Tell = Callable[[str], None]


class Present(NamedTuple):
    """Something local. ``path``: relative to the tier's root, with `LINK_SUFFIX` for a symlink."""

    path: bytes
    kind: bytes
    """As find tells it: f, d, l, or another letter for what is neither."""
    size_bytes: int
    told: list[bytes]

    @property
    def device(self) -> int:
        return int(self.told[1])

    @property
    def inode(self) -> int:
        return int(self.told[2])

    @property
    def links(self) -> int:
        return int(self.told[3])

    @property
    def mtime_ns(self) -> int:
        return _nanoseconds(self.told[4])

    @property
    def ctime_ns(self) -> int:
        return _nanoseconds(self.told[5])

    @property
    def atime_ns(self) -> int:
        return _nanoseconds(self.told[6])

    @property
    def owner_id(self) -> int:
        return int(self.told[7])

    def candidate(self) -> Candidate:
        """As a proof takes it."""
        return Candidate(
            path=self.path,
            size_bytes=self.size_bytes,
            device=self.device,
            inode=self.inode,
            links=self.links,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            atime_ns=self.atime_ns,
        )


def at_home(path: bytes) -> bytes:
    """The name on the disk of what a store calls ``path``: symlinks have no suffix there."""
    return path.removesuffix(LINK_SUFFIX)


def absolute(root: bytes, path: bytes) -> bytes:
    """Where a path of a tier is."""
    return root.rstrip(b"/") + b"/" + path if path else root


def is_hidden(root: bytes, path: bytes) -> bool:
    """Of a path that was not listed: whether that says nothing, as its folder cannot be read."""
    try:
        lstat(absolute(root, path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


async def list_present(
    root: bytes,
    below: bytes,
    to: Path,
    *,
    tell: Tell,
    ordered: bool = True,
    one_disk: bool = False,
) -> int:
    """Write what is below a path of the tree (or is there) to a file, for `read_present`.

    Symlinks are listed, not followed; what is our own is left out. What cannot be read is told, and
    how often is given back. ``one_disk``: without other file systems mounted in it, as a freeze
    looks. Raises ``Unavailable`` when the list could not be kept whole, or the root not be read.
    """
    lost: list[str] = []
    complaints = 0

    def hear(line: str) -> None:
        nonlocal complaints
        complaints += 1
        if fspath(to) in line:
            lost.append(line)
        tell(line)

    start = absolute(root, below)
    found = await to_thread(_look, start)
    if found is None or not modes.S_ISDIR(found.st_mode):
        await to_thread(to.write_bytes, b"" if found is None else _record(found, below))
        return 0
    raw = to.with_suffix(".raw") if ordered else to
    await to_thread(raw.touch)
    await run(
        [
            find_program("find"),
            fsdecode(start),
            *(["-xdev"] if one_disk else []),
            *_expression(raw, below),
        ],
        timeout_seconds=SCAN_SECONDS,
        accept=frozenset({0, 1}),
        env={"LC_ALL": "C"},
        on_error_line=hear,
    )
    if lost:
        raise Unavailable(f"the list of the tree could not be kept: {lost[0]}")
    if not ordered:
        return complaints
    sort = [find_program("sort"), "-z", f"-S{SORT_MEMORY}", f"-T{to.parent}", f"-o{to}"]
    await run([*sort, "--", fspath(raw)], timeout_seconds=SCAN_SECONDS, env={"LC_ALL": "C"})
    await to_thread(raw.unlink)
    return complaints


def read_present(path: Path) -> Iterator[Present]:
    """What `list_present` wrote, by path."""
    return map(parsed, read_records(path))


def parsed(record: bytes) -> Present:
    """A record of `list_present`."""
    key, _, rest = record.rpartition(REST_MARK)
    name, _, size = key.rpartition(SIZE_MARK)
    told = rest.split(b"/")
    return Present(name, told[0], int(size), told)


def read_records(path: Path) -> Iterator[bytes]:
    """NUL-separated records of a file."""
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            *whole, rest = (rest + chunk).split(b"\0")
            yield from whole
    if rest:
        yield rest


def _expression(raw: Path, below: bytes) -> list[str]:
    start = fsdecode(below).replace("\\", "\\\\").replace("%", "%%")
    start = f"{start}/" if start else ""
    own = [word for name in OWN for word in ("-o", "-name", name)][1:]
    skipped = ["-mindepth", "1", "-type", "d", "(", *own, ")", "-prune"]
    link = ["-type", "l", "-fprintf", fspath(raw), f"{start}%P{LINK_SUFFIX.decode()}//{_FIELDS}"]
    return [*skipped, "-o", *link, "-o", "-fprintf", fspath(raw), f"{start}%P//{_FIELDS}"]


def _look(path: bytes) -> stat_result | None:
    try:
        return lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _record(found: stat_result, path: bytes) -> bytes:
    is_link = modes.S_ISLNK(found.st_mode)
    kind = "l" if is_link else "f" if modes.S_ISREG(found.st_mode) else "?"
    times = "/".join(
        _seconds(ns) for ns in (found.st_mtime_ns, found.st_ctime_ns, found.st_atime_ns)
    )
    told = f"{kind}/{found.st_dev}/{found.st_ino}/{found.st_nlink}/{times}/{found.st_uid}"
    suffix = LINK_SUFFIX if is_link else b""
    return path + suffix + f"//{found.st_size}//:{told}\0".encode()


def _seconds(moment_ns: int) -> str:
    whole, rest = divmod(moment_ns, _NANO)
    return f"{whole}.{rest:09d}0"


def _nanoseconds(told: bytes) -> int:
    whole, _, rest = told.partition(b".")
    return int(whole) * _NANO + int(rest[:9].ljust(9, b"0"))

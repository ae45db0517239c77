"""A quick look at what a tier's store has of a folder."""

import os
from collections.abc import Sequence, Sized
from contextlib import aclosing
from dataclasses import dataclass

from holdfast.kernel.errors import Conflict
from holdfast.kernel.process import ProcessFailed, stream
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_daemon import CALL_SECONDS, find_rclone, rclone_environment
from holdfast.kernel.stores.rclone_words import listing_failure
from holdfast.tiers.names import from_remote_listing, remote_name
from holdfast.tiers.present import LINK_SUFFIX

NOT_THERE = frozenset({3, 4})
"""rclone's statuses when a folder, or a file, is not there."""
MOST_ENTRIES = 200_000
_FILES = ("--recursive", "--files-only")
_ALL = ("--recursive",)
_TIMES = ("--format=stp", "--time-format=unixnano")
_SERVER_TIMES = frozenset({"s3", "swift"})
"""Kinds that tell a file's own time only by one more call for each: their servers' count here."""
_PATIENCE = ["--retries=1", "--low-level-retries=2", "--contimeout=15s"]
"""Somebody waits: a store that does not answer is told soon, and may be asked again."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file (or a symlink), on one side."""

    size_bytes: int
    is_link: bool = False
    modified_ns: int | None = None
    """Of a stored one only where it was asked for."""
    identity: tuple[int, int, int] = (0, 0, 0)
    """Of a local one: device, inode, and when anything of it was changed, in nanoseconds."""


def keeps_times(place: Place) -> bool:
    """Whether a look is told a file's own time of change; else it is when it was put there."""
    return place.kind not in _SERVER_TIMES


def check_size(kept: Sized) -> None:
    """Raises ``Conflict`` for more than a look can hold."""
    if len(kept) > MOST_ENTRIES:
        raise Conflict(
            f"more than {MOST_ENTRIES} files",
            hint="look at a folder of it, or less deep; all files: tier ls PATH --depth 0",
        )


@dataclass(frozen=True, slots=True)
class StoredBelow:
    """What a store has below a folder, by the names that a pull would give."""

    files: dict[bytes, Seen]
    deeper: set[bytes]
    """Folders that lie as deep as was looked, and were not looked into."""


async def stored_files(
    hub: RcloneHub, place: Place, below: bytes, *, depth: int, with_times: bool = False
) -> dict[bytes, Seen]:
    """What a store has below a folder, or the one file: `StoredBelow.files`."""
    return (await stored_below(hub, place, below, depth=depth, with_times=with_times)).files


async def stored_below(
    hub: RcloneHub, place: Place, below: bytes, *, depth: int, with_times: bool = False
) -> StoredBelow:
    """What a store has below a folder, or the one file, so many folders deep (0: all).

    ``with_times``: those that `keeps_times` tells of. Raises when the listing did not end whole.
    """
    folder = remote_name(below) if below else b""
    if folder is None:
        return StoredBelow({}, set())
    await hub.daemon.call("rc/noop", {}, remotes=(place.remote,))  # obscures the passwords
    of = _ALL if depth else _FILES
    found = await _listed(hub, place, folder, depth, of=of, with_times=with_times)
    name = below.rpartition(b"/")[2]
    # Of a file, rclone lists the file itself: like a folder with one file of its own name.
    inner = folder + b"/" + folder.rpartition(b"/")[2]
    if below and list(found) == [name] and not await _listed(hub, place, inner, 1):
        return StoredBelow({below: found[name]}, set())
    start = below + b"/" if below else b""
    files = {start + path: seen for path, seen in found.items() if not path.endswith(b"/")}
    return StoredBelow(files, {start + path[:-1] for path in found if _is_deepest(path, depth)})


def _is_deepest(path: bytes, depth: int) -> bool:
    return path.endswith(b"/") and path.count(b"/") == depth


async def stored_entries(hub: RcloneHub, place: Place, below: bytes) -> dict[bytes, Seen | None]:
    """What a store has right in a folder, by the names that a pull would give; a folder is None.

    Raises when the listing did not end whole.
    """
    folder = remote_name(below) if below else b""
    if folder is None:
        return {}
    await hub.daemon.call("rc/noop", {}, remotes=(place.remote,))  # obscures the passwords
    found = await _listed(hub, place, folder, 1, of=(), with_times=True)
    start = below + b"/" if below else b""
    return {
        start + path.removesuffix(b"/"): None if path.endswith(b"/") else seen
        for path, seen in found.items()
    }


async def _listed(
    hub: RcloneHub,
    place: Place,
    folder: bytes,
    depth: int,
    *,
    of: Sequence[str] = _FILES,
    with_times: bool = False,
) -> dict[bytes, Seen]:
    remote = place.remote
    root = remote.root.encode("utf-8", "surrogateescape")
    lines = stream(
        _words(root, folder, depth, [*of, *(_times(place) if with_times else ())]),
        silence_seconds=CALL_SECONDS,
        accept=NOT_THERE | {0} if folder else frozenset({0}),
        env={**rclone_environment(hub.daemon.directory), **remote.environment()},
        cwd=hub.daemon.directory,
    )
    found: dict[bytes, Seen] = {}
    try:
        async with aclosing(lines):
            async for line in lines:
                _take(found, line, with_times=with_times)
                check_size(found)
    except ProcessFailed as error:
        raise listing_failure(error, remote, place.name) from None
    return found


def _times(place: Place) -> tuple[str, ...]:
    return _TIMES if keeps_times(place) else (*_TIMES, "--use-server-modtime")


def _words(root: bytes, folder: bytes, depth: int, more: Sequence[str]) -> list[str]:
    target = root.rstrip(b"/") + b"/" + folder if root and folder else root or folder
    words = [find_rclone(), "lsf", "--format=sp", "--separator=;", *_PATIENCE, *more]
    words += [f"--max-depth={depth}"] if depth else []
    return [*words, "--", os.fsdecode(b"hf:" + target)]


def _take(found: dict[bytes, Seen], line: bytes, *, with_times: bool) -> None:
    size, _, listed = line.partition(b";")
    modified: int | None = None
    if with_times:
        told, _, listed = listed.partition(b";")
        modified = int(told) if told else None
    is_folder = listed.endswith(b"/")
    name = from_remote_listing(listed.removesuffix(b"/"))
    if name is not None and is_folder:
        found[name + b"/"] = Seen(0)
    elif name is not None:
        is_link = name.endswith(LINK_SUFFIX)
        found[name.removesuffix(LINK_SUFFIX)] = Seen(int(size), is_link, modified)

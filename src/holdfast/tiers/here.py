"""A quick look at what lies in a folder of a tier on this machine. These calls block.

Each folder is opened by its parent, and no symlink is followed: what a tier's files are named can
show nothing of what lies outside of it.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from holdfast.kernel.errors import Unavailable
from holdfast.tiers.browsing import Seen, check_size
from holdfast.tiers.holding import folder, open_root
from holdfast.tiers.model import is_own
from holdfast.tiers.names import to_text

T = TypeVar("T")
_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""What a path says that leads nowhere, or through a file or a symlink."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class Here(Generic[T]):
    """What was found, by paths relative to the tier's root."""

    files: dict[bytes, T] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)
    """Folders (and files) that could not be looked at, and why."""
    too_deep: set[bytes] = field(default_factory=set)
    """Folders that were not looked into, because less was asked for."""

    def knows(self, path: bytes) -> bool:
        """Whether it can be said that something is there, or is not."""
        if not self.unreadable:
            return True
        parts = path.split(b"/")
        around = (b"/".join(parts[:depth]) for depth in range(len(parts) + 1))
        return not any(each in self.unreadable for each in around)


def local_files(root: bytes, below: bytes, *, depth: int) -> Here[Seen]:
    """What lies below a folder of a tier, or the one file. ``depth``: 0 is all.

    Raises ``Unavailable`` when the root cannot be looked at, ``Conflict`` for too many files.
    """
    here: Here[Seen] = Here()
    top = _open_root(root)
    try:
        found = _look(top, below, here)
        if found is not None and not stat.S_ISDIR(found.st_mode):
            here.files[below] = _seen(found)
        elif found is not None:
            for path, seen in _walked(top, below, depth, here):
                here.files[path] = seen
                check_size(here.files)
    finally:
        os.close(top)
    return here


def local_entries(root: bytes, below: bytes) -> Here[Seen | None]:
    """What lies right in a folder of a tier; a folder is None. Raises as `local_files` does."""
    here: Here[Seen | None] = Here()
    top = _open_root(root)
    try:
        for path, seen in _entries(top, below, here):
            here.files[path] = seen
            check_size(here.files)
    finally:
        os.close(top)
    return here


def _open_root(root: bytes) -> int:
    try:
        return open_root(root)
    except OSError as error:
        raise Unavailable(
            f"the tier's folder {to_text(root)} cannot be looked at: {error.strerror}",
            hint="is its disk mounted?",
        ) from None


def _look(top: int, below: bytes, here: Here[Seen]) -> os.stat_result | None:
    parent, _, name = below.rpartition(b"/")
    try:
        with folder(top, parent) as opened:
            return os.stat(name or b".", dir_fd=opened, follow_symlinks=False)
    except OSError as error:
        _complain(error, below, here)
        return None


def _walked(top: int, below: bytes, depth: int, here: Here[Seen]) -> Iterator[tuple[bytes, Seen]]:
    folders = [(below, 1)]
    while folders:
        path, level = folders.pop()
        for inner, seen in _entries(top, path, here):
            if seen is not None:
                yield inner, seen
            elif not depth or level < depth:
                folders.append((inner, level + 1))
            else:
                here.too_deep.add(inner)


def _entries(top: int, path: bytes, here: Here[T]) -> Iterator[tuple[bytes, Seen | None]]:
    """What lies right in a folder; nothing when it is gone."""
    try:
        with folder(top, path) as parent:
            opened = os.open(b".", _FOLDER, dir_fd=parent)
        try:
            with os.scandir(opened) as entries:
                for entry in entries:
                    inner = (path + b"/" if path else b"") + os.fsencode(entry.name)
                    if is_own(inner):
                        continue
                    try:
                        seen = _told(entry)
                    except OSError as error:  # the others are still there
                        _complain(error, inner, here)
                    else:
                        yield inner, seen
        finally:
            os.close(opened)
    except OSError as error:
        _complain(error, path, here)


def _told(entry: "os.DirEntry[str]") -> Seen | None:
    is_folder = entry.is_dir(follow_symlinks=False)
    return None if is_folder else _seen(entry.stat(follow_symlinks=False))


def _seen(found: os.stat_result) -> Seen:
    return Seen(
        found.st_size,
        is_link=stat.S_ISLNK(found.st_mode),
        modified_ns=found.st_mtime_ns,
        identity=(found.st_dev, found.st_ino, found.st_ctime_ns),
    )


def _complain(error: OSError, path: bytes, here: Here[T]) -> None:
    if error.errno not in _NOTHING_THERE:
        here.unreadable[path] = error.strerror or "cannot be read"

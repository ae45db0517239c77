"""Whether a folder can be the root of a tier, and which tier a path lies in. These calls block."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.errors import BadRequest, Conflict, Invalid
from holdfast.tiers.model import is_own, nearest_root, relative_to
from holdfast.tiers.names import to_text

LONGEST_ROOT_BYTES = 1024
"""Far below what a database can index, and it leaves room for the paths in it."""
LONGEST_PATH_BYTES, LONGEST_NAME_BYTES = 4096, 255
"""Of Linux: nothing longer can be on a disk."""
NAMED = 80
"""Characters of a path that is too long to be repeated."""
_HIDDEN_BY_SYSTEMD = (b"/home/", b"/root/", b"/run/user/")
"""What ``ProtectHome=yes`` hides."""


@dataclass(frozen=True, slots=True)
class Room:
    """How full the file system of a folder is, in bytes, for those who are not root."""

    used: int
    available: int
    device: int
    inode: int
    """Of the folder: with the device, which one it is, by whatever path it is reached."""


def shown(path: bytes) -> str:
    """A path for people."""
    return to_text(path)


def checked_root(asked: bytes, *, data_dir: Path) -> bytes:
    """The root of a tier without symlinks. Raises ``Invalid`` for what cannot be one."""
    if not asked.startswith(b"/"):
        raise Invalid(f"{shown(asked)} is no absolute path", hint="begin with a slash")
    root = os.path.realpath(asked)
    if len(root) > LONGEST_ROOT_BYTES:
        raise Invalid(f"the path of a tier's folder has at most {LONGEST_ROOT_BYTES} bytes")
    _check_folder(root)
    _check_own(root, data_dir)
    return root


def check_apart(root: bytes, others: Iterable[tuple[str, bytes]]) -> None:
    """Raises ``Conflict`` for a root in or around another tier's; ``others``: names and roots."""
    for name, other in others:
        if root == other:
            raise Conflict(f"{shown(root)} is the folder of the tier {name!r} already")
        if relative_to(root, other) is not None or relative_to(other, root) is not None:
            raise Conflict(
                f"{shown(root)} and the tier {name!r} at {shown(other)} lie in one another",
                hint="a file belongs to one tier: choose another folder, or use rules of that tier",
            )


def check_not_stored_in(root: bytes, name: str, stored: bytes) -> None:
    """Raises ``Conflict`` when a store's folder on this machine lies in or around a tier's root.

    Its files would be the proof of themselves: the last copy would leave. Mounted once more or
    behind symlinks, it is the same folder.
    """
    real = os.path.realpath(stored)
    nested = relative_to(root, real) is not None or relative_to(real, root) is not None
    if nested or _leads_into(real, root) or _leads_into(root, real):
        raise Conflict(
            f"the store {name!r} at {shown(stored)} and the tier's folder {shown(root)} lie in "
            "one another: the files of the tier would prove themselves",
            hint="the store must be another copy, in a folder beside it or on another disk",
        )


def _leads_into(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder, or lies in it, by what the folders on its way are."""
    wanted = _identity(folder)
    here = path
    while wanted is not None:
        if _identity(here) == wanted:
            return True
        if here == b"/":
            return False
        here = os.path.dirname(here)  # noqa: PTH120 - bytes
    return False


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - bytes
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_folder(root: bytes) -> None:
    try:
        found = os.lstat(root)
    except OSError as error:
        hint = "make the folder first"
        if root.startswith(_HIDDEN_BY_SYSTEMD):
            hint += "; if it is there, systemd hides it: ProtectHome=no in the unit of Holdfast"
        raise Invalid(f"{shown(root)}: {error.strerror}", hint=hint) from None
    if not stat.S_ISDIR(found.st_mode):
        raise Invalid(f"{shown(root)} is no folder")
    if root == b"/":
        raise Invalid("the whole machine cannot be a tier", hint="choose a folder")
    for mode, words in ((os.R_OK | os.X_OK, "read"), (os.W_OK | os.X_OK, "write")):
        if not os.access(root, mode):
            raise Invalid(
                f"{shown(root)}: Holdfast, as user {os.geteuid()}, may not {words} there",
                hint="give that user the right, or run Holdfast as the owner",
            )


def _check_own(root: bytes, data_dir: Path) -> None:
    own = os.path.realpath(os.fsencode(data_dir))
    if relative_to(own, root) is not None or relative_to(root, own) is not None:
        raise Invalid(
            f"{shown(root)} and Holdfast's own data at {shown(own)} lie in one another",
            hint="choose a folder beside it",
        )


def room_of(root: bytes) -> Room:
    """How full its file system is."""
    found = os.statvfs(root)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    folder = os.stat(root)  # noqa: PTH116 - bytes
    return Room(
        used=used,
        available=found.f_bavail * found.f_frsize,
        device=folder.st_dev,
        inode=folder.st_ino,
    )


def located(asked: bytes, roots: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The root that an absolute path lies below, and the path relative to it.

    The folders on its way are followed, the path's own last part is not: a symlink in a tier is a
    thing of the tier. Raises ``Invalid``, and ``BadRequest`` when it is outside every tier.
    """
    if not asked.startswith(b"/") or b"\0" in asked:
        raise Invalid(f"{shown(asked)} is no absolute path", hint="begin with a slash")
    if b".." in asked.split(b"/"):
        raise Invalid(f"{shown(asked)} has .. in it", hint="give the path without it")
    if len(asked) > LONGEST_PATH_BYTES or max(map(len, asked.split(b"/"))) > LONGEST_NAME_BYTES:
        raise Invalid(f"{shown(asked)[:NAMED]}... is longer than a path of a file can be")
    known = list(roots)
    plain = b"/" + b"/".join(part for part in asked.split(b"/") if part not in (b"", b"."))
    folder, _, name = plain.rpartition(b"/")
    resolved = os.path.realpath(folder or b"/").rstrip(b"/") + b"/" + name
    for path in (resolved, os.path.realpath(plain)):
        root = nearest_root(known, path)
        relative = relative_to(root, path) if root is not None else None
        if root is not None and relative is not None and (path is resolved or not relative):
            return root, _not_ours(relative, asked)
    raise BadRequest(f"{shown(asked)} is in no tier", hint="see the tiers: holdfast tier list")


def _not_ours(relative: bytes, asked: bytes) -> bytes:
    if is_own(relative):
        raise Invalid(
            f"{shown(asked)} is Holdfast's own: what is frozen or fetched waits there",
            hint="bring back what was frozen with holdfast tier undo JOB",
        )
    return relative

"""What a file has from the folder that it is made in, for one that is made elsewhere and moved."""

import os
import stat as modes
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

DEFAULT_ACL = "system.posix_acl_default"
ACCESS_ACL = "system.posix_acl_access"
_HEAD = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")
_USER_OWNER, _GROUP_OWNER, _MASK, _OTHERS = 0x01, 0x04, 0x10, 0x20
_READ_AND_WRITE = 0o6
"""What a new file asks for, for each."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """Of one folder."""

    group: int | None = None
    """When it hands on its group."""
    access: bytes | None = None
    """The access list of new files, as the kernel takes it."""


def inherited_from(here: int) -> Inherited:
    """What new files in a folder get."""
    found = os.fstat(here)
    group = found.st_gid if found.st_mode & modes.S_ISGID else None
    access = None
    with suppress(OSError):  # it has none, or its file system knows none
        access = _of_file(os.getxattr(f"/proc/self/fd/{here}", DEFAULT_ACL))
    return Inherited(group, access)


def give_access(folder: int, name: bytes, given: Inherited) -> None:
    """Give a file of a folder of ours the access list, as far as its file system has any."""
    if given.access is not None:
        with suppress(OSError):
            os.setxattr(f"/proc/self/fd/{folder}/".encode() + name, ACCESS_ACL, given.access)


def hand_on_nothing(folder: int) -> None:
    """What is made in this folder has no access list."""
    with suppress(OSError):
        os.removexattr(f"/proc/self/fd/{folder}", DEFAULT_ACL)


def _of_file(default: bytes) -> bytes:
    """The access list that the kernel makes of a folder's default for a file (acl(5))."""
    entries = list(_entries(default))
    masking = _MASK if any(tag == _MASK for tag, _, _ in entries) else _GROUP_OWNER
    less = {_USER_OWNER, masking, _OTHERS}
    made = [
        _ENTRY.pack(tag, perm & _READ_AND_WRITE if tag in less else perm, who)
        for tag, perm, who in entries
    ]
    return default[: _HEAD.size] + b"".join(made)


def _entries(acl: bytes) -> Iterator[tuple[int, int, int]]:
    yield from _ENTRY.iter_unpack(acl[_HEAD.size :])

"""The rename that refuses instead of replacing, which Python does not have."""

import ctypes
import errno
import os

_NO_REPLACE = 1
_libc = ctypes.CDLL(None, use_errno=True)


class CannotRefuse(OSError):
    """The file system cannot rename without replacing (NFS, ZFS before 2.2)."""


def rename_new(from_folder: int, name: bytes, to_folder: int, to: bytes) -> None:
    """Rename, but never over something: ``FileExistsError``. Raises `CannotRefuse`."""
    if _libc.renameat2(from_folder, name, to_folder, to, _NO_REPLACE):
        number = ctypes.get_errno()
        if number in {errno.EINVAL, errno.ENOSYS}:
            raise CannotRefuse(number, os.strerror(number))
        raise OSError(number, os.strerror(number))

"""Moves that refuse instead of replacing, which Python does not have."""

import ctypes
import errno
import os
from contextlib import suppress

_NO_REPLACE = 1
_FILE_MODE = 0o666
_PIECE_BYTES = 16 * 1024 * 1024
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


def move_new(from_folder: int, name: bytes, to_folder: int, to: bytes) -> None:
    """Rename out of a folder that nobody else enters, but never over something.

    Where that cannot be one step: a second name, which is never made over another, and the first
    goes.
    """
    try:
        rename_new(from_folder, name, to_folder, to)
    except CannotRefuse:
        os.link(name, to, src_dir_fd=from_folder, dst_dir_fd=to_folder, follow_symlinks=False)
        os.unlink(name, dir_fd=from_folder)


def copy_new(from_folder: int, name: bytes, to_folder: int, to: bytes) -> None:
    """The same where no name can cross (another file system, another quota): the first stays.

    The copy has no name before it is whole and on the disk.
    """
    given = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=from_folder)
    try:
        place = f"/proc/self/fd/{to_folder}"
        made = os.open(place, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _FILE_MODE)
        try:
            while os.sendfile(made, given, None, _PIECE_BYTES):
                pass
            found = os.fstat(given)
            with suppress(PermissionError):
                os.fchown(made, found.st_uid, found.st_gid)
            os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))
            os.fsync(made)
            os.link(f"/proc/self/fd/{made}", to, dst_dir_fd=to_folder, follow_symlinks=True)
        finally:
            os.close(made)
    finally:
        os.close(given)


def sync_file_system(folder: int) -> None:
    """What was written to a folder's file system lies on its disk then."""
    opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        if _libc.syncfs(opened):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(opened)

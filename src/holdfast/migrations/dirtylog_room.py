"""Room for the dirty log: what nginx appends until the next look is set aside beforehand.

A line that finds the disk full is lost, and leaves no trace once there is room again.
"""

import ctypes
import errno
import os
from collections.abc import Callable

RESERVED_BYTES = 16 * 1024 * 1024
"""More than nginx logs between two looks, but for a storm of batches: then a full pass is owed."""
MIN_FREE_BYTES = 4 * 1024 * 1024
"""Where nothing can be set aside, a disk with less than this free counts as full."""
FULL = "the disk of the dirty log is full"
_KEEP_SIZE = 1
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Room:
    """Space behind the end of one log file."""

    def __init__(self, file: int, free_bytes: Callable[[], int]) -> None:
        self._file, self._free_bytes = file, free_bytes
        self._end: int | None = None
        self.full = False
        """Whether there was no room at the last look: lines written since then may be lost."""

    def look(self, size_bytes: int) -> str:
        """Set room aside behind ``size_bytes``, which is where the file was just read to.

        Gives a reason when lines may have been lost since the last look, or may be from now on.
        """
        outgrown = self._end is not None and size_bytes > self._end
        try:
            _allocate(self._file, size_bytes, RESERVED_BYTES)
        except OSError as error:
            self._end = None
            self.full = error.errno in _NO_ROOM or self._free_bytes() < MIN_FREE_BYTES
        else:
            self._end = size_bytes + RESERVED_BYTES
            self.full = False
        if self.full:
            return FULL
        return "the dirty log grew more than was set aside for it" if outgrown else ""


def _allocate(file: int, offset: int, size_bytes: int) -> None:
    """fallocate(2), which leaves the file as long as it is; Python has only the one that does not.

    Raises ``OSError``, also where the file system or the C library has no such thing.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if call is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if call(file, _KEEP_SIZE, ctypes.c_int64(offset), ctypes.c_int64(size_bytes)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

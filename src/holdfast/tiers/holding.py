"""Files held by the kernel: opened without a trace, and leased, so that nobody else has them open.

A lease is refused while another program has the file open (or mapped), and who opens it while it is
held waits until it is let go. Opening leaves the time of reading as it was, follows no symlink, and
waits for nobody.
"""

import errno
import fcntl
import os
import signal
import stat as modes
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.tiers.model import Candidate, Skip
from holdfast.tiers.names import to_text

READING = fcntl.F_RDLCK
"""Nobody may write meanwhile."""
ALONE = fcntl.F_WRLCK
"""Nobody may read or write meanwhile."""
TICK_NS = 20_000_000
"""Changes that are so close together may have the same time (the kernel's clock ticks)."""
SECOND_NS = 1_000_000_000
PRIVATE = 0o700
MADE = 0o777
"""Of folders in the tree, less the umask."""
Made = Callable[[int, bytes], object]
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOATIME
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_REASONS = {
    errno.ENOENT: Skip.GONE,
    errno.ENOTDIR: Skip.GONE,
    errno.ELOOP: Skip.CHANGED,
    errno.ENXIO: Skip.CHANGED,
    errno.EACCES: Skip.NOT_PERMITTED,
    errno.EPERM: Skip.NOT_PERMITTED,
    errno.EAGAIN: Skip.IN_USE,
    errno.EEXIST: Skip.EXISTS,
    errno.ENAMETOOLONG: Skip.NO_NAME,
}
_NO_LEASES = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOLCK})


class Stays(Exception):
    """A file is left as it is, and why."""

    def __init__(self, reason: Skip, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@contextmanager
def told() -> Iterator[None]:
    """Turns what the system says of one file into `Stays`."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, Skip.FAILED)
        raise Stays(reason, error.strerror or "") from error


@contextmanager
def folder(
    root: int, path: bytes, *, make: int | None = None, made: Made | None = None
) -> Iterator[int]:
    """A descriptor of a folder below ``root``, reached without following a symlink.

    ``make``: the mode of the folders that are missing on the way; None: raise. ``made`` is called
    for each that was made.
    """
    here = os.dup(root)
    try:
        for name in path.split(b"/") if path else ():
            following = _opened(here, name, make, made)
            os.close(here)
            here = following
        yield here
    finally:
        os.close(here)


def _opened(parent: int, name: bytes, make: int | None, made: Made | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        if make is None:
            raise
    with suppress(FileExistsError):  # somebody was quicker
        os.mkdir(name, make, dir_fd=parent)
        if made is not None:
            made(parent, name)
    return os.open(name, _FOLDER, dir_fd=parent)


def open_root(root: bytes) -> int:
    """A descriptor of a tier's root, for `folder`."""
    return os.open(root, _FOLDER)


@contextmanager
def opened_root(root: bytes) -> Iterator[int]:
    """The same while a block runs. Raises ``Unavailable``."""
    try:
        opened = open_root(root)
    except OSError as error:
        raise Unavailable(
            f"the tier's folder {to_text(root)} cannot be used: {error.strerror}",
            hint="is its file system mounted?",
        ) from error
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def private_folder(root: int, name: str, *, make: bool) -> Iterator[int]:
    """A folder of ours at a tier's root. Raises ``Conflict`` when others may enter it."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(
                folder(root, name.encode(), make=PRIVATE if make else None)
            )
        except NotADirectoryError:
            raise _not_ours(name) from None
        found = os.fstat(opened)
        if found.st_uid != os.geteuid() or modes.S_IMODE(found.st_mode) & 0o077:
            raise _not_ours(name)
        yield opened


def _not_ours(name: str) -> Conflict:
    return Conflict(
        f"the folder {name} of the tier is not ours alone",
        hint="it must belong to the user that Holdfast runs as, with mode 0700",
    )


def open_leased(parent: int, name: bytes, lease: int) -> int:
    """A descriptor of a regular file, leased. Raises ``OSError``, `Stays`."""
    descriptor = os.open(name, _FILE, dir_fd=parent)
    try:
        _check_regular(descriptor)
        # What tells us that somebody waits must be a signal that does not end this process.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, lease)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NO_LEASES:
            raise Stays(Skip.FAILED, "its file system has no leases") from error
        raise
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_regular(descriptor: int) -> None:
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):
        raise Stays(Skip.CHANGED, "it is no regular file any more")


def is_leased(descriptor: int, lease: int) -> bool:
    """Whether nobody waits for the end of this lease."""
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == lease)


def let_go(descriptor: int) -> None:
    """End a lease, and close."""
    with suppress(OSError):  # it may have been taken from us
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(descriptor)


@contextmanager
def leased(root: int, path: bytes, lease: int) -> Iterator[int]:
    """`open_leased` of a path below ``root``. Raises `Stays`."""
    parent_path, _, name = path.rpartition(b"/")
    with told(), folder(root, parent_path) as parent:
        descriptor = open_leased(parent, name, lease)
    try:
        yield descriptor
    finally:
        let_go(descriptor)


def is_as(found: os.stat_result, expected: Candidate) -> bool:
    """Whether a file is as it was when it was found."""
    return (
        found.st_ino == expected.inode
        and found.st_dev == expected.device
        and found.st_size == expected.size_bytes
        and found.st_mtime_ns == expected.mtime_ns
        and found.st_ctime_ns == expected.ctime_ns
        and found.st_nlink == expected.links
        and modes.S_ISREG(found.st_mode)
    )


def wait_until_old(changed_ns: int) -> None:
    """Wait, if need be, until a change that comes now has another time than this one.

    Raises `Stays` when that takes longer than a file system's clock can be wide: the time lies in
    the future.
    """
    # Where times have whole seconds only, so has the next one.
    width_ns = TICK_NS if changed_ns % SECOND_NS else SECOND_NS + TICK_NS
    missing_ns = changed_ns + width_ns - time.time_ns()
    if missing_ns > width_ns + TICK_NS:
        raise Stays(Skip.CHANGED, "it was changed in the future: is the clock right?")
    if missing_ns > 0:
        time.sleep(missing_ns / SECOND_NS)

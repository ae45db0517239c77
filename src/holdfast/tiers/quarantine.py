"""Moves a file to the quarantine folder of its tier and back, or removes it there.

Nothing is ever replaced, no symlink is followed, and what was swapped in on the way is put back.
The moves are the kernel's renames: a file is in the one place or in the other, never in none.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from holdfast.tiers import holding, renaming
from holdfast.tiers.holding import ALONE, MADE, PRIVATE, Stays, told
from holdfast.tiers.model import QUARANTINE, Candidate, Skip
from holdfast.tiers.names import to_text

BESIDE_TRIES = 100
MAKE_TRIES = 3
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Held:
    """A file (all its names) in quarantine, still leased: `Quarantine.release` it."""

    files: tuple[Candidate, ...]
    descriptor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of a file in quarantine from the moment it was moved."""

    path: bytes
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    links: int = 1


class Quarantine:
    """The quarantine of one job below a tier's root; a context manager."""

    def __init__(self, root: bytes, job_id: str) -> None:
        """Raises ``OSError`` when the root is not there."""
        self._job = job_id.encode()
        self._root = holding.open_root(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._root)

    def take(self, files: Sequence[Candidate]) -> Held:
        """Move a file, with all its names, out of the tree. Raises `Stays`: all is as it was.

        It stays leased until it is released: who opens it meanwhile waits, and is noticed.
        """
        first = files[0]
        parent_path, _, name = first.path.rpartition(b"/")
        with told(), holding.folder(self._root, parent_path) as parent:
            descriptor = holding.open_leased(parent, name, ALONE)
        moved: list[Candidate] = []
        try:
            self._take_names(files, descriptor, moved)
        except Stays as stays:
            stays.detail = self._return(moved) or stays.detail
            holding.let_go(descriptor)
            raise
        except BaseException:
            holding.let_go(descriptor)  # the journal knows what is where
            raise
        return Held(tuple(files), descriptor)

    def release(self, held: Held) -> int:
        """Let a file go that was taken: its time of change, by which any later one is known.

        To be called when the kernel's clock has ticked since it was taken. Raises `Stays` when
        somebody waits for it, and it was put back.
        """
        try:
            if not holding.is_leased(held.descriptor, ALONE):
                raise Stays(Skip.IN_USE, self._return(held.files))
            return os.fstat(held.descriptor).st_ctime_ns
        finally:
            holding.let_go(held.descriptor)

    def lies_here(self, path: bytes) -> os.stat_result | None:
        """What is in quarantine under this path."""
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with missing, self._place(path, make=False) as (parent, name):
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        return None

    def lies_in_tree(self, path: bytes) -> os.stat_result | None:
        """What is in the tree under this path; None also when the way leads over a symlink."""
        parent_path, _, name = path.rpartition(b"/")
        missing = suppress(FileNotFoundError, NotADirectoryError)
        with missing, holding.folder(self._root, parent_path) as parent:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        return None

    def device(self) -> int:
        """The file system of the root, as it is mounted now."""
        return os.fstat(self._root).st_dev

    def is_there(self) -> bool:
        """Whether this job has a folder here."""
        with suppress(FileNotFoundError), self._own(make=False):
            return True
        return False

    def put_back(self, path: bytes, *, beside: bool = False) -> bytes:
        """Move a file back to its place, and say where it lies now.

        When the place is taken it stays (`Stays` is raised), or, if asked for, it goes beside it
        under another name.
        """
        parent_path, _, name = path.rpartition(b"/")
        with told(), self._place(path, make=False) as (place, _), ExitStack() as stack:
            try:
                parent = stack.enter_context(holding.folder(self._root, parent_path, make=MADE))
            except NotADirectoryError:
                raise Stays(Skip.EXISTS, "the way to its place is no folder any more") from None
            to = self._move_out(place, name, parent, beside=beside)
            return b"/".join((parent_path, to)) if parent_path else to

    def as_found(self, kept: Kept) -> Candidate:
        """A file in quarantine as it is now, by its path from the root. Raises `Stays`."""
        found = self.lies_here(kept.path)
        if found is None:
            raise Stays(Skip.GONE)
        return Candidate(
            path=b"/".join((QUARANTINE.encode(), self._job, kept.path)),
            size_bytes=kept.size_bytes,
            device=self.device(),
            inode=kept.inode,
            links=1,
            mtime_ns=kept.mtime_ns,
            ctime_ns=found.st_ctime_ns,
            atime_ns=found.st_atime_ns,
        )

    def jobs(self) -> list[str] | None:
        """The jobs that have a folder here; None: there is no quarantine."""
        with (
            suppress(FileNotFoundError),
            holding.private_folder(self._root, QUARANTINE, make=False) as found,
        ):
            opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found)
            try:
                with os.scandir(opened) as entries:
                    return [entry.name for entry in entries]
            finally:
                os.close(opened)
        return None

    def clear(self) -> list[tuple[bytes, bytes]]:
        """Remove the folder of this job; what still lies in it goes back: its path, and where to.

        What cannot go back keeps the folder.
        """
        landed: list[tuple[bytes, bytes]] = []
        with suppress(FileNotFoundError):
            with self._own(make=False) as own:
                for folder, folders, files, descriptor in os.fwalk(b".", topdown=False, dir_fd=own):
                    for name in folders:
                        with suppress(OSError):
                            os.rmdir(name, dir_fd=descriptor)
                    for name in files:
                        path = b"/".join((folder, name)).removeprefix(b"./")
                        with suppress(Stays):
                            landed.append((path, self.put_back(path, beside=True)))
            with (
                suppress(OSError),
                holding.private_folder(self._root, QUARANTINE, make=False) as all_jobs,
            ):
                os.rmdir(self._job, dir_fd=all_jobs)
        return landed

    def remove_empty(self) -> None:
        """Remove the folder of all jobs, when it is empty and nobody is about to use it."""
        with suppress(OSError):
            os.rmdir(QUARANTINE, dir_fd=self._root)

    @property
    def root(self) -> int:
        """The tier's root, open as long as this is."""
        return self._root

    @contextmanager
    def held(self, kept: Sequence[Kept]) -> Iterator[int]:
        """Lease a file (all its names) that nobody has touched since it was moved, or `Stays`."""
        first = kept[0]
        with told(), self._place(first.path, make=False) as (parent, name):
            descriptor = holding.open_leased(parent, name, ALONE)
        try:
            found = os.fstat(descriptor)
            same = all(_is_kept(found, one) for one in kept)
            if not same or found.st_nlink != len(kept):
                raise Stays(Skip.CHANGED)
            yield descriptor
        finally:
            holding.let_go(descriptor)

    def remove(self, kept: Sequence[Kept]) -> None:
        """Remove a file with all its names, for ever. Raises `Stays`: then it is all there."""
        with self.held(kept) as descriptor:
            for one in kept:
                found = self.lies_here(one.path)
                if found is None or not _same(found, descriptor):
                    raise Stays(Skip.CHANGED)
            if not holding.is_leased(descriptor, ALONE):
                raise Stays(Skip.IN_USE)
            for one in kept:
                with told(), self._place(one.path, make=False) as (parent, name):
                    os.unlink(name, dir_fd=parent)

    def _take_names(
        self, files: Sequence[Candidate], descriptor: int, moved: list[Candidate]
    ) -> None:
        first, found = files[0], os.fstat(descriptor)
        if not holding.is_as(found, first):
            raise Stays(Skip.CHANGED)
        if found.st_atime_ns > first.atime_ns:  # while the others of the plan were proven
            raise Stays(Skip.READ_RECENTLY)
        if first.links != len(files):
            raise Stays(Skip.LINKED)
        for file in files:
            self._move_in(file, descriptor)
            moved.append(file)
        if not holding.is_leased(descriptor, ALONE):
            raise Stays(Skip.IN_USE)
        if not _is_still(first, descriptor):
            raise Stays(Skip.CHANGED)

    def _move_in(self, file: Candidate, descriptor: int) -> None:
        """Rename one name, and see that it was the name of the file that is held."""
        parent_path, _, name = file.path.rpartition(b"/")
        with (
            told(),
            holding.folder(self._root, parent_path) as parent,
            self._place(file.path, make=True) as (place, _),
        ):
            if not _same(os.stat(name, dir_fd=parent, follow_symlinks=False), descriptor):
                raise Stays(Skip.CHANGED)
            _rename_in(parent, name, place, name)
            moved = os.stat(name, dir_fd=place, follow_symlinks=False)
            if not _same(moved, descriptor) or not self._leads_to(parent_path, parent):
                to = self._move_out(place, name, parent, beside=True)
                raise Stays(Skip.CHANGED, "" if to == name else _lies_at(to))

    def _move_out(self, place: int, name: bytes, parent: int, *, beside: bool) -> bytes:
        for to in self._names(name) if beside else (name,):
            with suppress(FileExistsError):
                renaming.move_new(place, name, parent, to)
                return to
            if _are_one(place, name, parent, to):  # a second name of it is there already
                os.unlink(name, dir_fd=place)
                return to
        raise Stays(Skip.EXISTS)

    def _leads_to(self, path: bytes, descriptor: int) -> bool:
        """Whether a folder that was opened by its path is still there."""
        with suppress(OSError), holding.folder(self._root, path) as now:
            return _same(os.fstat(now), descriptor)
        return False

    def _return(self, files: Sequence[Candidate]) -> str:
        """Put back what was moved, and say what has another name now.

        What cannot go back stays where mending finds it.
        """
        landed = ""
        for file in files:
            with suppress(Stays):
                now = self.put_back(file.path, beside=True)
                landed = landed if now == file.path else _lies_at(now)
        return landed

    @contextmanager
    def _own(self, *, make: bool) -> Iterator[int]:
        """The folder of this job, which nobody else may enter."""
        with ExitStack() as stack:
            yield self._enter(stack, make=make)

    def _enter(self, stack: ExitStack, *, make: bool) -> int:
        """Whoever cleans up may remove an empty folder under us: then it is made again."""
        for _ in range(MAKE_TRIES if make else 0):
            with suppress(FileNotFoundError):
                return stack.enter_context(self._entered(make=True))
        return stack.enter_context(self._entered(make=make))

    @contextmanager
    def _entered(self, *, make: bool) -> Iterator[int]:
        mode = PRIVATE if make else None
        with (
            holding.private_folder(self._root, QUARANTINE, make=make) as all_jobs,
            holding.folder(all_jobs, self._job, make=mode) as own,
        ):
            yield own

    @contextmanager
    def _place(self, path: bytes, *, make: bool) -> Iterator[tuple[int, bytes]]:
        """The folder in quarantine that a path has there, and its name in it."""
        parent_path, _, name = path.rpartition(b"/")
        mode = PRIVATE if make else None
        with self._own(make=make) as own, holding.folder(own, parent_path, make=mode) as place:
            yield place, name

    def _names(self, name: bytes) -> Iterator[bytes]:
        yield name
        for number in range(1, BESIDE_TRIES):
            end = b".holdfast-" + self._job[:8] + (b"" if number == 1 else b"-%d" % number)
            yield name[: LONGEST_NAME - len(end)] + end


def _rename_in(from_folder: int, name: bytes, place: int, to: bytes) -> None:
    """Into a folder that nobody else writes to: what is not there now does not appear."""
    try:
        renaming.rename_new(from_folder, name, place, to)
    except renaming.CannotRefuse:
        with suppress(FileNotFoundError):
            os.stat(to, dir_fd=place, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(name, to, src_dir_fd=from_folder, dst_dir_fd=place)


def _are_one(place: int, name: bytes, parent: int, to: bytes) -> bool:
    one = os.stat(name, dir_fd=place, follow_symlinks=False)
    other = os.stat(to, dir_fd=parent, follow_symlinks=False)
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _lies_at(path: bytes) -> str:
    return f"it lies at {to_text(path)} now"


def _same(found: os.stat_result, descriptor: int) -> bool:
    held = os.fstat(descriptor)
    return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)


def _is_still(file: Candidate, descriptor: int) -> bool:
    found = os.fstat(descriptor)
    now = (found.st_size, found.st_mtime_ns, found.st_nlink)
    return now == (file.size_bytes, file.mtime_ns, file.links)


def _is_kept(found: os.stat_result, kept: Kept) -> bool:
    """Without the device: a start of the machine may give the disk another number."""
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) == (
        kept.inode,
        kept.size_bytes,
        kept.mtime_ns,
        kept.ctime_ns,
    )

"""Somebody else changes a file at every point of its freeze: no changed byte is ever removed."""

import asyncio
import mmap
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.kernel.db import Database
from holdfast.tiers import holding, proof, renaming
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.holding import Stays
from holdfast.tiers.listing import ListingTotals
from holdfast.tiers.merge import Count, Listed
from holdfast.tiers.model import Candidate, FileState
from holdfast.tiers.plan_file import FreezePlan, write_plan
from tests.tiers.icebox import Icebox, an_icebox, found

NOTHING_FREE = ListingTotals(listed=Count(), hash_kind=None)
VICTIM, BYSTANDER = b"d/victim", b"d/bystander"
NEW = b"CHANGED of d/victim"
HEAD_START_SECONDS = 0.01
"""So long at most the freeze waits for the other one, who may be waiting for the freeze."""
POINTS = 64
WATCHED = ((holding, "open_leased"), (holding, "is_leased"), (holding, "let_go"))
MOVES = ((renaming, "rename_new"), (os, "unlink"), (os, "readv"))


Act = Callable[["Other"], bytes | None]


class Other:
    """Another program, as a thread: what it did to the file, when it came to do it."""

    def __init__(self, path: Path, act: "Act") -> None:
        self.path = path
        self.outside = path.parents[2] / "outside"
        self.may_end = threading.Event()
        self.wrote: bytes | None = None
        """What must still be somewhere."""
        self._act = act
        self._thread = threading.Thread(target=self._run)

    def come(self) -> None:
        self._thread.start()
        self._thread.join(HEAD_START_SECONDS)

    def leave(self) -> None:
        self.may_end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        with suppress(FileNotFoundError):  # it came too late
            self.wrote = self._act(self)


def overwrite(other: Other) -> bytes:
    """With its old times put back."""
    old = other.path.stat()
    with other.path.open("r+b") as file:
        file.write(NEW)
        file.flush()
        os.utime(file.fileno(), ns=(old.st_atime_ns, old.st_mtime_ns))
    return NEW


def append(other: Other) -> bytes:
    with other.path.open("r+b") as file:
        file.seek(0, 2)
        file.write(NEW)
        file.seek(0)
        return file.read()


def write_mapped(other: Other) -> bytes:
    with other.path.open("r+b") as file, mmap.mmap(file.fileno(), len(NEW)) as memory:
        memory[:] = NEW
    return NEW


def hold_and_write(other: Other) -> bytes:
    with other.path.open("r+b") as file:
        other.may_end.wait()
        file.write(NEW)
    return NEW


def hold_mapped(other: Other) -> bytes:
    with other.path.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), len(NEW))
    other.may_end.wait()
    memory[:] = NEW
    memory.close()
    return NEW


def truncate(other: Other) -> bytes:
    os.truncate(other.path, 7)
    return b"content"


def replace(other: Other) -> bytes:
    """As editors do."""
    draft = other.path.with_name("draft")
    draft.write_bytes(NEW)
    draft.rename(other.path)
    return NEW


def replace_by_link(other: Other) -> bytes:
    """A symlink to something that must not be touched."""
    (other.outside / "precious").write_bytes(NEW)
    other.path.unlink()
    other.path.symlink_to(other.outside / "precious")
    return NEW


def link_and_write(other: Other) -> bytes:
    os.link(other.path, other.outside / "link")
    (other.outside / "link").write_bytes(NEW)
    return NEW


def rename(other: Other) -> bytes:
    """Away, and a new one in its place."""
    other.path.rename(other.path.with_name("renamed"))
    other.path.write_bytes(NEW)
    return NEW


def rename_folder(other: Other) -> bytes:
    other.path.parent.rename(other.path.parent.with_name("other"))
    other.path.parent.mkdir()
    other.path.write_bytes(NEW)
    return NEW


def remove(other: Other) -> None:
    other.path.unlink()


def remove_folder(other: Other) -> None:
    shutil.rmtree(other.path.parent)


ACTS = [
    overwrite,
    append,
    write_mapped,
    hold_and_write,
    hold_mapped,
    truncate,
    replace,
    replace_by_link,
    link_and_write,
    rename,
    rename_folder,
    remove,
    remove_folder,
]


@contextmanager
def coming_at(other: Other, point: int) -> Iterator[list[int]]:
    """The other one comes before or after one of the calls that touch the file."""
    passed = [0]

    def at_a_point() -> None:
        passed[0] += 1
        if passed[0] == point + 1:
            other.come()

    def watched(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            at_a_point()
            result = real(*args, **kwargs)
            at_a_point()
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (*WATCHED, *MOVES):
            patch.setattr(owner, name, watched(getattr(owner, name)))
        yield passed


async def prove_and_freeze(box: Icebox, files: list[Candidate]) -> None:
    run = box.run(undo_hours=0)
    block = [(file, (_listed(file),)) for file in files]
    results = await proof.prove(run, block, (NOTHING_FREE,))
    proven = [
        (file, result)
        for file, result in zip(files, results, strict=True)
        if not isinstance(result, Stays)
    ]
    path = run.work / "plan"
    with path.open("w") as to:
        write_plan(to, proven)
    await freeze(run, FreezePlan(files=len(proven), size_bytes=0, path=path))


def _listed(file: Candidate) -> Listed:
    return Listed(path=file.path, size_bytes=file.size_bytes, digest="", version="", odd_name=b"")


async def race(
    template: Path, place: Path, act: Callable[[Other], bytes | None], point: int
) -> int:
    """One freeze with one change in it; gives how many points it had."""
    shutil.copy(template, place / "holdfast.db")
    (place / "outside").mkdir()
    database = Database(f"sqlite+aiosqlite:///{place / 'holdfast.db'}")
    try:
        box = await an_icebox(database, place)
        box.put(VICTIM, BYSTANDER)
        other = Other(box.root / "d/victim", act)
        files = [found(box.root, name) for name in (VICTIM, BYSTANDER)]
        with coming_at(other, point) as passed:
            await prove_and_freeze(box, files)
        other.leave()
        await empty_due(box.run())
        await empty_due(box.run())
        kept = [path.read_bytes() for path in place.rglob("*") if _is_file(path)]
        if other.wrote is not None:
            assert other.wrote in kept, (act.__name__, point, other.wrote)
        states = await box.states()
        if act not in {remove_folder, rename_folder}:
            assert states[BYSTANDER] == FileState.FROZEN
        if other.wrote is None and act not in {remove, remove_folder}:
            assert box.stored[VICTIM] in kept or states[VICTIM] == FileState.FROZEN
        return passed[0]
    finally:
        await database.close()


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and "own" not in path.parts


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(act=st.sampled_from(ACTS), point=st.integers(0, POINTS))
def test_no_changed_byte_is_removed(sqlite_template: Path, act: Any, point: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(race(sqlite_template, Path(place), act, point))


def test_the_points_are_all_of_a_freeze(sqlite_template: Path, tmp_path: Path) -> None:
    passed = asyncio.run(race(sqlite_template, tmp_path, remove, 10_000))
    assert passed == POINTS

"""What a freeze took comes back, and never over something."""

import os
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import FileState, Skip
from holdfast.tiers.undoing import undo
from tests.tiers.icebox import Icebox, an_icebox, found, told

GIB = 1024**3
NAMES = (b"a", b"d/e/f", b"new\nline", b"bad\xff")


@pytest.fixture
async def box(database: Database, tmp_path: Path) -> Icebox:
    made = await an_icebox(database, tmp_path)
    made.put(*NAMES)
    return made


async def frozen(box: Icebox, undo_hours: float = 1, *names: bytes) -> str:
    run = box.run(undo_hours=undo_hours)
    await freeze(run, box.plan(run, *(names or NAMES)))
    return run.ctx.job_id


async def test_files_come_back_as_they_were(box: Icebox) -> None:
    before = {name: found(box.root, name) for name in NAMES}
    job_id = await frozen(box)
    outcome = await undo(box.run(), job_id)
    assert (outcome.files, outcome.skipped) == (4, {})
    for name, was in before.items():
        now = found(box.root, name)
        assert (now.inode, now.mtime_ns, now.atime_ns) == (was.inode, was.mtime_ns, was.atime_ns)
    assert box.local == box.stored
    assert set((await box.states()).values()) == {FileState.RESTORED}
    assert not box.has_quarantine


async def test_ten_gigabytes_with_holes_come_back_as_they_were(box: Icebox) -> None:
    with (box.root / "image").open("wb") as image:
        image.seek(5 * GIB)
        image.write(b"in the middle")
        image.truncate(10 * GIB)
    box.stored[b"image"] = b"as if it were proven"
    before = (box.root / "image").stat()
    job_id = await frozen(box, 1, b"image")
    assert not (box.root / "image").exists()
    outcome = await undo(box.run(), job_id)
    assert (outcome.files, outcome.size_bytes) == (1, 10 * GIB)
    after = (box.root / "image").stat()
    assert (after.st_ino, after.st_blocks) == (before.st_ino, before.st_blocks)


async def test_folders_that_went_meanwhile_are_made_again(box: Icebox) -> None:
    job_id = await frozen(box)
    (box.root / "d/e").rmdir()
    (box.root / "d").rmdir()
    await undo(box.run(), job_id)
    assert box.local == box.stored


async def test_a_new_file_in_the_place_is_never_replaced(box: Icebox) -> None:
    job_id = await frozen(box)
    (box.root / "a").write_bytes(b"new")
    run = box.run()
    outcome = await undo(run, job_id)
    assert (outcome.files, outcome.skipped) == (3, {Skip.EXISTS: (1, len(b"content of a"))})
    assert box.local == {**box.stored, b"a": b"new"}
    assert box.waiting(job_id) == {b"a": box.stored[b"a"]}
    assert told(run)["a"][0] == "stays in quarantine"
    (box.root / "a").unlink()
    assert (await undo(box.run(), job_id)).files == 1


async def test_a_place_that_leads_over_a_symlink_is_left_alone(box: Icebox, tmp_path: Path) -> None:
    job_id = await frozen(box)
    outside = tmp_path / "outside"
    outside.mkdir()
    (box.root / "d/e").rmdir()
    (box.root / "d/e").symlink_to(outside)
    run = box.run()
    outcome = await undo(run, job_id)
    assert (outcome.files, outcome.skipped[Skip.EXISTS][0]) == (3, 1)
    assert "the way to its place is no folder any more" in told(run)["d/e/f"][1]
    assert list(outside.iterdir()) == []
    assert box.waiting(job_id) == {b"d/e/f": box.stored[b"d/e/f"]}


async def test_what_was_frozen_for_good_is_counted(box: Icebox) -> None:
    job_id = await frozen(box, 1e-9)
    await empty_due(box.run())
    outcome = await undo(box.run(), job_id)
    assert (outcome.files, outcome.skipped[Skip.GONE][0]) == (0, 4)


async def test_names_of_one_file_stay_names_of_one_file(box: Icebox) -> None:
    os.link(box.root / "a", box.root / "b")
    box.stored[b"b"] = box.stored[b"a"]
    job_id = await frozen(box, 1, b"a", b"b")
    await undo(box.run(), job_id)
    assert (box.root / "a").samefile(box.root / "b")


async def test_only_files_of_that_freeze_come_back(box: Icebox) -> None:
    first = await frozen(box, 1, b"a")
    await frozen(box, 1, b"d/e/f")
    await undo(box.run(), first)
    assert b"a" in box.local
    assert b"d/e/f" not in box.local

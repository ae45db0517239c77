"""Files leave for the quarantine, and nothing else does."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import journal
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import QUARANTINE, FileState, Skip
from holdfast.tiers.plan_file import read_plan
from holdfast.tiers.quarantine import Quarantine
from tests.tiers.icebox import Icebox, an_icebox, grow_cold, told
from tests.tiers.trees import a_database

ODD = (
    b"plain",
    b"a/b/in a folder",
    b"new\nline",
    b"quo'te\"",
    b"-dash",
    b"bad\xff\xfe",
    b"\xe2\x80\x9b",
)


@pytest.fixture
async def box(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Icebox]:
    async with a_database(sqlite_template, tmp_path) as database:
        yield await an_icebox(database, tmp_path)


async def test_files_of_any_name_wait_in_quarantine(box: Icebox) -> None:
    box.put(*ODD)
    run = box.run()
    outcome = await freeze(run, box.plan(run, *ODD))
    assert (outcome.files, outcome.skipped) == (len(ODD), {})
    assert box.local == {}
    assert box.waiting("job1") == box.stored
    assert set((await box.states()).values()) == {FileState.QUARANTINED}
    assert (box.root / QUARANTINE).stat().st_mode & 0o777 == 0o700


async def test_without_an_undo_window_they_are_gone_at_once(box: Icebox) -> None:
    box.put(*ODD)
    run = box.run(undo_hours=0)
    outcome = await freeze(run, box.plan(run, *ODD))
    assert (outcome.files, outcome.skipped) == (len(ODD), {})
    assert box.local == {}
    assert not box.has_quarantine
    assert set((await box.states()).values()) == {FileState.FROZEN}
    assert told(run)["new␊line"] == ("frozen", "")


async def test_more_files_than_a_batch_has(box: Icebox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.tiers.freezing.BATCH_FILES", 2)
    monkeypatch.setattr("holdfast.tiers.journal.CLAIMED_FILES", 2)
    names = [b"f%d" % number for number in range(7)]
    box.put(*names)
    run = box.run(undo_hours=0)
    assert (await freeze(run, box.plan(run, *names))).files == 7
    assert box.local == {}


async def test_a_second_try_of_a_job_goes_on_where_it_was(box: Icebox) -> None:
    box.put(b"a", b"b")
    run = box.run()
    plan = box.plan(run, b"a", b"b")
    await freeze(run, plan)
    again = await freeze(box.run("job1"), plan)
    assert (again.files, again.skipped) == (2, {})
    assert list((await box.states()).values()) == [FileState.QUARANTINED] * 2


def change(path: Path, how: str) -> None:
    """A file is not as it was when it was planned, in one of many ways."""
    old = path.stat()
    match how:
        case "edited with its old times":
            path.write_bytes(b"x" * old.st_size)
            os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
        case "replaced":
            path.rename(path.with_name("kept"))
            path.write_bytes(b"other")
        case "replaced by a symlink":
            path.rename(path.with_name("kept"))
            path.symlink_to("kept")
        case "truncated":
            os.truncate(path, 1)
        case "linked":
            os.link(path, path.with_name("link"))
        case "replaced by a folder":
            path.unlink()
            path.mkdir()
        case "replaced by a pipe":
            path.unlink()
            os.mkfifo(path)
        case "gone":
            path.unlink()
        case "its folder became a symlink":
            path.parent.rename(path.parent.with_name("moved"))
            path.parent.symlink_to("moved")


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("edited with its old times", Skip.CHANGED),
        ("replaced", Skip.CHANGED),
        ("replaced by a symlink", Skip.CHANGED),
        ("truncated", Skip.CHANGED),
        ("linked", Skip.CHANGED),
        ("replaced by a folder", Skip.CHANGED),
        ("replaced by a pipe", Skip.CHANGED),
        ("gone", Skip.GONE),
        ("its folder became a symlink", Skip.GONE),
    ],
)
async def test_what_is_not_as_planned_stays(box: Icebox, how: str, reason: Skip) -> None:
    box.put(b"d/file")
    run = box.run(undo_hours=0)
    plan = box.plan(run, b"d/file")
    change(box.root / "d/file", how)
    before = box.local
    outcome = await freeze(run, plan)
    assert outcome.files == 0
    assert outcome.skipped == {reason: (1, len(b"content of d/file"))}
    assert box.local == before
    assert (await box.states()) == {b"d/file": FileState.STAYED}


async def test_what_was_read_while_others_were_proven_stays(box: Icebox) -> None:
    box.put(b"read", b"unread")
    grow_cold(box.root)
    run = box.run()
    plan = box.plan(run, b"read", b"unread")
    (box.root / "read").read_bytes()
    outcome = await freeze(run, plan)
    assert (outcome.files, outcome.skipped) == (1, {Skip.READ_RECENTLY: (1, 15)})
    assert set(box.local) == {b"read"}


@pytest.mark.parametrize("mode", ["r", "a", "mapped"])
async def test_a_file_that_another_program_has_open_stays(box: Icebox, mode: str) -> None:
    box.put(b"file")
    run = box.run(undo_hours=0)
    plan = box.plan(run, b"file")
    holds = {
        "mapped": "import mmap; f = open(p, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()",
    }.get(mode, f"f = open(p, '{mode}')")
    code = f"import sys; p = sys.argv[1]; {holds}; print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        [sys.executable, "-S", "-c", code, str(box.root / "file")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        outcome = await freeze(run, plan)
        other.communicate()
    assert outcome.skipped == {Skip.IN_USE: (1, 15)}
    assert box.local == box.stored


async def test_all_names_of_a_file_leave_together_or_none(box: Icebox) -> None:
    box.put(b"a")
    os.link(box.root / "a", box.root / "b")
    box.stored[b"b"] = box.stored[b"a"]
    run = box.run()
    assert (await freeze(run, box.plan(run, b"a"))).skipped == {Skip.LINKED: (1, 12)}
    assert set(box.local) == {b"a", b"b"}
    run = box.run(undo_hours=0)
    outcome = await freeze(run, box.plan(run, b"a", b"b"))
    assert (outcome.files, outcome.skipped) == (2, {})
    assert box.local == {}


async def test_a_quarantine_that_others_may_enter_is_refused(box: Icebox) -> None:
    box.put(b"file")
    (box.root / QUARANTINE).mkdir(mode=0o755)
    run = box.run()
    with pytest.raises(Conflict, match="not ours alone"):
        await freeze(run, box.plan(run, b"file"))
    assert box.local == box.stored


async def test_a_quarantine_that_is_a_symlink_is_not_followed(box: Icebox, tmp_path: Path) -> None:
    box.put(b"file")
    (box.root / QUARANTINE).symlink_to(tmp_path)
    run = box.run()
    with pytest.raises(Conflict, match="not ours alone"):
        await freeze(run, box.plan(run, b"file"))
    assert box.local == box.stored


async def test_a_tier_that_is_not_there_is_said(box: Icebox) -> None:
    box.put(b"file")
    run = box.run()
    plan = box.plan(run, b"file")
    box.root.rename(box.root.with_name("elsewhere"))
    with pytest.raises(Unavailable, match="cannot be used"):
        await freeze(run, plan)


async def test_a_cancelled_freeze_ends_with_every_file_in_the_journal(box: Icebox) -> None:
    names = [b"f%d" % number for number in range(300)]
    box.put(*names)
    run = box.run()
    task = asyncio.create_task(freeze(run, box.plan(run, *names)))
    async with asyncio.timeout(30):
        while len(list(box.root.iterdir())) >= 300:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.mend(box.run())
    states = await box.states()
    waiting = box.waiting("job1")
    assert {path for path, state in states.items() if state == FileState.QUARANTINED} == set(
        waiting
    )
    assert box.local | waiting == box.stored


async def test_what_a_living_job_holds_is_left_to_it(box: Icebox) -> None:
    box.put(b"file")
    run = box.run()
    async with box.services.database.write(SYSTEM) as work:
        job = JobRow(
            id="job1",
            kind="k",
            title="",
            args="{}",
            locks="[]",
            priority=100,
            state="running",
            created_by="t",
            created_at=run.ctx.now(),
        )
        work.session.add(job)
    (planned,) = read_plan(box.plan(run, b"file").path)
    await journal.intend(run, [planned])
    await journal.mend(box.run())
    assert (await box.states()) == {b"file": FileState.INTENT}
    await journal.mend(box.run("job1"))
    assert (await box.states()) == {b"file": FileState.STAYED}


@pytest.mark.parametrize("edited", [False, True])
async def test_what_moved_without_being_written_down_counts_only_when_it_is_as_proven(
    box: Icebox, *, edited: bool
) -> None:
    box.put(b"file")
    run = box.run()
    plan = list(read_plan(box.plan(run, b"file").path))
    await journal.intend(run, plan)
    with Quarantine(bytes(box.root), "job1") as quarantine:
        quarantine.release(quarantine.take([plan[0][0]]))
    inside = box.root / QUARANTINE / "job1" / "file"
    if edited:
        change(inside, "edited with its old times")
    await journal.mend(box.run())
    assert (await box.states()) == {b"file": FileState.STAYED if edited else FileState.QUARANTINED}
    assert set(box.local) == ({b"file"} if edited else set())
    assert inside.exists() is not edited


async def test_a_tier_that_is_not_mounted_is_not_mended(box: Icebox) -> None:
    box.put(b"file")
    run = box.run()
    await freeze(run, box.plan(run, b"file"))
    rows = await journal.claim(box.run(), after=0)
    await journal.record(box.run(), [{"id": rows[0].id, "device": rows[0].device + 1}])
    box.root.rename(box.root.with_name("disk"))
    box.root.mkdir()
    await journal.mend(box.run())
    assert (await box.states()) == {b"file": FileState.QUARANTINED}
    box.root.rmdir()
    box.root.with_name("disk").rename(box.root)
    await journal.mend(box.run())
    assert (await box.states()) == {b"file": FileState.QUARANTINED}
    assert box.waiting("job1") == box.stored

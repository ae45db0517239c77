"""At the end of the undo window: asked once more, then gone; what changed comes back."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.arrivals import stamp_pulled
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import QUARANTINE, FileState, Skip
from tests.tiers.icebox import Icebox, an_icebox, tell_of, told

NAME = b"d/file"
SIZE = len(b"content of d/file")


@pytest.fixture
async def box(database: Database, tmp_path: Path) -> Icebox:
    made = await an_icebox(database, tmp_path)
    made.put(NAME)
    return made


async def frozen(box: Icebox, *names: bytes, undo_hours: float = 1e-9) -> Path:
    """Files that wait in quarantine, due at once; gives where."""
    run = box.run(undo_hours=undo_hours)
    await freeze(run, box.plan(run, *(names or (NAME,))))
    return box.root / QUARANTINE / run.ctx.job_id


async def test_what_is_due_is_removed_and_what_is_not_waits(box: Icebox) -> None:
    box.put(b"later")
    await frozen(box)
    await frozen(box, b"later", undo_hours=1)
    outcome = await empty_due(box.run())
    assert (outcome.files, outcome.size_bytes, outcome.skipped) == (1, SIZE, {})
    assert await box.states() == {NAME: FileState.FROZEN, b"later": FileState.QUARANTINED}
    assert list((box.root / QUARANTINE).iterdir()) == [box.root / QUARANTINE / "job2"]


async def test_what_a_pull_fetched_beside_the_removal_is_not_frozen(box: Icebox) -> None:
    box.put(b"other", b"before")
    await frozen(box, NAME, b"other", b"before")
    async with box.services.database.write(SYSTEM) as work:
        earlier = now() - timedelta(days=1)
        await stamp_pulled(work.session, box.tier_id, [b"before"], earlier)
        await stamp_pulled(work.session, box.tier_id, [NAME], now())
    assert (await empty_due(box.run())).files == 3
    assert await box.states() == {
        NAME: FileState.RETURNED,
        b"other": FileState.FROZEN,
        b"before": FileState.FROZEN,
    }


async def test_of_one_freeze_only(box: Icebox) -> None:
    box.put(b"other")
    await frozen(box)
    await frozen(box, b"other")
    await empty_due(box.run(), job_id="job1")
    assert await box.states() == {NAME: FileState.FROZEN, b"other": FileState.QUARANTINED}


async def test_content_counts_when_its_mark_is_another(box: Icebox) -> None:
    await frozen(box)
    box.mark = "another"
    assert (await empty_due(box.run())).files == 1


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (None, Skip.MISSING_ON_STORE),
        (b"short", Skip.OTHER_SIZE),
        (b"x" * SIZE, Skip.OTHER_CONTENT),
    ],
)
async def test_what_the_store_has_no_more_comes_back(
    box: Icebox, stored: bytes | None, reason: Skip
) -> None:
    before = box.local
    await frozen(box)
    box.mark = tell_of(box.stored.pop(NAME)).mark  # whoever wrote it kept its time
    if stored is not None:
        box.stored[NAME] = stored
    run = box.run()
    outcome = await empty_due(run)
    assert (outcome.files, outcome.skipped) == (0, {reason: (1, SIZE)})
    assert box.local == before
    assert await box.states() == {NAME: FileState.RESTORED}
    assert told(run)["d/file"] == ("restored", f"{reason}: a store was asked again")
    assert not box.has_quarantine


async def test_a_store_that_cannot_be_reached_changes_nothing(box: Icebox) -> None:
    place = await frozen(box)
    box.is_away = True
    with pytest.raises(Unavailable):
        await empty_due(box.run())
    assert (place / "d/file").exists()
    assert await box.states() == {NAME: FileState.QUARANTINED}
    box.is_away = False
    assert (await empty_due(box.run())).files == 1


async def test_a_file_that_cannot_be_asked_for_keeps_no_other(box: Icebox) -> None:
    names = [b"d/%d" % number for number in range(9)]
    box.put(*names)
    box.forbidden = {b"d/3", b"d/7"}
    await frozen(box, *names)
    run = box.run()
    outcome = await empty_due(run)
    assert (outcome.files, outcome.skipped[Skip.FAILED][0]) == (7, 2)
    waiting = {name for name, state in (await box.states()).items() if state != FileState.FROZEN}
    assert waiting == box.forbidden
    assert told(run)["d/3"] == (
        "stays in quarantine",
        f"{Skip.FAILED}: a store cannot be asked for it",
    )
    box.forbidden = set()
    assert (await empty_due(box.run())).files == 2


def edit(path: Path) -> None:
    old = path.stat()
    path.write_bytes(b"y" * old.st_size)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))


@pytest.mark.parametrize("taken", [False, True])
async def test_what_was_written_to_in_quarantine_comes_back_or_is_kept_beside(
    box: Icebox, *, taken: bool
) -> None:
    place = await frozen(box)
    edit(place / "d/file")
    if taken:
        (box.root / "d/file").write_bytes(b"new")
    run = box.run()
    outcome = await empty_due(run)
    assert outcome.skipped == {Skip.CHANGED: (1, SIZE)}
    back = {b"d/file.holdfast-job1" if taken else NAME: b"y" * SIZE}
    assert box.local == ({NAME: b"new"} if taken else {}) | back
    assert told(run)["d/file"][0] == ("kept beside" if taken else "restored")


async def test_a_link_made_meanwhile_brings_it_back(box: Icebox) -> None:
    place = await frozen(box)
    os.link(place / "d/file", box.root / "link")
    outcome = await empty_due(box.run())
    assert outcome.skipped == {Skip.CHANGED: (1, SIZE)}
    assert set(box.local) == {NAME, b"link"}


async def test_what_is_open_waits_for_the_next_time(box: Icebox) -> None:
    place = await frozen(box)
    with (place / "d/file").open("rb"):
        outcome = await empty_due(box.run())
        assert outcome.skipped == {Skip.IN_USE: (1, SIZE)}
        assert await box.states() == {NAME: FileState.QUARANTINED}
    assert (await empty_due(box.run())).files == 1


async def test_what_somebody_removed_or_moved_back_is_written_down(box: Icebox) -> None:
    box.put(b"other")
    place = await frozen(box, NAME, b"other")
    (place / "other").unlink()
    (place / "d/file").rename(box.root / "d/file")
    outcome = await empty_due(box.run())
    assert outcome.skipped == {Skip.GONE: (1, len(b"content of other"))}
    assert await box.states() == {NAME: FileState.RESTORED, b"other": FileState.FROZEN}


async def test_all_names_of_a_file_go_at_once(box: Icebox) -> None:
    os.link(box.root / "d/file", box.root / "link")
    box.stored[b"link"] = box.stored[NAME]
    await frozen(box, NAME, b"link")
    assert (await empty_due(box.run())).files == 2
    assert box.local == {}


async def test_what_no_journal_knows_goes_back_to_the_tree(box: Icebox) -> None:
    lost = box.root / QUARANTINE / "forgotten" / "d"
    lost.mkdir(parents=True)
    for folder in (lost, lost.parent, lost.parent.parent):
        folder.chmod(0o700)
    (lost / "file").write_bytes(b"lost")
    (lost / "else").write_bytes(b"too")
    run = box.run()
    await empty_due(run)
    assert box.local == {
        NAME: box.stored[NAME],
        b"d/file.holdfast-forgotte": b"lost",
        b"d/else": b"too",
    }
    assert not box.has_quarantine
    assert "it lies at d/file.holdfast-forgotte" in told(run)["d/file"][1]

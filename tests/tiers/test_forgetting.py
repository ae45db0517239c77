"""What is forgotten after a while, and what never is."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import forgetting, queries, timers
from holdfast.tiers.arrivals import stamp_pulled
from holdfast.tiers.left import left_in
from holdfast.tiers.model import Action, FileState, PathRule, Policy
from holdfast.tiers.proof_cache import day_of
from holdfast.tiers.service import keeping
from holdfast.tiers.tables import TierFileRow, TierProofRow, TierPulledRow, TierRunRow
from holdfast.tiers.totals import totals
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_old_runs_are_forgotten_but_what_can_come_back_is_not(scene: Scene) -> None:
    row = await scene.a_tier()
    gone = await scene.asked(Action.PULL, row.root)
    kept = await scene.asked(Action.FREEZE, row.root)
    await scene.journal(row.id, b"a", FileState.QUARANTINED, job_id=kept.job_id)
    long_ago = now() - timedelta(days=4000)
    details = scene.services.settings.data_dir / "tiers"
    details.mkdir()
    for answer in (gone, kept):
        (details / f"{answer.job_id}.jsonl").touch()
        os.utime(details / f"{answer.job_id}.jsonl", (0, 0))
        async with scene.services.database.write(SYSTEM) as work:
            run = await work.session.get(TierRunRow, answer.job_id)
            assert run is not None
            run.ended_at = long_ago
    for name in (gone.job_id, "ended"):
        (details / "work" / name).mkdir(parents=True)
        os.utime(details / "work" / name, (0, 0))
    await timers.forget_old_runs(scene.services)
    assert [path.name for path in (details / "work").iterdir()] == [gone.job_id]
    async with scene.services.database.read() as session:
        assert await queries.run_ids(session) == [kept.job_id]
    assert [path.stem for path in details.glob("*.jsonl")] == [kept.job_id]


async def test_a_tier_is_cleared_before_it_is_deleted_unless_it_is_in_use(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BLOCK_ROWS", 2)
    row, other = await scene.a_tier(), await scene.a_tier("films")
    for name in (b"a", b"b", b"c"):
        await scene.journal(row.id, name, FileState.FROZEN)
    await scene.journal(other.id, b"a", FileState.FROZEN)
    async with scene.services.database.write(SYSTEM) as work:
        for one in (row, other):
            await stamp_pulled(work.session, one.id, [b"a", b"b", b"c"], now())
    await scene.journal(row.id, b"d", FileState.QUARANTINED)
    with pytest.raises(Conflict, match="quarantine"):
        await keeping.clear_tier(scene.services, row.id)
    assert await _rows(scene, row.id) == (4, 3)
    async with scene.services.database.write(SYSTEM) as work:
        gone = update(TierFileRow).where(TierFileRow.path == b"d")
        await work.session.execute(gone.values(state=FileState.STAYED, ended_at=now()))
    await keeping.clear_tier(scene.services, row.id)
    assert await _rows(scene, row.id) == (0, 0)
    assert await _rows(scene, other.id) == (1, 3)


async def _rows(scene: Scene, tier_id: int) -> tuple[int, int]:
    """Of the journal, and graces."""
    async with scene.services.database.read() as session:
        files = await session.scalars(select(TierFileRow).where(TierFileRow.tier_id == tier_id))
        graces = select(TierPulledRow).where(TierPulledRow.tier_id == tier_id)
        return len(files.all()), len((await session.scalars(graces)).all())


async def test_what_is_known_of_files_is_forgotten_when_it_was_of_no_use_for_long(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BLOCK_ROWS", 2)
    row, today = await scene.a_tier(), day_of(now())
    async with scene.services.database.write(SYSTEM) as work:
        for inode, ago in enumerate((600, 500, 402, 402, 401, 399, 0)):
            proof = TierProofRow(
                tier_id=row.id,
                device=1,
                inode=inode,
                kind="md5",
                size_bytes=1,
                mtime_ns=1,
                ctime_ns=1,
                digest="",
                used_day=today - ago,
            )
            work.session.add(proof)

    async def kept() -> list[int]:
        async with scene.services.database.read() as session:
            return list(await session.scalars(select(TierProofRow.inode).order_by("inode")))

    await scene.changed(
        row.id, rules=(PathRule(pattern="x", policy=Policy.FREEZE_AFTER, age_days=520),)
    )
    await timers.forget_old_runs(scene.services)
    assert await kept() == [1, 2, 3, 4, 5, 6]
    await scene.changed(row.id, rules=())
    await timers.forget_old_runs(scene.services)
    assert await kept() == [5, 6]


async def test_of_a_forgotten_run_only_the_latest_that_left_stays_in_the_journal(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "BLOCK_ROWS", 2)
    row = await scene.a_tier(grace_hours=24 * 50)
    runs = [await scene.asked(Action.FREEZE, row.root + b"/%d" % number) for number in range(3)]
    for run in runs:
        for path in (b"a", b"b", b"c"):
            await scene.journal(row.id, path, FileState.FROZEN, job_id=run.job_id)
        for path, state in ((b"d", FileState.RESTORED), (b"e", FileState.STAYED)):
            await scene.journal(row.id, path, state, job_id=run.job_id)
    await scene.journal(row.id, b"f", FileState.QUARANTINED, job_id=runs[2].job_id)
    other = await scene.a_tier("films")
    await scene.journal(other.id, b"a", FileState.FROZEN)
    async with scene.services.database.write(SYSTEM) as work:
        await work.session.execute(update(TierRunRow).values(ended_at=now() - timedelta(days=31)))
        await stamp_pulled(work.session, row.id, [b"old", b"older"], now() - timedelta(days=51))
        await stamp_pulled(work.session, row.id, [b"kept"], now() - timedelta(days=49))
        before = await totals(work.session, [row.id, other.id])
    await timers.forget_old_runs(scene.services)
    async with scene.services.database.read() as session:
        left = await session.scalars(select(TierFileRow).order_by(TierFileRow.id))
        assert [(one.job_id, one.path) for one in left] == [
            *((runs[1].job_id, path) for path in (b"a", b"b", b"c")),
            *((runs[2].job_id, path) for path in (b"a", b"b", b"c", b"d", b"e", b"f")),
            ("a-job", b"a"),
        ]
        assert set(await session.scalars(select(TierPulledRow.path))) == {b"kept"}
        assert set((await left_in(session, row.id, b"", depth=1)).files) == {b"a", b"b", b"c", b"f"}
        assert await totals(session, [row.id, other.id]) == before
    assert before[row.id][FileState.FROZEN] == (9, 90)

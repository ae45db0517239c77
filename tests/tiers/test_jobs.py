"""The jobs of tiers: each from its arguments to its outcome, on a real tree and a real store."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, NotFound, Unavailable
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import EndedJob
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import context, jobs, journal, queries
from holdfast.tiers.model import Action, FileState
from holdfast.tiers.mounts import mount_point
from holdfast.tiers.service import looking
from holdfast.tiers.service.reading import details
from holdfast.tiers.tables import TierRow, TierRunRow
from holdfast.tiers.totals import totals
from tests.tiers.scene import Scene, a_scene

pytestmark = pytest.mark.real
LONG_AGO = 1_500_000_000
FILES = {"a/one": b"1" * 100, "a/two": b"2" * 200, "b/three": b"3" * 300}


@dataclass
class Bench:
    """A tier whose store has all of its files."""

    scene: Scene
    tier: TierRow
    store: Path
    root: Path
    count: int = 0

    def context(self, job_id: str = "") -> JobContext:
        """A job's context, without the engine."""
        self.count += 1
        job_id = job_id or f"job-{self.count}"
        return JobContext(
            job_id=job_id,
            kind="tiers",
            services=self.scene.services,
            job_log=JobLog(self.scene.place / f"{job_id}.log"),
            steps=PlainSteps(),
            fence=NoFence(),
        )

    async def outcome(self, job_id: str) -> dict[str, Any]:
        """How a run went."""
        async with self.scene.services.database.read() as session:
            run = await session.get(TierRunRow, job_id)
        assert run is not None
        told: dict[str, Any] = json.loads(run.outcome)
        return told

    async def states(self) -> dict[FileState, int]:
        """Files of the journal, by state."""
        async with self.scene.services.database.read() as session:
            found = await queries.files_by_state(session)
            counted = await totals(session, [tier_id for tier_id, *_ in found])
        for tier_id, state, files, size in found:  # whatever ended was counted when it did
            assert counted[tier_id][state] == (files, size)
        return {state: files for _, state, files, _ in found}

    def here(self) -> set[str]:
        """Files in the tree, those in quarantine aside."""
        found = {path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()}
        return {str(path) for path in found if not path.parts[0].startswith(".holdfast")}

    def report(self, job_id: str) -> Path:
        """What became of each file of a run."""
        return self.scene.services.settings.data_dir / "tiers" / f"{job_id}.jsonl"

    def reported(self, job_id: str) -> list[str]:
        """The paths in it, sorted, but those that were too young."""
        lines = [json.loads(line) for line in self.report(job_id).read_text().splitlines()]
        return sorted(line["path"] for line in lines if line["reason"] != "read recently")

    def fill(self) -> None:
        """Let the tree have all files, unread for long."""
        for name, content in FILES.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            os.utime(path, (LONG_AGO, LONG_AGO))


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    scene = await a_scene(database, tmp_path)
    build_hub(scene.services)
    store = tmp_path / "store"
    for name, content in FILES.items():
        path = store / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    async with database.write(SYSTEM) as work:
        row = await work.session.get(StoreRow, scene.store_id)
        assert row is not None
        row.root = str(store)
    tier = await scene.a_tier(
        age_days=30, max_files_percent=100.0, max_bytes_percent=100.0, grace_hours=0.0
    )
    yield Bench(scene, tier, store, scene.folder("photos"))
    await scene.services.get(RcloneHub).stop()


async def test_a_pull_is_tried_and_then_done(bench: Bench) -> None:
    asked = {"paths": ["a"], "dry_run": True}
    await jobs.pull(bench.context("dry"), tier_id=bench.tier.id, asked=asked)
    assert ((await bench.outcome("dry"))["files"], bench.here()) == (2, set())
    await jobs.pull(bench.context("wet"), tier_id=bench.tier.id, asked={"paths": ["a"]})
    told = await bench.outcome("wet")
    assert (told["files"], told["bytes"], bench.here()) == (2, 300, {"a/one", "a/two"})
    work = bench.scene.services.settings.data_dir / "tiers" / "work"
    assert list(work.iterdir()) == []
    assert "2 files of 300 bytes" in (bench.scene.place / "wet.log").read_text()


async def test_nothing_is_pulled_into_a_folder_whose_disk_is_not_mounted(bench: Bench) -> None:
    services, number, root = bench.scene.services, bench.tier.id, os.fsencode(bench.root)

    async def is_mounted_at(path: bytes) -> None:
        async with services.database.write(SYSTEM) as work:
            row = await work.session.get(TierRow, number)
            assert row is not None
            row.mounted_at = path

    async def known() -> bytes:
        async with services.database.read() as session:
            row = await session.get(TierRow, number)
            assert row is not None
            return row.mounted_at

    found = mount_point(root)
    assert await known() == found != root
    await is_mounted_at(root)  # as if there had been a disk of its own
    with pytest.raises(Unavailable, match="is not mounted") as refused:
        await jobs.pull(bench.context(), tier_id=number)
    assert bench.here() == set()
    assert f"--path {bench.root}" in refused.value.hint
    with pytest.raises(Unavailable, match="is not mounted"):
        await looking.list_files(services, root, depth=1, limit=9)
    findings = {one.check: one for one in await context.check_tiers(services)}
    assert "is not mounted" in findings["tier photos"].detail
    await bench.scene.changed(number, age_days=90)
    assert await known() == root
    await bench.scene.changed(number, path=root)
    await is_mounted_at(b"")  # a tier of an earlier version
    await jobs.pull(bench.context(), tier_id=number)
    assert (bench.here(), await known()) == (set(FILES), found)
    assert (mount_point(b"/proc/self/fd"), mount_point(b"/")) == (b"/proc", b"/")


async def test_a_schedule_freezes_the_whole_tier_and_it_is_undone(bench: Bench) -> None:
    bench.fill()
    await jobs.freeze(bench.context("frozen"), tier_id=bench.tier.id)
    assert ((await bench.outcome("frozen"))["files"], bench.here()) == (3, set())
    assert await bench.states() == {FileState.QUARANTINED: 3}
    asked = {"paths": [""], "undoes": "frozen"}
    await jobs.undo(bench.context("undo"), tier_id=bench.tier.id, asked=asked)
    assert ((await bench.outcome("undo"))["files"], bench.here()) == (3, set(FILES))
    assert await bench.states() == {FileState.RESTORED: 3}


async def test_a_dry_freeze_leaves_all_and_tells_why_some_would_stay(bench: Bench) -> None:
    bench.fill()
    (bench.root / "b/three").write_bytes(b"read and written today")
    for _ in range(2):
        await jobs.freeze(bench.context("dry"), tier_id=bench.tier.id, asked={"dry_run": True})
    told = await bench.outcome("dry")
    assert bench.reported("dry") == ["a/one", "a/two"]
    assert (told["files"], told["bytes"], bench.here()) == (2, 300, set(FILES))
    assert told["skipped"]["read recently"]["files"] == 1
    assert await bench.states() == {}


async def test_a_freeze_beyond_the_limits_stops_until_it_is_confirmed(bench: Bench) -> None:
    bench.fill()
    await bench.scene.changed(bench.tier.id, max_files_percent=50.0)
    with pytest.raises(Conflict, match="3 of 3 files") as refused:
        await jobs.freeze(bench.context(), tier_id=bench.tier.id)
    assert "--confirm" in refused.value.hint
    assert bench.here() == set(FILES)
    await jobs.freeze(bench.context(), tier_id=bench.tier.id, asked={"confirm": True})
    assert bench.here() == set()


async def test_a_freeze_that_is_begun_again_tells_everything_once(bench: Bench) -> None:
    bench.fill()
    (bench.root / "b/three").write_bytes(b"read and written today")
    await jobs.freeze(bench.context("again"), tier_id=bench.tier.id, asked={"paths": ["a/one"]})
    (bench.root / "new").write_bytes(b"only here")
    os.utime(bench.root / "new", (LONG_AGO, LONG_AGO))
    for _ in range(2):
        await jobs.freeze(bench.context("again"), tier_id=bench.tier.id)
    told = await bench.outcome("again")
    assert (told["files"], told["bytes"]) == (2, 300)
    paths = bench.reported("again")
    assert paths == sorted(set(paths))
    assert set(paths) >= {"a/one", "a/two", "new"}


async def test_a_freeze_that_was_killed_before_its_journal_tells_each_file_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fill()

    async def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(journal, "record", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await jobs.freeze(bench.context("again"), tier_id=bench.tier.id)
    with bench.report("again").open("ab") as report:
        report.write(b'{"path": "a/th')
    async with bench.scene.services.database.read() as session:
        data_dir = bench.scene.services.settings.data_dir
        lines, total = await details(session, data_dir, "again", limit=9)
        assert (len(lines), total) == (3, 3)
        assert (await details(session, data_dir, "again", limit=9, reason="a"))[1] == 0
    await jobs.freeze(bench.context("again"), tier_id=bench.tier.id)
    assert bench.reported("again") == sorted(FILES)
    assert ((await bench.outcome("again"))["files"], bench.here()) == (3, set())


async def test_space_is_made_with_as_many_of_the_oldest_as_needed(bench: Bench) -> None:
    bench.fill()
    os.utime(bench.root / "a/two", (LONG_AGO - 1000, LONG_AGO - 1000))
    await jobs.freeze(bench.context(), tier_id=bench.tier.id, asked={"until_bytes": 150})
    assert bench.here() == {"a/one", "b/three"}


async def test_what_was_frozen_is_gone_when_the_window_has_ended(bench: Bench) -> None:
    bench.fill()
    await jobs.freeze(bench.context("frozen"), tier_id=bench.tier.id)
    async with bench.scene.services.database.write(SYSTEM) as work:
        await queries.end_windows(work.session, bench.tier.id, now())
    await jobs.empty(bench.context(), tier_id=bench.tier.id)
    assert await bench.states() == {FileState.FROZEN: 3}
    await jobs.pull(bench.context(), tier_id=bench.tier.id)
    assert bench.here() == set(FILES)


async def test_a_tier_is_verified_and_reported(bench: Bench) -> None:
    bench.fill()
    (bench.root / "a/one").write_bytes(b"other")
    await jobs.verify(bench.context("verify"), tier_id=bench.tier.id)
    assert await bench.outcome("verify")
    await jobs.report(bench.context("report"), tier_id=bench.tier.id)
    assert await bench.outcome("report")
    assert bench.here() == set(FILES)


async def test_a_tier_that_is_gone_has_no_jobs(bench: Bench) -> None:
    for kind in (jobs.pull, jobs.freeze, jobs.undo, jobs.verify, jobs.report, jobs.empty):
        with pytest.raises(NotFound):
            await kind(bench.context(), tier_id=bench.tier.id + 1)


async def test_a_run_ends_with_its_job_and_begins_again_with_it(bench: Bench) -> None:
    answer = await bench.scene.asked(Action.PULL, bench.tier.root)
    ended = EndedJob(
        id=answer.job_id, kind=jobs.PULL, args={}, state=JobState.FAILED, error="", created_by=""
    )
    database = bench.scene.services.database
    async with database.write(SYSTEM) as work:
        await jobs.note_the_end(work, ended)
    async with database.read() as session:
        run = await session.get(TierRunRow, answer.job_id)
        assert run is not None
        assert run.ended_at is not None
    await jobs.pull(bench.context(answer.job_id), tier_id=bench.tier.id)
    async with database.read() as session:
        run = await session.get(TierRunRow, answer.job_id)
        assert run is not None
        assert run.ended_at is None

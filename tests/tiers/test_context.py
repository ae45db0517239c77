"""What tiers tell the kernel: figures, checks of doctor, the stores they stand on."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.contributors import Verdict, contributors
from holdfast.kernel.db import Database
from holdfast.tiers import context
from holdfast.tiers.model import FileState
from holdfast.tiers.service import rooms
from holdfast.tiers.service.roots import Room
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_files_are_counted_by_tier_and_state(scene: Scene) -> None:
    row = await scene.a_tier()
    for path in (b"a", b"b"):
        await scene.journal(row.id, path, FileState.FROZEN)
    context.contribute(scene.services)
    (contribute,) = contributors(scene.services).gauges
    async with scene.services.database.read() as session:
        told = {(one.name, one.labels["state"]): one.value for one in await contribute(session)}
    assert told["holdfast_tier_files", "frozen"] == 2
    assert told["holdfast_tier_bytes", "frozen"] == 20
    assert told["holdfast_tier_files", "quarantined"] == 0


async def test_a_store_knows_the_tiers_that_stand_on_it(scene: Scene) -> None:
    await scene.a_tier("photos")
    await scene.a_tier("films", second_store_id=scene.store_id, second_prefix="copy")
    async with scene.services.database.read() as session:
        assert await context.store_users(session, scene.store_id) == ["tier films", "tier photos"]
        assert await context.store_users(session, scene.store_id + 1) == []


async def test_doctor_is_content_with_a_tier_that_can_be_used(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await context.check_tiers(scene.services) == []
    await scene.a_tier()
    assert context.disk_kind(b"/proc") == "proc"
    monkeypatch.setattr(context, "disk_kind", lambda _: "ext4")
    findings = await context.check_tiers(scene.services)
    assert {one.check: one.verdict for one in findings} == {
        "find": Verdict.OK,
        "tier photos": Verdict.OK,
    }


async def test_doctor_finds_what_stands_in_the_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier("photos")
    await scene.a_tier("films")
    await scene.a_tier("allowed", allow_noatime=True)
    await scene.a_tier("layered")
    monkeypatch.setattr(context, "disk_kind", lambda _: "overlay")
    scene.folder("photos").rmdir()
    monkeypatch.setattr(context, "keeps_no_atime", lambda root: not root.endswith(b"layered"))
    late = now() - timedelta(days=3)
    await scene.journal(row.id, b"a", FileState.QUARANTINED, due_at=late)
    findings = {one.check: one for one in await context.check_tiers(scene.services)}
    assert findings["tier photos"].verdict is Verdict.FAIL
    assert findings["tier films"].verdict is Verdict.FAIL
    assert findings["tier allowed"].verdict is Verdict.WARN
    assert "lies on overlay" in findings["tier layered"].detail
    assert findings["quarantine"].verdict is Verdict.WARN
    assert all(one.remedy for one in findings.values() if one.verdict is not Verdict.OK)


async def test_doctor_does_not_wait_for_a_disk_that_does_not_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, _ = await scene.a_tier("dead"), await scene.a_tier("well")
    answers, look = threading.Event(), rooms._room

    def silent(root: bytes) -> Room | None:
        if root == dead.root:
            answers.wait()
        return look(root)

    monkeypatch.setattr(rooms, "_room", silent)
    monkeypatch.setattr(rooms, "PATIENCE_SECONDS", 0.2)
    try:
        found = {one.check: one for one in await context.check_tiers(scene.services)}
    finally:
        answers.set()
    assert found["tier dead"].verdict is Verdict.FAIL
    assert found["tier dead"].detail.endswith("does not answer")

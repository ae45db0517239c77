"""Folders of a tier and of its store, looked at before anything is written."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.kernel.stores import service as stores
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.service import StoreChanges
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import queries, timers
from holdfast.tiers.context import contribute
from holdfast.tiers.model import Action, FileState
from holdfast.tiers.service import rooms
from holdfast.tiers.service.roots import Room
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_a_store_in_or_around_the_folder_of_its_tier_is_refused(scene: Scene) -> None:
    tree = scene.folder("photos")
    build_hub(scene.services)
    contribute(scene.services)
    (scene.place / "link").symlink_to(tree)

    async def moved(root: Path) -> None:
        await stores.update_store(
            scene.services, SYSTEM, scene.store_id, StoreChanges(root=str(root))
        )

    for root, prefix in (
        (tree, ""),
        (scene.place, ""),
        (scene.place, "photos/deep/"),
        (scene.place / "link", ""),
        (scene.place / "link", "not/there"),
    ):
        await moved(root)
        second = {"second_store_id": scene.store_id, "second_prefix": prefix}
        for fields in ({"prefix": prefix}, {"prefix": "elsewhere", **second}):
            draft = scene.draft("photos", **fields)
            with pytest.raises(Conflict, match="prove themselves"):
                await scene.made(draft)
    await moved(scene.place)
    row = await scene.a_tier(prefix="beside")
    with pytest.raises(Conflict, match="prove themselves"):
        await scene.changed(row.id, prefix="photos")
    with pytest.raises(Conflict, match="prove themselves"):
        await moved(tree / "inner")
    await moved(scene.folder("elsewhere"))
    await scene.services.get(RcloneHub).stop()


async def test_a_disk_that_does_not_answer_holds_up_nobody_who_writes(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier()
    looked, answers = threading.Event(), threading.Event()

    def silent(_: bytes) -> None:
        looked.set()
        answers.wait()

    monkeypatch.setattr(rooms, "_room", silent)
    asked = asyncio.create_task(scene.asked(Action.PULL, row.root))
    try:
        await asyncio.to_thread(looked.wait)
        await scene.journal(row.id, b"a", FileState.FROZEN)  # a write; nothing stands in its way
        assert not asked.done()
        with monkeypatch.context() as hasty:
            hasty.setattr(rooms, "PATIENCE_SECONDS", 0.0)
            for ask in (
                lambda: scene.asked(Action.PULL, row.root + b"/a"),
                lambda: scene.changed(row.id, age_days=1),
                lambda: scene.a_tier("films"),
            ):
                with pytest.raises(Unavailable, match="does not answer"):
                    await ask()
    finally:
        answers.set()
    assert not (await asked).joined


async def test_tiers_of_one_disk_make_room_together_and_a_dead_one_holds_up_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {"space_high_percent": 90.0, "space_low_percent": 80.0}
    _, second, _ = [await scene.a_tier(name, **marks) for name in "abc"]
    dead = await scene.a_tier("dead", **marks)
    ended = now() - timedelta(seconds=1)
    await scene.journal(second.id, b"x", FileState.QUARANTINED, due_at=ended, size_bytes=30)

    def room(root: bytes) -> Room | None:
        return None if root == dead.root else Room(used=950, available=50, device=1, inode=1)

    monkeypatch.setattr(rooms, "_room", room)
    await timers.keep_room(scene.services)
    await timers.keep_room(scene.services)
    asked = []
    async with scene.services.database.read() as session:
        for tier in await queries.all_tiers(session):
            asked += [
                (tier.name, r.asked.until_bytes)
                for r in await queries.standing_runs(session, tier.id)
            ]
    assert asked == [("a", 120)]

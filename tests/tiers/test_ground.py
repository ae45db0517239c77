"""Folders of a tier and of its store, looked at before anything is written."""

import asyncio
import threading
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.kernel.stores import service as stores
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.service import StoreChanges
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.context import contribute
from holdfast.tiers.model import Action, FileState
from holdfast.tiers.service import rooms
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

"""A list of all files below a folder: what it may take of the machine."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import TooMany, Unavailable
from holdfast.tiers.api import _lines
from holdfast.tiers.service import looking_at_all
from holdfast.tiers.service.looking import Listed
from holdfast.tiers.service.looking_at_all import LOOKS_AT_ONCE, all_files
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_only_some_lists_are_made_at_once_and_one_that_ends_makes_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier()
    begun = asyncio.Semaphore(0)

    async def begin(_: Any) -> None:
        begun.release()
        await asyncio.Event().wait()

    def look() -> asyncio.Future[list[Listed]]:
        return asyncio.ensure_future(anext(all_files(scene.services, row.root)))

    monkeypatch.setattr(looking_at_all._Look, "begin", begin)
    looks = [look() for _ in range(LOOKS_AT_ONCE)]
    for _ in looks:
        await begun.acquire()
    with pytest.raises(TooMany, match="made already"):
        await look()
    looks[0].cancel()
    await asyncio.wait(looks[:1])
    looks.append(look())
    await begun.acquire()
    for one in looks:
        one.cancel()
    await asyncio.wait(looks)


async def test_a_full_disk_is_told_and_nothing_stays_of_the_list(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier()

    async def begin(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(looking_at_all._Look, "begin", begin)
    for _ in range(LOOKS_AT_ONCE + 1):
        with pytest.raises(Unavailable, match="No space left"):
            await anext(all_files(scene.services, row.root))
    assert not list((scene.services.settings.data_dir / "tiers" / "work").iterdir())


async def test_a_list_ends_when_nobody_reads_it_any_more() -> None:
    ended = asyncio.Event()

    async def blocks() -> AsyncGenerator[list[Listed], None]:
        try:
            for _ in range(3):
                yield []
        finally:
            ended.set()

    made = blocks()
    lines = _lines(asyncio.ensure_future(anext(made)), made)
    while await anext(lines):  # an empty line, until the first block is there
        pass
    await lines.aclose()  # type: ignore[attr-defined]
    assert ended.is_set()

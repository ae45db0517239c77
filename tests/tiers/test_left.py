"""What left a folder, as the journal tells it."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import browsing, left
from holdfast.tiers.arrivals import stamp_pulled
from holdfast.tiers.left import left_in
from holdfast.tiers.model import FileState
from tests.tiers.scene import Scene, a_scene

LONG = b"/".join([b"x" * 200] * 18)
"""Nearly as long as a path may be, and longer than an index of PostgreSQL takes."""
PATHS = (
    b"a",
    b"a-b/x",
    b"a/b",
    b"a/b0",
    b"a/c/d",
    b"a/c/e/f",
    b"a0",
    b"\xff/y",
    LONG,
    LONG + b"y",
)


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_what_left_is_found_by_its_folder_however_few_rows_are_read_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, other = await scene.a_tier(), await scene.a_tier("films")
    for path in PATHS:
        await scene.journal(row.id, path, FileState.FROZEN)
        await scene.journal(row.id, path + b".back", FileState.RESTORED)
        await scene.journal(other.id, path + b".other", FileState.FROZEN)
    await scene.journal(row.id, b"a/b", FileState.QUARANTINED, size_bytes=77)
    await scene.journal(row.id, b"a/b", FileState.FROZEN, size_bytes=78)
    for rows, ranges in ((4, 1), (5, 2), (1000, 50)):
        monkeypatch.setattr(left, "BLOCK_ROWS", rows)
        monkeypatch.setattr(left, "RANGES_AT_ONCE", ranges)
        async with scene.services.database.read() as session:

            async def found(
                below: bytes, depth: int, *known: bytes
            ) -> tuple[set[bytes], set[bytes]]:
                told = await left_in(session, row.id, below, depth=depth, known=known)
                return set(told.files), set(told.folders)

            assert await found(b"", 0) == (set(PATHS), set())
            deeper = {b"a", b"a-b", b"\xff", b"x" * 200}
            assert await found(b"", 1) == ({b"a", b"a0"}, deeper)
            assert await found(b"", 1, *deeper, b"empty") == ({b"a", b"a0"}, set())
            assert await found(b"a", 1) == ({b"a", b"a/b", b"a/b0"}, {b"a/c"})
            assert await found(b"a", 2, b"a/c/e", b"a/z/z") == (
                {b"a", b"a/b", b"a/b0", b"a/c/d"},
                set(),
            )
            assert await found(LONG, 0) == ({LONG}, set())
            assert await found(b"absent", 0) == (set(), set())
            told = (await left_in(session, row.id, b"a/b", depth=0)).files[b"a/b"]
            assert (told.waits, told.size_bytes) == (True, 77)


async def test_what_a_pull_brought_back_is_no_more_frozen(scene: Scene) -> None:
    row, other = await scene.a_tier(), await scene.a_tier("films")
    for path in PATHS:
        await scene.journal(row.id, path, FileState.FROZEN)
    await scene.journal(other.id, b"a", FileState.FROZEN)
    await scene.journal(row.id, b"waits", FileState.QUARANTINED)
    async with scene.services.database.write(SYSTEM) as work:
        await stamp_pulled(work.session, row.id, [b"a", LONG, b"new", b"waits"], now())
    async with scene.services.database.read() as session:
        found = await left_in(session, row.id, b"", depth=0)
        elsewhere = await left_in(session, other.id, b"", depth=0)
    assert set(found.files) == {*PATHS, b"waits"} - {b"a", LONG}
    assert set(elsewhere.files) == {b"a"}


async def test_more_than_a_look_can_hold_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier()
    for path in PATHS:
        await scene.journal(row.id, path, FileState.FROZEN)
    monkeypatch.setattr(browsing, "MOST_ENTRIES", 3)
    async with scene.services.database.read() as session:
        with pytest.raises(Conflict, match="more than 3 files"):
            await left_in(session, row.id, b"", depth=0)


async def test_folders_that_nothing_left_from_cost_no_query_each(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await scene.a_tier()
    known = [b"d%05d" % number for number in range(5000)]
    asked: list[int] = []
    rows = left._rows

    async def noted(session: Any, tier_id: int, part: Any) -> Any:
        asked.append(len(part))
        return await rows(session, tier_id, part)

    async def told(session: AsyncSession) -> tuple[set[bytes], set[bytes]]:
        asked.clear()
        found = await left_in(session, row.id, b"", depth=1, known=known)
        return set(found.files), found.folders

    monkeypatch.setattr(left, "_rows", noted)
    async with scene.services.database.read() as session:
        assert await told(session) == (set(), set())
    assert len(asked) == 1
    for path in (b"d00007/x", b"d00007-8/x", b"d00008", b"d04999/y/z", b"e/x", b"f"):
        await scene.journal(row.id, path, FileState.FROZEN)
    for number in range(left.FEW_ROWS + 1):
        await scene.journal(row.id, b"a/%d" % number, FileState.FROZEN)
    async with scene.services.database.read() as session:
        assert await told(session) == ({b"d00008", b"f"}, {b"a", b"d00007-8", b"e"})
    assert len(asked) < 10

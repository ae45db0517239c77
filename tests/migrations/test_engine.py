"""Real moves between two real servers, behind a real nginx."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.migrations.model import Stage
from tests.migrations.rig import BUCKET, Notes, Rig, contents, running_rig

pytestmark = pytest.mark.real


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def test_a_quiet_bucket_moves_and_is_equal(rig: Rig) -> None:
    await rig.fill((f"a/{i % 7}/{i}", f"content {i}".encode()) for i in range(200))
    notes = Notes()
    await rig.run(notes)
    assert notes.ended is Stage.DONE, (notes.message, notes.lines, notes.troubles)
    assert rig.states() == ["static.p-" + rig.states()[0].split("p-")[1]]
    assert await contents(rig.destination) == await contents(rig.source)
    assert [hold.result for hold in notes.holds] == ["switched"]
    async with rig.client() as client:
        assert (await client.read(BUCKET, "a/0/0"))[1] == b"content 0"

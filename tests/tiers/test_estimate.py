"""How long a pull may take, by what is known."""

from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.model import Action
from holdfast.tiers.pull_outcome import estimate_seconds
from holdfast.tiers.tables import TierRow, TierRunRow
from tests.tiers.scene import Scene, a_scene
from tests.tiers.trees import a_database


async def pulled(scene: Scene, tier: TierRow, rate: int) -> None:
    """A pull of so many bytes a second has ended."""
    row = TierRunRow(
        job_id=f"of-{tier.name}",
        tier_id=tier.id,
        action=Action.PULL,
        asked="{}",
        outcome=f'{{"bytes": {10 * rate}, "seconds": 10.0}}',
        created_at=now(),
        ended_at=now(),
    )
    async with scene.services.database.write(SYSTEM) as work:
        work.session.add(row)


async def test_the_nearest_pulls_tell_and_last_the_bandwidth(
    sqlite_template: Path, tmp_path: Path
) -> None:
    async with a_database(sqlite_template, tmp_path) as database:
        scene = await a_scene(database, tmp_path)
        tier, other = await scene.a_tier(bandwidth="1K"), await scene.a_tier("films")

        async def told(of: TierRow) -> float | None:
            async with database.read() as session:
                return await estimate_seconds(session, of.tier(), 10_240)

        assert await told(other) is None
        assert await told(tier) == pytest.approx(10.0)
        await pulled(scene, other, 2048)
        assert await told(tier) == pytest.approx(5.0)
        await pulled(scene, tier, 10_240)
        assert await told(tier) == pytest.approx(1.0)
        assert await told(other) == pytest.approx(5.0)

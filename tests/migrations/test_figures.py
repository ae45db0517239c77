"""Migrations in figures."""

from holdfast.gateway.tables import PoolRow
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.work import SYSTEM
from holdfast.migrations.service.figures import gauges
from holdfast.migrations.tables import MigrationRow


async def test_figures_count_phases_and_the_bytes_of_unfinished_moves(database: Database) -> None:
    async with database.write(SYSTEM) as work:
        pools = [PoolRow(name=name, created_at=now(), updated_at=now()) for name in "ab"]
        work.session.add_all(pools)
        await work.session.flush()
        for phase, done in (("copying", 3), ("pending", 0), ("done", 9), ("done", 9)):
            row = MigrationRow(
                vhost_id=None,
                bucket="photos",
                src_pool_id=pools[0].id,
                dst_pool_id=pools[1].id,
                phase=phase,
                bytes_done=done,
                bytes_total=10,
                created_at=now(),
            )
            work.session.add(row)
    async with database.read() as session:
        found = {(g.name, *g.labels.values()): g.value for g in await gauges(session)}
    phases = {phase: value for (name, phase), value in found.items() if name.endswith("migrations")}
    assert phases["copying"] == phases["pending"] == 1
    assert (phases["done"], phases["error"]) == (2, 0)
    assert found["holdfast_migration_bytes", "done"] == 3
    assert found["holdfast_migration_bytes", "total"] == 20

"""Migrations in figures, for Prometheus."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.contributors import Gauge
from holdfast.migrations import tables
from holdfast.migrations.model import Phase


async def gauges(session: AsyncSession) -> Sequence[Gauge]:
    """How many migrations there are in each phase, and how far the unfinished ones are."""
    counts = await tables.phase_counts(session)
    active = await tables.active_migrations(session)
    bytes_of = {
        "done": sum(row.bytes_done for row in active),
        "total": sum(row.bytes_total for row in active),
    }
    by_phase = [
        Gauge(
            name="holdfast_migrations",
            help="Migrations, by phase.",
            value=counts.get(phase, 0),
            labels={"phase": phase.value},
        )
        for phase in Phase
    ]
    return by_phase + [
        Gauge(
            name="holdfast_migration_bytes",
            help="Bytes of unfinished migrations.",
            value=value,
            labels={"part": part},
        )
        for part, value in bytes_of.items()
    ]

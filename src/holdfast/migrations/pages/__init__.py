"""Pages of migrations: the plan before the start, what happens now, what is left behind."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import size
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role
from holdfast.migrations import tables
from holdfast.migrations.model import Phase
from holdfast.migrations.pages import moves, new
from holdfast.migrations.service import reading

__all__ = ["contribute", "routers"]

routers = [new.router, moves.router]
FOUND = 6


def contribute(services: Services) -> None:
    """Navigation, search, what waits for the operator, figures."""
    parts = console_parts(services)
    parts.templates["migrations"] = "holdfast.migrations.pages"
    parts.topics.append("migration")
    parts.nav.append(
        NavItem(
            title="Migrations",
            href="/web/migrations",
            icon="migrations",
            group="Gateway",
            order=40,
        )
    )
    move = Hit(title="Move a bucket", href="/web/migrations/new", kind="action", role=Role.OPERATOR)
    parts.actions.append(move)
    parts.links.setdefault("jobs", []).append(move)
    parts.searchers.append(_find)
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    rows, _total = await tables.migration_page(
        session, phase=None, limit=FOUND, offset=0, words=words
    )
    return [
        Hit(
            title=f"{row.bucket} (move {row.id})",
            href=f"/web/migrations/{row.id}",
            kind="migration",
            detail=row.phase,
        )
        for row in rows
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    needs = [
        Need(
            title=f"The move of {row.bucket} waits",
            detail=row.error_msg,
            href=f"/web/migrations/{row.id}",
            action="Look at it",
            topic="migration",
        )
        for row in await tables.active_migrations(session)
        if row.error_msg
    ]
    orphans = await reading.left_behind(session)
    if orphans:
        bytes_left = sum(row.bytes_done for row in orphans)
        needs.append(
            Need(
                title=f"Left behind by moves: {len(orphans)}",
                detail=f"{size(bytes_left)} that no client reaches; kept until you delete them.",
                href="/web/migrations/orphaned",
                action="Look through them",
                topic="migration",
            )
        )
    return needs


async def _figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    counts = await tables.phase_counts(session)
    done = counts.pop(Phase.DONE, 0)
    ended = counts.pop(Phase.ERROR, 0), counts.pop(Phase.CANCELLED, 0)
    moving = sum(counts.values())
    figures = [
        Figure(
            title="Buckets moving",
            value=str(moving),
            href="/web/migrations",
            detail=f"{done} moved, {ended[0]} failed, {ended[1]} cancelled",
        )
    ]
    return [*figures, await _throughput(session)] if moving else figures


async def _throughput(session: AsyncSession) -> Figure:
    """What moves copy now, all of them together; one alone fills the figure by its own events."""
    rates = await reading.rates_now(session)
    numbers = list(rates)
    return Figure(
        title="Copied by moves",
        value=size(sum(rates.values())),
        unit="/s",
        href="/web/migrations",
        detail="now",
        bind=f"migration/{numbers[0]}:bytes_per_second" if len(numbers) == 1 else "",
        format="size",
    )

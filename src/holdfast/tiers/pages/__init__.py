"""Pages of tiers: what they hold and what waits, pull and freeze, folders, runs, reports."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import size
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role
from holdfast.tiers import page_queries, queries
from holdfast.tiers.model import Action
from holdfast.tiers.names import to_text
from holdfast.tiers.pages import ask, browse, forms, report, runs, tiers
from holdfast.tiers.pages.state import Standing, standings
from holdfast.tiers.totals import totals

__all__ = ["contribute", "routers"]

routers = [forms.router, runs.router, ask.router, browse.router, report.router, tiers.router]
FOUND = 6
MOST_LOOKED_AT = 200


def contribute(services: Services) -> None:
    """Navigation, search, what waits for the operator, figures."""
    parts = console_parts(services)
    parts.templates["tiers"] = "holdfast.tiers.pages"
    parts.topics.append("tier")
    parts.nav.append(
        NavItem(title="Tiers", href="/web/tiers", icon="tiers", group="Data", order=52)
    )
    parts.actions.append(
        Hit(title="New tier", href="/web/tiers/new", kind="action", role=Role.ADMIN)
    )
    make = Hit(
        title="Make a tier",
        href="/web/tiers/new?store_id=",
        kind="action",
        detail="of a folder whose full copy it has.",
        role=Role.ADMIN,
    )
    parts.links.setdefault("store", []).append(make)
    parts.searchers.append(_find)
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    rows, _total = await queries.tier_page(session, limit=FOUND, offset=0, words=words)
    return [
        Hit(title=row.name, href=f"/web/tiers/{row.id}", kind="tier", detail=to_text(row.root))
        for row in rows
    ]


async def _needs(services: Services, session: AsyncSession) -> Sequence[Need]:
    rows, _total = await queries.tier_page(session, limit=MOST_LOOKED_AT, offset=0)
    found = await standings(services, session, rows, states=()) if rows else []
    return [need for one in found for need in _needs_of(one)]


def _needs_of(one: Standing) -> Sequence[Need]:
    name, needs = one.row.name, []
    if one.stopped:
        needs.append(
            Need(
                title=f"The freeze of {name} stopped at its limit",
                detail=f"It would take {one.stopped.stopped_at}. Nothing has left.",
                href=f"/web/tiers/runs/{one.stopped.job_id}",
                instead_of=f"/web/jobs/{one.stopped.job_id}",
                action="Look at it",
                topic="tier",
            )
        )
    if one.failed:
        needs.append(
            Need(
                title=f"The last {one.failed.action} of {name} failed",
                detail=one.failed.error,
                href=f"/web/tiers/runs/{one.failed.job_id}",
                instead_of=f"/web/jobs/{one.failed.job_id}",
                action="Look at it",
                level="bad",
                topic="tier",
            )
        )
    if one.full is not None:
        needs.append(
            Need(
                title=f"The disk of {name} is {one.full:.0f} % full",
                detail=f"Its high mark is {one.options.space_high_percent:g} %: its oldest "
                "files leave by themselves, as far as their store proves that it has them.",
                href=f"/web/tiers/{one.row.id}",
                action="Look at it",
                topic="tier",
            )
        )
    if one.room is None:
        needs.append(
            Need(
                title=f"The folder of {name} does not answer",
                detail=to_text(one.row.root),
                href=f"/web/tiers/{one.row.id}",
                action="Look at it",
                level="bad",
                topic="tier",
            )
        )
    return needs


async def _figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    names = await page_queries.names_of_tiers(session)
    if not names:
        return []
    journals = await totals(session, list(names), queries.WAITING_FILES)
    waiting = sum(size for found in journals.values() for _, size in found.values())
    runs = await page_queries.latest_runs(session)
    freezing = sum(
        run.is_under_way and run.action is Action.FREEZE for found in runs.values() for run in found
    )
    return [
        Figure(
            title="In quarantine",
            value=size(waiting),
            href="/web/tiers",
            detail=f"of {len(names)} tiers; {freezing} freezing now",
        )
    ]

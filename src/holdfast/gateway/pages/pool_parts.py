"""What the navigation, the search and the overview have of pools."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import page_queries
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role

FOUND = 8
NEEDS_SHOWN = 5


def contribute(services: Services) -> None:
    """Put pools and members into the console."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(title="Pools", href="/web/pools", icon="pools", group="Gateway", order=20)
    )
    parts.actions.append(
        Hit(title="New pool", href="/web/pools/new", kind="action", role=Role.OPERATOR)
    )
    parts.searchers.append(_find)
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    pools = await page_queries.pools_found(session, words, limit=FOUND)
    members = await page_queries.members_found(session, words, limit=FOUND)
    return [
        *(
            Hit(
                title=pool.name,
                href=f"/web/pools/{pool.id}",
                kind="pool",
                detail=pool.description or pool.type,
            )
            for pool in pools
        ),
        *(
            Hit(
                title=member.address,
                href=f"/web/pools/{member.pool_id}#members",
                kind="member",
                detail=f"of {pool}",
            )
            for member, pool in members
        ),
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    idle, total = await page_queries.pools_without_member(session, limit=NEEDS_SHOWN)
    needs = [
        Need(
            title=f"Pool {pool.name} has no enabled member",
            detail="Clients are sent to it and get 502."
            if pool.used
            else "No vhost uses it yet; it would answer 502.",
            href=f"/web/pools/{pool.id}#members",
            action="Look at its members",
            level="bad" if pool.used else "warn",
            topic="gateway",
        )
        for pool in idle
    ]
    if total > len(idle):
        more = Need(
            title=f"{total - len(idle)} more pools have no enabled member",
            detail="They answer 502.",
            href="/web/pools?state=idle",
            action="See them all",
            topic="gateway",
        )
        needs.append(more)
    return needs


async def _figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    pools, members, enabled = await page_queries.pool_figures(session)
    off = members - enabled
    return [
        Figure(title="Pools", value=f"{pools:,}", href="/web/pools"),
        Figure(
            title="Pool members",
            value=f"{members:,}",
            href="/web/pools",
            detail=f"{off:,} disabled" if off else "all enabled" if members else "",
        ),
    ]

"""What the navigation, the search and the overview have of pools."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import page_queries, silence_queries
from holdfast.gateway.silence_queries import SilentMember
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role

FOUND = 8
NEEDS_SHOWN = 5
NAMED = 3
SILENT_READ = 1000
_NONE_LEFT = "No other member is enabled: clients of this pool get errors."
_UNUSED = "No other member is enabled, and no vhost uses the pool."


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
    return [*needs, *await _silent(session)]


async def _silent(session: AsyncSession) -> list[Need]:
    """Pools some of whose members do not answer: those that answer nobody first."""
    by_pool: dict[int, list[SilentMember]] = {}
    for member in await silence_queries.silent_members(session, limit=SILENT_READ):
        by_pool.setdefault(member.pool_id, []).append(member)
    enabled = await silence_queries.enabled_in(session, list(by_pool))
    needs = [_need_of(found, *enabled[number]) for number, found in by_pool.items()]
    needs.sort(key=lambda need: need.level)
    if len(needs) <= NEEDS_SHOWN:
        return needs
    more = Need(
        title=f"{len(needs) - NEEDS_SHOWN} more pools have members that do not answer",
        detail="No connection was taken when they were last asked.",
        href="/web/pools?state=silent",
        action="See them all",
        topic="gateway",
    )
    return [*needs[:NEEDS_SHOWN], more]


def _need_of(found: list[SilentMember], enabled: int, used: bool) -> Need:  # noqa: FBT001 - a row
    """What one pool's silent members ask for."""
    first, left = found[0], enabled - len(found)
    names = ", ".join(member.address for member in found[:NAMED])
    names += f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    others = f"{left} other{'s get' if left > 1 else ' gets'} the requests."
    verb = "does not answer" if len(found) == 1 else "do not answer"
    return Need(
        title=f"Pool {first.pool}: {names} {verb}",
        detail=f"{first.problem}, since {first.since:%Y-%m-%d %H:%M:%S} UTC. "
        + (others if left else _NONE_LEFT if used else _UNUSED),
        href=f"/web/pools/{first.pool_id}?check=true#members",
        action="Open the pool",
        level="bad" if used and not left else "warn",
        topic="gateway",
    )


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

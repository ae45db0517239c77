"""What the navigation, the search and the overview have of vhosts and routes."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import vhost_page_queries
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role

FOUND = 8
NEEDS_SHOWN = 5


def contribute(services: Services) -> None:
    """Put vhosts and routes into the console."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(title="Vhosts", href="/web/vhosts", icon="vhosts", group="Gateway", order=10)
    )
    parts.actions.append(
        Hit(title="New vhost", href="/web/vhosts/new", kind="action", role=Role.OPERATOR)
    )
    parts.searchers.append(_find)
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    vhosts = await vhost_page_queries.vhosts_found(session, words, limit=FOUND)
    routes = await vhost_page_queries.routes_found(session, words, limit=FOUND)
    return [
        *(
            Hit(
                title=vhost.server_name,
                href=f"/web/vhosts/{vhost.id}",
                kind="vhost",
                detail=vhost.description or ("" if vhost.enabled else "disabled"),
            )
            for vhost in vhosts
        ),
        *(
            Hit(
                title=route.path_prefix,
                href=f"/web/vhosts/{route.vhost_id}#routes",
                kind="route",
                detail=f"of {name}",
            )
            for route, name in routes
        ),
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    lost, total = await vhost_page_queries.vhosts_without_pool(session, limit=NEEDS_SHOWN)
    needs = [
        Need(
            title=f"Vhost {vhost.server_name} sends nothing anywhere",
            detail="It has no default pool and no enabled route: it answers 404.",
            href=f"/web/vhosts/{vhost.id}",
            action="Give it a pool",
            topic="gateway",
        )
        for vhost in lost
    ]
    if total > len(lost):
        more = Need(
            title=f"{total - len(lost)} more vhosts send nothing anywhere",
            detail="They answer 404.",
            href="/web/vhosts?state=lost",
            action="See them all",
            topic="gateway",
        )
        needs.append(more)
    return needs


async def _figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    found = await vhost_page_queries.vhost_figures(session)
    return [
        Figure(
            title="Vhosts",
            value=f"{found.vhosts:,}",
            href="/web/vhosts",
            detail=_off(found.vhosts, found.enabled_vhosts),
        ),
        Figure(
            title="Routes",
            value=f"{found.routes:,}",
            href="/web/vhosts",
            detail=_off(found.routes, found.enabled_routes),
        ),
    ]


def _off(total: int, enabled: int) -> str:
    off = total - enabled
    return f"{off:,} disabled" if off else "all enabled" if total else ""

"""What the navigation, the search and the overview have of the configuration."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service import drift
from holdfast.gateway.service.standing import standing
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.work import Role


def contribute(services: Services) -> None:
    """Put the configuration into the console."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(title="Configuration", href="/web/config", icon="config", group="Gateway", order=50)
    )
    for title, task in (
        ("Validate configuration", "validate"),
        ("Reload nginx", "reload"),
        ("Rebuild configuration files", "rebuild"),
    ):
        parts.actions.append(
            Hit(title=title, href=f"/web/config/{task}", kind="action", role=Role.OPERATOR)
        )
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _needs(services: Services, session: AsyncSession) -> Sequence[Need]:
    found = await standing(session, services.get(Gateway))
    needs = []
    if not found.nginx.live:
        needs.append(
            Need(
                title="Nothing is live" if found.nginx.problem else "nginx does not answer",
                detail=f"{found.nginx.problem.removeprefix('nothing is live: ')}. "
                f"{found.nginx.remedy}",
                href="/web/config",
                action="See what to do",
                level="bad",
                topic="gateway",
            )
        )
    elif found.reload_waits:
        needs.append(
            Need(
                title="A reload of nginx is due",
                detail="Changes are tested and stored; nginx runs with an older generation.",
                href="/web/config/reload",
                action="Reload",
                topic="gateway",
                role=Role.OPERATOR,
            )
        )
    if found.drifted:
        is_one = found.drifted == 1
        needs.append(
            Need(
                title=f"{found.drifted:,} file{' differs' if is_one else 's differ'}",
                detail="Somebody edited what Holdfast wrote. Keep the edit, or put it back.",
                href="/web/config/drift",
                action="Look at the difference",
                topic="gateway",
            )
        )
    return needs


async def _figures(services: Services, session: AsyncSession) -> Sequence[Figure]:
    count = await drift.alerts(services, session)
    number = services.get(Gateway).generations.current()
    return [
        Figure(
            title="Files that differ",
            value=f"{count:,}",
            href="/web/config/drift",
            detail="" if count else "all as written",
        ),
        Figure(
            title="Generation",
            value=str(number) if number else "none",
            href="/web/config/history",
        ),
    ]

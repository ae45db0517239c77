"""What the navigation, the search and the overview have of buckets."""

from collections.abc import Sequence
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_page_queries
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts

FOUND = 8


def contribute(services: Services) -> None:
    """Put buckets into the console."""
    parts = console_parts(services)
    parts.nav.append(
        NavItem(title="Buckets", href="/web/buckets", icon="buckets", group="Gateway", order=30)
    )
    parts.searchers.append(_find)
    parts.needs.append(_needs)
    parts.figures.append(_figures)


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    return [
        Hit(
            title=line.name,
            href=f"/web/vhosts/{line.vhost_id}/buckets/{quote(line.name)}",
            kind="bucket",
            detail=f"{line.server_name}: {line.status}",
        )
        for line in await bucket_page_queries.buckets_found(session, words, limit=FOUND)
    ]


async def _needs(_: Services, session: AsyncSession) -> Sequence[Need]:
    count = (await bucket_page_queries.bucket_counts(session)).get("unrouted", 0)
    if not count:
        return []
    title = f"{count:,} buckets have no route of their own"
    return [
        Need(
            title="1 bucket has no route of its own" if count == 1 else title,
            detail="The default pool answers. Route each to a pool, or ignore it.",
            href="/web/buckets?status=unrouted",
            action="Look at it" if count == 1 else "Look at them",
            topic="gateway",
        )
    ]


async def _figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    counts = await bucket_page_queries.bucket_counts(session)
    present = sum(number for status, number in counts.items() if status != "deleted")
    routed = counts.get("routed", 0) + counts.get("migrating", 0)
    return [
        Figure(
            title="Buckets",
            value=f"{present:,}",
            href="/web/buckets",
            detail=f"{routed:,} with a route of their own" if present else "",
        )
    ]

"""The frame's own pages: what needs the operator first, and the search over everything."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.web.console import (
    audit_pages,
    backup_pages,
    health_pages,
    settings_pages,
)
from holdfast.kernel.web.console.registry import Figure, Hit, NavItem, Need, console_parts
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Actor

router = Router(include_in_schema=False)
ROOMS = (audit_pages, settings_pages, backup_pages, health_pages)
routers = (router, *(room.router for room in ROOMS))
MOST_OF_A_KIND = 8
"""Hits shown of each kind, so that many of one do not hide the others."""


@dataclass(slots=True)
class Overview:
    """What the overview said last: at each change, every open one asks for the same."""

    began_at: float = float("-inf")
    """It serves everybody who had asked before that, and waited."""
    needs: Sequence[Need] = ()
    figures: Sequence[Figure] = ()
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


def contribute(services: Services) -> None:
    """Navigation."""
    for room in ROOMS:
        room.contribute(services)
    console_parts(services).nav.append(
        NavItem(title="Overview", href="/", icon="overview", group="Site", order=0)
    )


@router.get("/")
async def overview(request: Request, services: ServicesDep, session: ReadDep) -> Response:
    """What needs the operator, then what runs, then figures."""
    last, came_at = services.find(Overview) or services.add(Overview()), time.monotonic()
    async with last.lock:
        if last.began_at < came_at:
            last.began_at = time.monotonic()
            last.needs = await _needs(services, session)
            last.figures = await _figures(services, session)
        needs, figures = last.needs, last.figures
    return await page(request, "console/overview.html.j2", needs=needs, figures=figures)


async def _needs(services: Services, session: AsyncSession) -> Sequence[Need]:
    needs = [need for ask in console_parts(services).needs for need in await ask(services, session)]
    told = {need.instead_of for need in needs}
    needs = [need for need in needs if need.href not in told]
    return sorted(needs, key=lambda need: need.level != "bad")


async def _figures(services: Services, session: AsyncSession) -> Sequence[Figure]:
    asked = console_parts(services).figures
    return [figure for ask in asked for figure in await ask(services, session)]


@router.get("/web/search")
async def search(
    request: Request, services: ServicesDep, session: ReadDep, actor: ActorDep, q: str = ""
) -> Response:
    """Everything with these words in its name, and what can be begun."""
    words = q[:200].replace("\0", "").strip()
    parts = console_parts(services)
    hits = list(_known(parts.nav, parts.actions, actor, words))
    if words:
        for find in parts.searchers:
            hits += [hit for hit in await find(services, session, words) if actor.role >= hit.role]
    return await page(
        request, "console/search.html.j2", q=words, hits=_some_of_each(hits) if words else hits
    )


def _some_of_each(hits: Sequence[Hit]) -> Sequence[Hit]:
    shown: Counter[str] = Counter()
    found = []
    for hit in hits:
        shown[hit.kind] += 1
        if shown[hit.kind] <= MOST_OF_A_KIND:
            found.append(hit)
    return found


def _known(
    nav: Sequence[NavItem], actions: Sequence[Hit], actor: Actor, words: str
) -> Sequence[Hit]:
    places = [Hit(title=n.title, href=n.href, kind="page", role=n.role) for n in nav]
    found = [hit for hit in (*actions, *places) if actor.role >= hit.role]
    return [hit for hit in found if all(w in hit.title.lower() for w in words.lower().split())]

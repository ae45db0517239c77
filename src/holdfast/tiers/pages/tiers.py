"""The list of tiers, and one tier: ``/web/tiers``."""

from typing import Annotated

from fastapi import Path, Request, Response

from holdfast.kernel.stores.service import get_store
from holdfast.kernel.web.console.forms import check_typed, typed_name
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import ADMIN, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.tiers import page_queries
from holdfast.tiers.names import to_text
from holdfast.tiers.pages import words
from holdfast.tiers.pages.state import standings
from holdfast.tiers.queries import NEWEST_FIRST
from holdfast.tiers.service import keeping
from holdfast.tiers.service.rooms import used_percent

router = Router(include_in_schema=False, prefix="/web/tiers")
TierId = Annotated[int, Path(ge=1, le=2**31 - 1)]
RUNS_SHOWN = 8


@router.get("")
async def list_tiers(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """Tiers, searched by name and place, sorted, in pages."""
    asked = listing(request, sorts=tuple(page_queries.SORTS))
    rows, total = await page_queries.tier_lines(session, asked)
    found = await standings(services, session, [row for row, _ in rows])
    stores = {row.id: store for row, store in rows}
    return await page(
        request,
        "tiers/tiers.html.j2",
        list=asked,
        rows=found,
        total=total,
        stores=stores,
        text=to_text,
        used=used_percent,
        queue=[run for one in found for run in one.queue],
        names={one.row.id: one.row.name for one in found},
        place=words.short_place,
    )


@router.get("/{tier_id}")
async def show_tier(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """One tier: how it stands, what waits, how it is kept, what was done."""
    row = await keeping.get_tier(session, tier_id)
    (standing,) = await standings(services, session, [row])
    wanted = [row.store_id, *([row.second_store_id] if row.second_store_id else [])]
    shown = listing(request, sorts=(NEWEST_FIRST,), rows=RUNS_SHOWN)
    runs, total = await page_queries.run_lines(session, shown, tier_id=tier_id)
    return await page(
        request,
        "tiers/tier.html.j2",
        tier=row,
        standing=standing,
        root=to_text(row.root),
        stores=[await get_store(session, number) for number in wanted],
        options=words.option_words(standing.options),
        rules=[(rule.pattern, words.rule_words(rule)) for rule in standing.options.rules],
        next_freeze=words.next_freeze(standing.options),
        waiting=await page_queries.waiting_by_job(session, tier_id),
        runs=runs,
        runs_total=total,
        place=words.short_place,
        used=used_percent(standing.room) if standing.room else None,
    )


@router.post("/{tier_id}/delete", dependencies=[ADMIN])
async def delete_tier(
    request: Request, tier_id: TierId, services: ServicesDep, actor: ActorDep
) -> Response:
    """Forget a tier whose name was typed."""
    typed = await typed_name(request)
    async with services.database.read() as session:
        name = (await keeping.get_tier(session, tier_id)).name
    check_typed(typed, name, "tier")
    await keeping.clear_tier(services, tier_id)
    async with services.database.write(actor) as work:
        await keeping.delete_tier(work, tier_id)
    return see_other("/web/tiers", told=f"Tier {name} is deleted; its files stay.")

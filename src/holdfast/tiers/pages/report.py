"""What a tier holds by age, folder and owner, and what freezing would save."""

import json
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ReadDep
from holdfast.kernel.web.router import Router
from holdfast.tiers import page_queries
from holdfast.tiers.drawing import age_words
from holdfast.tiers.model import Action
from holdfast.tiers.names import to_text
from holdfast.tiers.pages.tiers import TierId
from holdfast.tiers.pages.treemap import boxes
from holdfast.tiers.reporting import AGES_DAYS
from holdfast.tiers.service import keeping
from holdfast.tiers.tables import TierRow

router = Router(include_in_schema=False, prefix="/web/tiers")
FOLDERS_SHOWN = 50
SORTS = ("-bytes", "path", "files", "unread")


@router.get("/{tier_id}/report")
async def show_report(request: Request, tier_id: TierId, session: ReadDep) -> Response:
    """The last report; ``?run=``: that of this job. ``?days=``: the age that shades the map."""
    tier = await keeping.get_tier(session, tier_id)
    found = await page_queries.last_report(session, tier_id, request.query_params.get("run", ""))
    runs = (await page_queries.latest_runs(session, [tier_id])).get(tier_id, [])
    making = next((r for r in runs if r.action is Action.REPORT and r.is_under_way), None)
    asked = listing(request, sorts=SORTS, filters=("run", "days"), rows=FOLDERS_SHOWN)
    days = asked.others.get("days", "")
    shaded = days if days in {str(age) for age in AGES_DAYS} else _usual_days(tier)
    told: dict[str, Any] = json.loads(found[0].outcome) if found else {}
    folders = _folders(told, asked.q, asked.sort, shaded, descending=asked.descending)
    here = f"/web/tiers/{tier_id}"
    return await page(
        request,
        "tiers/report.html.j2",
        tier=tier,
        run=found[0] if found else None,
        making=making,
        told=told,
        largest=max((bar["bytes"] for bar in told.get("histogram", ())), default=0),
        age_words=age_words,
        boxes=boxes(told["treemap"], shaded) if told else [],
        folder=told.get("path", ""),
        absolute=lambda path: to_text(tier.root) + (f"/{path}" if path else ""),
        days=shaded,
        ages=AGES_DAYS,
        list=asked,
        folders=folders[asked.offset : asked.offset + asked.rows],
        total=len(folders),
        limit_days=tier.tier().options.age_days,
        to=lambda path: f"{here}/browse?{urlencode({'path': path})}",
    )


def _usual_days(tier: TierRow) -> str:
    """The age of the report that is next to the tier's own."""
    own = tier.tier().options.age_days
    return str(min(AGES_DAYS, key=lambda age: abs(age - own)))


def _folders(
    told: dict[str, Any], text: str, sort: str, days: str, *, descending: bool
) -> list[dict[str, Any]]:
    kept = [one for one in told.get("folders", ()) if text.lower() in one["path"].lower()]

    def key(one: dict[str, Any]) -> Any:  # noqa: ANN401 - what is sorted by
        return one["unread_bytes"][days] if sort == "unread" else one[sort]

    return sorted(kept, key=key, reverse=descending)

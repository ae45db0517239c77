"""The forms of a new tier and of one that changes."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from pydantic import field_validator
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.services import Services
from holdfast.kernel.stores.tables import store_page
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Form, sent_form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import ADMIN, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work
from holdfast.tiers.model import TierOptions
from holdfast.tiers.names import to_text
from holdfast.tiers.pages.ask import lines_of
from holdfast.tiers.pages.fields import tier_fields
from holdfast.tiers.pages.tiers import TierId
from holdfast.tiers.schemas import TierIn, fields_of
from holdfast.tiers.service import keeping
from holdfast.tiers.service.ground import Ground
from holdfast.tiers.service.ground import look as look_at
from holdfast.tiers.tables import TierRow

router = Router(include_in_schema=False, prefix="/web/tiers", dependencies=[ADMIN])
BOTH = ["GET", "POST"]
STORES_OFFERED = 200
MOST_RULES = 1000
MORE = "more"
_RULE = re.compile(r"rules\.(\d{1,4})\.pattern")


class TierForm(TierIn):
    """A tier as its form sends it: filters a line each."""

    @field_validator("filters", mode="before")
    @classmethod
    def _lines(cls, given: object) -> object:
        return lines_of(given)


@router.api_route("/new", methods=BOTH)
async def new_tier(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """A form for a new tier."""
    query = request.query_params
    values = {"store_id": query["store_id"]} if "store_id" in query else {}
    return await _new(request, session, services, values)


@router.api_route("/{tier_id}/clone", methods=BOTH)
async def clone_tier(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """A form for a new tier that begins as another one is; its folder is to be given."""
    row = await keeping.get_tier(session, tier_id)
    values = {**_values(row), "name": "", "path": ""}
    return await _new(request, session, services, values, like=row)


async def _new(
    request: Request,
    session: AsyncSession,
    services: Services,
    values: dict[str, Any],
    *,
    like: TierRow | None = None,
) -> Response:
    stores = await _stores(session)
    lines = await _lines(request, values)
    form = Form(tier_fields(stores, lines, is_new=True), values)

    found: list[Ground] = []

    async def look(body: TierForm) -> None:
        found.append(await look_at(services, body.draft()))

    async def act(work: Work, body: TierForm) -> TierRow:
        return await keeping.create_tier(work, body.draft(), found[0])

    if request.method == "POST" and not await _wants_more(form, request):
        made = await form.submit(request, TierForm, act, look=look)
        if made is not None:
            return see_other(f"/web/tiers/{made.id}", told=f"Tier {made.name} is made.")
    return await page(
        request,
        "tiers/tier_form.html.j2",
        status=form.status,
        form=form,
        stores=stores,
        tier=None,
        like=like,
        action=request.url.path,
        api=("POST", "/api/tiers"),
        cli="tier create",
    )


@router.api_route("/{tier_id}/edit", methods=BOTH)
async def edit_tier(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """A form for what a tier is."""
    row = await keeping.get_tier(session, tier_id)
    stores, values = await _stores(session), _values(row)
    fields = tier_fields(stores, await _lines(request, values), is_new=False)
    form = Form(fields, values, version=version_of(values))

    found: list[Ground] = []

    async def look(body: TierForm) -> None:
        changes = fields_of(body, exclude_unset=False)
        found.append(await keeping.look_at_change(services, tier_id, changes))

    async def act(work: Work, body: TierForm) -> TierRow:
        there = _values(await keeping.get_tier(work.session, tier_id))
        await check_unchanged(work.session, form, there, kind="tier", number=tier_id)
        changes = fields_of(body, exclude_unset=False)
        return await keeping.update_tier(work, tier_id, changes, found[0])

    if request.method == "POST" and not await _wants_more(form, request):
        saved = await form.submit(request, TierForm, act, look=look)
        if saved is not None:
            return see_other(f"/web/tiers/{tier_id}", told=f"Tier {saved.name} is saved.")
    return await page(
        request,
        "tiers/tier_form.html.j2",
        status=form.status,
        form=form,
        stores=stores,
        tier=row,
        action=form.address(f"/web/tiers/{tier_id}/edit"),
        api=("PUT", f"/api/tiers/{tier_id}"),
        cli=f"tier update {shell_word(row.name)}",
    )


async def _wants_more(form: Form, request: Request) -> bool:
    """Whether only another rule was asked for; then what was typed stays."""
    if (await sent_form(request)).get("do") != [MORE]:
        return False
    await form.read(request, TierForm)
    form.errors.clear()
    form.status = 200
    return True


async def _stores(session: AsyncSession) -> Sequence[tuple[str, str]]:
    """Stores to choose among; none when there are too many for that."""
    rows, total = await store_page(session, limit=STORES_OFFERED, offset=0)
    return [] if total > STORES_OFFERED else [(str(row.id), row.name) for row in rows]


async def _lines(request: Request, values: Mapping[str, Any]) -> list[int]:
    """The rules that there are or that were sent, by their numbers, and one that is empty."""
    names: Collection[str] = values.keys()
    asks = True
    if request.method == "POST":
        sent = await sent_form(request)
        names = [name for name, content in sent.items() if any(content)]
        asks = sent.get("do") == [MORE]
    numbers = {int(found[1]) for name in names if (found := _RULE.fullmatch(name))}
    lines = sorted(number for number in numbers if number < MOST_RULES)
    return [*lines, max(lines, default=-1) + 1] if asks or not lines else lines


def _values(row: TierRow) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(TierOptions.from_json(row.options).to_json())
    rules: Sequence[Mapping[str, Any]] = kept.pop("rules")
    numbered = {
        f"rules.{line}.{name}": value
        for line, rule in enumerate(rules)
        for name, value in rule.items()
    }
    return {
        **kept,
        **numbered,
        "filters": "\n".join(kept["filters"]),
        "name": row.name,
        "path": to_text(row.root),
        "store_id": row.store_id,
        "prefix": row.prefix,
        "second_store_id": row.second_store_id,
        "second_prefix": row.second_prefix,
        "description": row.description,
    }

"""Routes of tiers."""

import contextlib
import json
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request, Response

from holdfast.kernel.clock import iso_time
from holdfast.kernel.notify.addresses import check_addresses
from holdfast.kernel.web.deps import ADMIN, PageDep, ReadDep, ServicesDep, WorkDep
from holdfast.kernel.web.router import Router
from holdfast.tiers import queries
from holdfast.tiers.model import Action, TierOptions
from holdfast.tiers.names import to_text
from holdfast.tiers.schemas import (
    MOST_ADDRESSES,
    AskIn,
    FreezeIn,
    TierChange,
    TierIn,
    absolute_path,
)
from holdfast.tiers.service import asking, keeping, looking, reading
from holdfast.tiers.service.asking import Answer, Wish
from holdfast.tiers.service.reading import Run
from holdfast.tiers.tables import TierRow

router = Router(prefix="/api/tiers", tags=["tiers"])
routers = [router]
RowId = Annotated[int, Path(ge=-(2**31), le=2**31 - 1)]
JobId = Annotated[str, Path(max_length=64)]
PathQuery = Annotated[str, Query(max_length=16_384, description="absolute, in text form")]
Limit = Annotated[int, Query(ge=1, le=10_000)]
OfTier = Annotated[
    int | None, Query(ge=-(2**31), le=2**31 - 1, description="only those of this tier")
]


def tier_out(row: TierRow) -> dict[str, Any]:
    """A tier and its options."""
    options: dict[str, Any] = json.loads(TierOptions.from_json(row.options).to_json())
    return {
        "id": row.id,
        "name": row.name,
        "path": to_text(row.root),
        "store_id": row.store_id,
        "prefix": row.prefix,
        "second_store_id": row.second_store_id,
        "second_prefix": row.second_prefix,
        "description": row.description,
        **options,
        "created_at": iso_time(row.created_at),
        "updated_at": iso_time(row.updated_at),
    }


async def refuse_addresses(request: Request, services: ServicesDep) -> None:
    """Raises ``Invalid`` for who could never be told; before a transaction holds others up."""
    with contextlib.suppress(ValueError):  # no JSON: whoever reads it says so
        body = await request.json()
        named = body.get("notify") if isinstance(body, dict) else None
        if isinstance(named, list) and len(named) <= MOST_ADDRESSES:
            texts = [one for one in named if isinstance(one, str)]
            await check_addresses(services.settings, texts)


def wish_of(body: AskIn) -> Wish:
    """What is asked for."""
    return Wish(
        action=Action.FREEZE if isinstance(body, FreezeIn) else Action.PULL,
        paths=body.absolute(),
        dry_run=body.dry_run,
        confirm=isinstance(body, FreezeIn) and body.confirm,
        notify=body.notify,
        tier_id=body.tier,
    )


def answer_out(answer: Answer) -> dict[str, Any]:
    """The job that does what was asked."""
    return {"job_id": answer.job_id, "joined": answer.joined}


def run_out(run: Run) -> dict[str, Any]:
    """What was asked, and how it went. ``state``: null when the job was forgotten."""
    row, job = run.row, run.job
    return {
        "job_id": row.job_id,
        "tier_id": row.tier_id,
        "action": row.action,
        "asked": json.loads(row.asked),
        "state": job.state if job else None,
        "error": job.error if job else None,
        "outcome": json.loads(row.outcome),
        "files": {state: {"files": n, "bytes": size} for state, (n, size) in run.files.items()},
        "created_at": iso_time(row.created_at),
        "ended_at": iso_time(row.ended_at),
    }


@router.get("")
async def list_tiers(
    session: ReadDep,
    page: PageDep,
    search: Annotated[str, Query(max_length=200, description="in name or description")] = "",
) -> list[dict[str, Any]]:
    """Tiers by name."""
    rows, total = await queries.tier_page(
        session, limit=page.limit, offset=page.offset, words=search
    )
    page.total(total)
    return [tier_out(row) for row in rows]


@router.post("", status_code=201, dependencies=[ADMIN])
async def create_tier(body: TierIn, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Make a tier."""
    return tier_out(await keeping.create_tier(work, services, body.draft()))


@router.post("/pull", status_code=202, dependencies=[Depends(refuse_addresses)])
async def pull(body: AskIn, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Bring files and folders of one tier in from its store."""
    return answer_out(await asking.ask(work, services.sealer, wish_of(body)))


@router.post("/freeze", status_code=202, dependencies=[Depends(refuse_addresses)])
async def freeze(body: FreezeIn, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Take unread files of one tier out that its store provably has."""
    return answer_out(await asking.ask(work, services.sealer, wish_of(body)))


@router.get("/list")
async def list_files(
    path: PathQuery,
    services: ServicesDep,
    page: PageDep,
    depth: Annotated[int, Query(ge=0, le=1000, description="folders deep; 0: all")] = 1,
    limit: Limit = 1000,
) -> list[dict[str, Any]]:
    """Files below a folder: which are here, on the store, frozen, differing, missing."""
    found, total = await looking.list_files(
        services, absolute_path(path), depth=depth, limit=limit, offset=page.offset
    )
    page.total(total)
    return [each.as_json() for each in found]


@router.get("/tree")
async def tree(
    path: PathQuery,
    services: ServicesDep,
    depth: Annotated[int, Query(ge=0, le=1000, description="folders deep; 0: all")] = 1,
) -> dict[str, Any]:
    """Folders below a folder, with how many of their files are where."""
    return await looking.tree(services, absolute_path(path), depth=depth)


@router.get("/runs")
async def list_runs(
    session: ReadDep,
    page: PageDep,
    tier: OfTier = None,
    action: Annotated[Action | None, Query(description="only those that did this")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
) -> list[dict[str, Any]]:
    """What was asked of tiers, newest first."""
    runs, total = await reading.list_runs(
        session, limit=limit, offset=page.offset, tier_id=tier, action=action
    )
    page.total(total)
    return [run_out(run) for run in runs]


@router.get("/runs/{job_id}")
async def show_run(job_id: JobId, session: ReadDep) -> dict[str, Any]:
    """One run: counts and bytes by reason, and the states of what it froze."""
    return run_out(await reading.show_run(session, job_id))


@router.get("/runs/{job_id}/details")
async def run_details(
    job_id: JobId,
    session: ReadDep,
    services: ServicesDep,
    page: PageDep,
    reason: Annotated[str, Query(max_length=200, description="only files left for this")] = "",
    limit: Limit = 1000,
) -> list[dict[str, Any]]:
    """What became of each of its files."""
    data_dir = services.settings.data_dir
    lines, total = await reading.details(
        session, data_dir, job_id, limit=limit, offset=page.offset, reason=reason
    )
    page.total(total)
    return lines


@router.post("/jobs/{job_id}/undo", status_code=202)
async def undo(job_id: JobId, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Bring back what a freeze took, while its undo window lasts."""
    return answer_out(await asking.undo(work, services.sealer, job_id))


@router.get("/{tier_id}")
async def show_tier(tier_id: RowId, session: ReadDep) -> dict[str, Any]:
    """One tier."""
    return tier_out(await keeping.get_tier(session, tier_id))


@router.put("/{tier_id}", dependencies=[ADMIN])
async def update_tier(
    tier_id: RowId, body: TierChange, work: WorkDep, services: ServicesDep
) -> dict[str, Any]:
    """Change a tier; what is not given stays."""
    return tier_out(await keeping.update_tier(work, services, tier_id, body.given()))


@router.delete("/{tier_id}", status_code=204, response_class=Response, dependencies=[ADMIN])
async def delete_tier(tier_id: RowId, work: WorkDep) -> None:
    """Forget a tier; its files and its store stay as they are."""
    await keeping.delete_tier(work, tier_id)


@router.post("/{tier_id}/verify", status_code=202)
async def verify(tier_id: RowId, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Compare a whole tier with its store; changes nothing."""
    return answer_out(await asking.ask_whole(work, services.sealer, tier_id, Action.VERIFY))


@router.post("/{tier_id}/report", status_code=202)
async def report(tier_id: RowId, work: WorkDep, services: ServicesDep) -> dict[str, Any]:
    """Tell what a tier holds by age, folder and owner, and what freezing would save."""
    return answer_out(await asking.ask_whole(work, services.sealer, tier_id, Action.REPORT))

"""Routes of tiers."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Annotated, Any

from fastapi import Path, Query, Response
from fastapi.responses import StreamingResponse

from holdfast.kernel.clock import iso_time
from holdfast.kernel.errors import AppError
from holdfast.kernel.notify.addresses import check_addresses
from holdfast.kernel.services import Services
from holdfast.kernel.web.deps import ADMIN, ActorDep, PageDep, ReadDep, ServicesDep, sort_query
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Actor
from holdfast.tiers import queries
from holdfast.tiers.model import Action, TierOptions
from holdfast.tiers.names import to_text
from holdfast.tiers.schemas import (
    AskIn,
    FreezeIn,
    ReportIn,
    TellIn,
    TierChange,
    TierIn,
    VerifyIn,
    absolute_path,
)
from holdfast.tiers.service import asking, keeping, looking, looking_at_all, reading
from holdfast.tiers.service.asking import Answer, Wish
from holdfast.tiers.service.ground import look
from holdfast.tiers.service.looking import Listed
from holdfast.tiers.service.reading import Run
from holdfast.tiers.tables import TierRow

router = Router(prefix="/api/tiers", tags=["tiers"])
routers = [router]
RowId = Annotated[int, Path(ge=-(2**31), le=2**31 - 1)]
JobId = Annotated[str, Path(max_length=64)]
PathQuery = Annotated[str, Query(max_length=16_384, description="absolute, in text form")]
Trial = Annotated[bool, Query(description="true: check everything, change nothing")]
InRun = Annotated[
    bool, Query(description="true: say what would be done, as dry_run in the body does")
]
Limit = Annotated[int, Query(ge=1, le=10_000)]
LINE_SECONDS = 15.0
"""The longest silence in an answer: less than what proxies wait for."""
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


def wish_of(body: AskIn, *, dry_run: bool) -> Wish:
    """What is asked for; ``dry_run``: in the query, which says the same as in the body."""
    return Wish(
        action=Action.FREEZE if isinstance(body, FreezeIn) else Action.PULL,
        paths=body.absolute(),
        dry_run=body.dry_run or dry_run,
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
        "title": job.title if job else row.action,
        "asked": json.loads(row.asked),
        "state": job.state if job else None,
        "error": job.error if job else None,
        "progress_done": job.progress_done if job else None,
        "progress_total": job.progress_total if job else None,
        "progress_unit": job.progress_unit if job else None,
        "progress_text": job.progress_text if job else None,
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
async def create_tier(
    body: TierIn, services: ServicesDep, actor: ActorDep, *, dry_run: Trial = False
) -> dict[str, Any]:
    """Make a tier."""
    draft = body.draft()
    ground = await look(services, draft)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        return tier_out(await keeping.create_tier(work, draft, ground))


@router.post("/pull", status_code=202)
async def pull(
    body: AskIn, services: ServicesDep, actor: ActorDep, *, dry_run: InRun = False
) -> dict[str, Any]:
    """Bring files and folders of one tier in from its store."""
    return await _asked(services, actor, wish_of(body, dry_run=dry_run))


@router.post("/freeze", status_code=202)
async def freeze(
    body: FreezeIn, services: ServicesDep, actor: ActorDep, *, dry_run: InRun = False
) -> dict[str, Any]:
    """Take unread files of one tier out that its store provably has."""
    return await _asked(services, actor, wish_of(body, dry_run=dry_run))


async def _asked(services: Services, actor: Actor, wish: Wish) -> dict[str, Any]:
    """What may take its time is asked for before the transaction."""
    await check_addresses(services.settings, wish.notify)
    target = await asking.find(services, wish)
    async with services.database.write(actor) as work:
        return answer_out(await asking.ask(work, services.sealer, wish, target))


@router.get("/list")
async def list_files(
    path: PathQuery,
    services: ServicesDep,
    page: PageDep,
    depth: Annotated[int, Query(ge=0, le=1000, description="folders deep; 0: all")] = 1,
    limit: Limit = 1000,
) -> list[dict[str, Any]]:
    """Files below a folder: which are here, on the store, frozen, differing, missing, lost."""
    found, total = await looking.list_files(
        services, absolute_path(path), depth=depth, limit=limit, offset=page.offset
    )
    page.total(total)
    return [each.as_json() for each in found]


@router.get("/files", response_class=StreamingResponse)
async def all_files(path: PathQuery, services: ServicesDep) -> StreamingResponse:
    """All files below a folder, a JSON object a line, however many there are.

    What goes wrong later than in the first seconds is a last line with ``detail`` and ``code``;
    lines may be empty while the two sides are looked at.
    """
    blocks = looking_at_all.all_files(services, absolute_path(path))
    first = asyncio.ensure_future(anext(blocks))
    await asyncio.wait([first], timeout=LINE_SECONDS)
    if first.done():
        _ = first.result()
    return StreamingResponse(_lines(first, blocks), media_type="application/x-ndjson")


async def _lines(
    first: asyncio.Future[list[Listed]], blocks: AsyncGenerator[list[Listed], None]
) -> AsyncIterator[str]:
    try:
        while not first.done():
            yield "\n"
            await asyncio.wait([first], timeout=LINE_SECONDS)
        yield _as_lines(first.result())
        async for block in blocks:
            yield _as_lines(block)
    except AppError as error:
        yield json.dumps(error.body(), default=str) + "\n"
    finally:
        if not first.cancel():
            await blocks.aclose()


def _as_lines(block: Iterable[Listed]) -> str:
    return "".join(json.dumps(each.as_json()) + "\n" for each in block)


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
    sort: Annotated[str, sort_query(queries.RUN_SORTS)] = queries.NEWEST_FIRST,
) -> list[dict[str, Any]]:
    """What was asked of tiers, newest first."""
    runs, total = await reading.list_runs(
        session, limit=limit, offset=page.offset, tier_id=tier, action=action, sort=sort
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
async def undo(
    job_id: JobId,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    body: TellIn | None = None,
    *,
    dry_run: Trial = False,
) -> dict[str, Any]:
    """Bring back what a freeze took, while its undo window lasts.

    With ``dry_run``: 200, and how much would come back.
    """
    notify = body.notify if body else []
    await check_addresses(services.settings, notify)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        answer = await asking.undo(work, services.sealer, job_id, notify=notify)
        files, size = await queries.waiting_files(work.session, job_id=job_id)
    told = _begun(answer, response, dry_run=dry_run)
    return {**told, "files": files, "bytes": size} if dry_run else told


@router.get("/{tier_id}")
async def show_tier(tier_id: RowId, session: ReadDep) -> dict[str, Any]:
    """One tier."""
    return tier_out(await keeping.get_tier(session, tier_id))


@router.put("/{tier_id}", dependencies=[ADMIN])
async def update_tier(
    tier_id: RowId,
    body: TierChange,
    services: ServicesDep,
    actor: ActorDep,
    *,
    dry_run: Trial = False,
) -> dict[str, Any]:
    """Change a tier; what is not given stays."""
    changes = body.given()
    ground = await keeping.look_at_change(services, tier_id, changes)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        return tier_out(await keeping.update_tier(work, tier_id, changes, ground))


@router.delete("/{tier_id}", status_code=204, response_class=Response, dependencies=[ADMIN])
async def delete_tier(
    tier_id: RowId, services: ServicesDep, actor: ActorDep, *, dry_run: Trial = False
) -> None:
    """Forget a tier; its files and its store stay as they are."""
    if not dry_run:
        await keeping.clear_tier(services, tier_id)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        await keeping.delete_tier(work, tier_id)


@router.post("/{tier_id}/verify", status_code=202)
async def verify(
    tier_id: RowId,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    body: VerifyIn | None = None,
    *,
    dry_run: Trial = False,
) -> dict[str, Any]:
    """Compare a tier, or paths of it, with its store; changes nothing.

    With ``dry_run``: 200, and no job.
    """
    asked = body or VerifyIn()
    paths = asked.absolute()
    wish = Wish(action=Action.VERIFY, paths=paths, notify=asked.notify, tier_id=tier_id)
    return await _looked_at(services, actor, wish, response, dry_run=dry_run)


@router.post("/{tier_id}/report", status_code=202)
async def report(
    tier_id: RowId,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    body: ReportIn | None = None,
    *,
    dry_run: Trial = False,
) -> dict[str, Any]:
    """Tell what a tier or a folder of it holds by age, folder and owner, and what could leave.

    With ``dry_run``: 200, and no job.
    """
    asked = body or ReportIn()
    paths = asked.absolute()
    wish = Wish(action=Action.REPORT, paths=paths, notify=asked.notify, tier_id=tier_id)
    return await _looked_at(services, actor, wish, response, dry_run=dry_run)


async def _looked_at(
    services: Services, actor: Actor, wish: Wish, response: Response, *, dry_run: bool
) -> dict[str, Any]:
    """What changes nothing is asked of the paths of a wish; none: of the whole tier."""
    await check_addresses(services.settings, wish.notify)
    paths = (await asking.find(services, wish)).paths if wish.paths else asking.WHOLE
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        answer = await asking.ask_to_look(work, services.sealer, wish, paths)
    return _begun(answer, response, dry_run=dry_run)


def _begun(answer: Answer, response: Response, *, dry_run: bool) -> dict[str, Any]:
    """The job; of a dry run there is none: nothing was begun."""
    if dry_run:
        response.status_code = 200
        return {"dry_run": True}
    return answer_out(answer)

"""Generations of files, what changed between them, and the way back: ``/web/config/history``."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import Path, Request, Response

from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import gateway_work
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import config, rollback
from holdfast.kernel.errors import AppError, NotFound
from holdfast.kernel.nginx.generations import MAIN, Generation
from holdfast.kernel.web.console.diffs import FileDiff, diff_files
from holdfast.kernel.web.console.forms import check_typed, typed_name
from holdfast.kernel.web.console.listing import listing, page_of
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/config", include_in_schema=False)
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
SORTS: Mapping[str, Callable[[Generation], Any]] = {
    "-number": lambda one: one.number,
    "by": lambda one: one.author,
    "reason": lambda one: one.reason,
    "files": lambda one: len(one.files),
}
FILES_SHOWN = 30
LINES_SHOWN = 2000
TOLD = 5


@router.get("/history")
async def show_history(request: Request, services: ServicesDep) -> Response:
    """The generations that are kept, newest first."""
    gateway = services.get(Gateway)
    status = await gateway.nginx.status()
    shown = listing(request, sorts=SORTS)
    rows, total = page_of(
        await config.history(gateway), shown, SORTS, lambda one: f"{one.author}\n{one.reason}"
    )
    return await page(
        request,
        "gateway/config_history.html.j2",
        list=shown,
        generations=rows,
        total=total,
        live=gateway.generations.current(),
        loaded=status.loaded_generation,
        kept=gateway.generations.keep,
    )


@router.get("/generations/{number}")
async def show_generation(
    request: Request, services: ServicesDep, number: Number, to: str = ""
) -> Response:
    """What a generation changed; ``?to=live``: what going back to it would change."""
    return await _generation_page(request, services.get(Gateway), number, to_live=to == "live")


@router.post("/generations/{number}", dependencies=[OPERATOR])
async def rehearse(request: Request, services: ServicesDep, number: Number) -> Response:
    """Try the way back: nginx tests the files, and the database tells what would follow."""
    problem: AppError | None = None
    told: Sequence[str] | None = None
    try:
        async with gateway_work(request) as (work, gateway):
            work.dry_run = True
            told = await rollback.roll_back(work, gateway, number)
    except AppError as error:
        problem = error
    return await _generation_page(
        request, services.get(Gateway), number, to_live=True, problem=problem, told=told
    )


@router.post("/generations/{number}/rollback", dependencies=[OPERATOR])
async def roll_back(request: Request, number: Number) -> Response:
    """Make it live again; the database follows it."""
    check_typed(await typed_name(request), str(number), "generation")
    async with gateway_work(request) as (work, gateway):
        told = await rollback.roll_back(work, gateway, number)
    words = f"Generation {number} is live again."
    if told:
        more = f"; and {len(told) - TOLD} more" if len(told) > TOLD else ""
        words += f" The database followed: {'; '.join(told[:TOLD])}{more}."
    return see_other("/web/config/history", told=words, warning=warning_of(work))


async def _generation_page(
    request: Request,
    gateway: Gateway,
    number: int,
    *,
    to_live: bool,
    problem: AppError | None = None,
    told: Sequence[str] | None = None,
) -> Response:
    record = await asyncio.to_thread(gateway.generations.record, number)
    live = gateway.generations.current()
    other = live if to_live else record.parent
    files, missing = await _difference(gateway, other, number)
    shown, cut = _cut(files)
    return await page(
        request,
        "gateway/generation.html.j2",
        status=problem.http_status if problem else 200,
        record=record,
        live=live,
        other=other,
        to_live=to_live,
        files=shown,
        changed=len(files),
        cut=cut,
        missing=missing,
        problem=problem,
        told=told,
        sides=request.query_params.get("diff") == "sides",
    )


async def _difference(
    gateway: Gateway, before: int | None, after: int
) -> tuple[list[FileDiff], bool]:
    """What differs, file by file; true when the other one is kept no more."""
    if before is None or before == after:
        return [], False
    try:
        found = diff_files(await config.difference(gateway, before, after))
    except NotFound:
        return [], True
    return sorted(found, key=lambda file: file.path == MAIN), False  # what follows, last


def _cut(files: Sequence[FileDiff]) -> tuple[list[FileDiff], bool]:
    """As much as a page can hold; true when there is more."""
    shown: list[FileDiff] = []
    lines = 0
    for file in files[:FILES_SHOWN]:
        room = LINES_SHOWN - lines
        text = file.text.split("\n")
        if len(text) > room:
            return ([*shown, FileDiff(file.path, "\n".join(text[:room]))] if room else shown), True
        lines += len(text)
        shown.append(file)
    return shown, len(files) > len(shown)

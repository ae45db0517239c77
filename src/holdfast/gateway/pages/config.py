"""State and files of the configuration: ``/web/config``."""

import asyncio

from fastapi import Request, Response

from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import gateway_work
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import absorb as absorbing
from holdfast.gateway.service import config, drift
from holdfast.gateway.service.standing import differences, ignored, standing
from holdfast.gateway.startup import StartupDifferences
from holdfast.kernel.errors import Invalid, NotFound
from holdfast.kernel.web.console.forms import sent_form
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/config", include_in_schema=False)
DIFFERENCES_SHOWN = 20
IGNORED_SHOWN = 50
TOLD = 5


@router.get("")
async def show_state(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """What is desired, what is on disk, what nginx runs with, and what to do when they differ."""
    gateway = services.get(Gateway)
    found = await standing(session, gateway)
    started = services.find(StartupDifferences)
    return await page(
        request,
        "gateway/config.html.j2",
        state=found,
        include_line=gateway.nginx.include_line,
        started=started.texts if started else [],
    )


@router.get("/drift")
async def show_drift(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """Every file that is not as it was written. ``?diff=sides``: before and after, side by side."""
    gateway = services.get(Gateway)
    asked = listing(request, sorts=("path",), filters=("kind", "diff"), rows=DIFFERENCES_SHOWN)
    found = await differences(session, gateway)
    kind, words = asked.others.get("kind"), asked.q.lower()
    fitting = [
        one for one in found if words in one.found.path.lower() and kind in {None, one.found.kind}
    ]
    return await page(
        request,
        "gateway/drift.html.j2",
        list=asked,
        rows=fitting[asked.offset : asked.offset + asked.rows],
        total=len(fitting),
        drifted=len(found),
        ignored=await ignored(session, gateway, limit=IGNORED_SHOWN),
        sides=asked.others.get("diff") == "sides",
    )


@router.post("/absorb", dependencies=[OPERATOR])
async def absorb(request: Request) -> Response:
    """Store what somebody edited in a file."""
    path, back = await _file_of(request)
    async with gateway_work(request) as (work, gateway):
        done = await absorbing.absorb_file(work, gateway, path)
    told = f"{path} is absorbed: what was edited is stored."
    if done.differences:
        more = len(done.differences) - TOLD
        told += f" Changed: {'; '.join(done.differences[:TOLD])}"
        told += f"; and {more} more." if more > 0 else "."
    return see_other(back, told=told, warning=warning_of(work))


@router.post("/restore", dependencies=[OPERATOR])
async def restore(request: Request) -> Response:
    """Put a file back to what the database says."""
    path, back = await _file_of(request)
    async with gateway_work(request) as (work, gateway):
        _, removed = await config.rewrite_file(work, gateway, path)
    told = f"{path} is removed: nothing stands for it." if removed else f"{path} is restored."
    return see_other(back, told=told, warning=warning_of(work))


@router.get("/files")
async def list_files(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """Every file of the live generation, and every one that somebody put there."""
    gateway = services.get(Gateway)
    asked = listing(request, sorts=("path",), filters=("state",))
    kinds = {item.path: item.kind for item in await drift.find(session, gateway)}
    record = await asyncio.to_thread(gateway.generations.record)
    wanted = asked.others.get("state")
    paths = [
        path
        for path in sorted(record.files.keys() | kinds.keys(), reverse=asked.descending)
        if asked.q.lower() in path.lower() and (wanted != "drift" or path in kinds)
    ]
    return await page(
        request,
        "gateway/config_files.html.j2",
        list=asked,
        rows=paths[asked.offset : asked.offset + asked.rows],
        total=len(paths),
        kinds=kinds,
        record=record,
        folder=str(gateway.generations.live),
    )


@router.get("/file")
async def show_file(
    request: Request, session: ReadDep, services: ServicesDep, path: str = ""
) -> Response:
    """One file as it is on disk now, and how it differs."""
    gateway = services.get(Gateway)
    name = config.relative_path(gateway, path) if path else ""
    found = {one.found.path: one for one in await differences(session, gateway)}
    record = await asyncio.to_thread(gateway.generations.record)
    if name not in record.files and name not in found:
        raise NotFound(f"{path!r} is not a file of the live generation", hint="look in the list")
    text = None
    if not name.startswith(f"{drift.ROUTES}/"):
        text = await asyncio.to_thread(gateway.generations.read, name)
    return await page(
        request,
        "gateway/config_file.html.j2",
        name=name,
        text=text,
        difference=found.get(name),
        shown_path=config.shown_path(gateway, name),
        record=record,
        sides=request.query_params.get("diff") == "sides",
    )


async def _file_of(request: Request) -> tuple[str, str]:
    """The file that a form names, and where to go back to."""
    sent = await sent_form(request)
    path = sent.get("path", [""])[0]
    if not path:
        raise Invalid("this form names no file", hint="go back and try again")
    sides = "?diff=sides" if sent.get("diff") == ["sides"] else ""
    return path, f"/web/config/drift{sides}"

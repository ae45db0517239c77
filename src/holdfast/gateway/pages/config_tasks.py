"""What can be done about the configuration: ``/web/config/{validate,reload,rebuild,sync,adopt}``.

Each is a page that says what it does, does it, and shows nginx's words. What changes much can be
tried first.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request, Response

from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import gateway_work
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import config, rebuild, sync
from holdfast.kernel.errors import AppError, Invalid
from holdfast.kernel.web.console.forms import sent_form
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ADMIN, OPERATOR, services_of
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/config", include_in_schema=False)
BOTH = ["GET", "POST"]
SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to do, in words."""

    title: str
    lead: str
    submit: str
    path: str
    api: str
    cli: str
    tried_first: bool = False
    word: str = ""
    """What must be typed before it: something is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it."""

    ok: bool
    words: str
    output: str = ""
    lists: Sequence[tuple[str, Sequence[str]]] = ()


Doing = Callable[[Request, bool], Awaitable[Done]]
"""Do it; true: only try."""

VALIDATE = Task(
    title="Validate",
    lead="nginx tests what is on disk, with your own main file. Nothing changes.",
    submit="Test the files",
    path="/web/config/validate",
    api="POST /api/config/validate",
    cli="config validate",
)
RELOAD = Task(
    title="Reload nginx",
    lead="nginx tests what is on disk and, if it takes it, runs with it. No request fails; "
    "connections that are open end with the old workers.",
    submit="Test and reload",
    path="/web/config/reload",
    api="POST /api/config/reload",
    cli="config reload",
)
REBUILD = Task(
    title="Rebuild the files",
    lead="Every file and routing flag becomes what the database says. "
    "What somebody edited by hand is lost.",
    submit="Rebuild",
    path="/web/config/rebuild",
    api="POST /api/config/rebuild",
    cli="config rebuild",
    tried_first=True,
    word="rebuild",
)
SYNC = Task(
    title="Absorb what was added by hand",
    lead="New and changed pools, members, vhosts, routes and flags on disk are stored. "
    "What only the database has stays. A file that cannot be kept whole stays as it is.",
    submit="Absorb them",
    path="/web/config/sync",
    api="POST /api/config/sync",
    cli="config sync",
    tried_first=True,
)
ADOPT = Task(
    title="Rebuild the database from disk",
    lead="For a database that is lost or wrong: it becomes what the files, routing flags and "
    "records of migrations say. What only the database has is deleted.",
    submit="Replace the database",
    path="/web/config/adopt",
    api="POST /api/config/rebuild-from-disk?force=true",
    cli="rebuild --force",
    tried_first=True,
    word="replace",
)


@router.api_route("/validate", methods=BOTH, dependencies=[OPERATOR])
async def validate(request: Request) -> Response:
    """Let nginx test what is on disk."""

    async def do(request: Request, _: bool) -> Done:  # noqa: FBT001 - a `Doing`
        ok, output = await config.validate(services_of(request).get(Gateway))
        return Done(ok=ok, words="nginx takes it." if ok else "nginx refuses it.", output=output)

    return await _task_page(request, VALIDATE, do)


@router.api_route("/reload", methods=BOTH, dependencies=[OPERATOR])
async def reload(request: Request) -> Response:
    """Make nginx run with what is on disk."""

    async def do(request: Request, _: bool) -> Done:  # noqa: FBT001 - a `Doing`
        async with gateway_work(request) as (work, gateway):
            ok, output = await config.reload(work, gateway)
        words = "nginx runs with what is on disk." if ok else "nginx goes on with what it had."
        return Done(ok=ok, words=words, output=output)

    return await _task_page(request, RELOAD, do)


@router.api_route("/rebuild", methods=BOTH, dependencies=[OPERATOR])
async def rebuild_files(request: Request) -> Response:
    """Make the disk what the database says."""

    async def do(request: Request, is_trial: bool) -> Done:  # noqa: FBT001 - a `Doing`
        async with gateway_work(request) as (work, gateway):
            work.dry_run = is_trial
            done = await config.rebuild(work, gateway)
        lists = (
            ("To be written" if is_trial else "Written", done.written),
            ("To be removed" if is_trial else "Removed", done.removed),
        )
        nothing = not done.written and not done.removed
        words = "Every file is as the database says: there is nothing to do."
        if not nothing:
            words = "nginx takes it." if is_trial else warning_of(work) or "nginx runs with it."
        return Done(ok=True, words=words, lists=lists)

    return await _task_page(request, REBUILD, do)


@router.api_route("/sync", methods=BOTH, dependencies=[OPERATOR])
async def sync_files(request: Request) -> Response:
    """Take over what was added or changed on disk."""

    async def do(request: Request, is_trial: bool) -> Done:  # noqa: FBT001 - a `Doing`
        async with gateway_work(request) as (work, gateway):
            work.dry_run = is_trial
            done = await sync.sync(work, gateway)
        counts = (
            (done.pools_new, "new pools"), (done.pools_updated, "changed pools"),
            (done.members_new, "new members"), (done.vhosts_new, "new vhosts"),
            (done.vhosts_updated, "changed vhosts"), (done.routes_synced, "routes"),
            (done.files_synced, "files"),
        )  # fmt: skip
        taken = [f"{number:,} {words}" for number, words in counts if number]
        words = warning_of(work) or ("" if taken else "There is nothing to take over.")
        told = words or ("This would be stored." if is_trial else "Stored, and nginx runs with it.")
        lists = (("Taken over", taken), ("Left as it is", done.warnings))
        return Done(ok=not done.warnings, words=told, lists=lists)

    return await _task_page(request, SYNC, do)


@router.api_route("/adopt", methods=BOTH, dependencies=[ADMIN])
async def adopt(request: Request) -> Response:
    """Make the database what is on disk."""

    async def do(request: Request, is_trial: bool) -> Done:  # noqa: FBT001 - a `Doing`
        async with gateway_work(request) as (work, gateway):
            work.dry_run = is_trial
            found = await rebuild.rebuild_from_disk(work, gateway, force=True)
        pools = [f"pool {p.name}: {len(p.members)} members" for p in found.spec.pools]
        vhosts = [
            f"vhost {v.server_name}: {found.routes_of.get(v.server_name, 0)} routes"
            for v in found.spec.vhosts
        ]
        counts = [
            f"{found.migrations:,} migrations under way, {found.completed_migrations:,} done",
            f"keys of {found.credentials:,} pools can be read",
        ]
        words = "The database would be this." if is_trial else "The database is what is on disk."
        lists = (("Found on disk", [*pools, *vhosts, *counts]), ("Mind", found.warnings))
        return Done(ok=not found.warnings, words=words, lists=lists)

    return await _task_page(request, ADOPT, do)


async def _task_page(request: Request, task: Task, do: Doing) -> Response:
    done: Done | None = None
    problem: AppError | None = None
    is_trial = False
    if request.method == "POST":
        try:
            sent = await sent_form(request)
            is_trial = sent.get("do") == ["preview"]
            if task.word and not is_trial and sent.get("confirm") != [task.word]:
                raise Invalid("nothing was changed", hint=f"type {task.word} to confirm it")
            done = await do(request, is_trial)
        except AppError as error:
            problem = error
    return await page(
        request,
        "gateway/config_task.html.j2",
        status=problem.http_status if problem else 200,
        task=task,
        done=done,
        problem=problem,
        is_trial=is_trial,
        limit=SHOWN,
    )

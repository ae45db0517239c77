"""The HTTP API of baricadr 0.2.1, so that its client goes on working against tiers.

Its paths, fields, times and errors, see docs/reference/dropin-baricadr.md. Each answer is JSON.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import Request
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Route

from holdfast.dropin import files
from holdfast.dropin.asked import Refused, asked_of
from holdfast.dropin.login import actor_of
from holdfast.dropin.tables import RemovedTaskRow
from holdfast.dropin.tasks import Task, for_its_client, task_with_id, tasks
from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, Forbidden, TooMany, Unauthenticated
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.jobs.logfile import log_path
from holdfast.kernel.jobs.model import FINAL
from holdfast.kernel.jobs.tables import job_by_id
from holdfast.kernel.logging import get_logger
from holdfast.kernel.notify.addresses import check_addresses
from holdfast.kernel.services import Services
from holdfast.kernel.work import Actor, Role
from holdfast.tiers.model import Action
from holdfast.tiers.service import asking, reading
from holdfast.tiers.service.asking import Wish

log = get_logger(__name__)
TOOL = "baricadr"
PREFIX = f"/dropin/{TOOL}"
VERSION = "0.2.1"
"""The one whose API this is."""
ENDPOINTS = {
    "endpoints": "/endpoints",
    "freeze": "/freeze",
    "list": "/list",
    "pull": "/pull",
    "task_list": "/tasks",
    "task_log": "/tasks/log/<task_id>",
    "task_remove": "/tasks/remove/<task_id>",
    "task_show": "/tasks/status/<task_id>",
    "tree": "/tree",
    "version": "/version",
    "zombie": "/zombie",
}
MOST_DETAILS = 10_000
_FAILED = {"error": "Internal server error"}
_NO_TASK = "Task not found in Baricadr database."
_TOO_OLD = f"{_NO_TASK} Maybe it is too old."
_NO_LOG = "Task log not found, maybe it is too old."

Act = Callable[[Services, Actor, Request], Awaitable[Any]]


class _Answer(JSONResponse):
    """In ASCII, as the older server's: what half a surrogate pair stands for is kept."""

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - any JSON
        return json.dumps(content).encode()


def application(services: Services) -> Starlette:
    """What answers its clients, at its root."""
    app = Starlette(
        routes=[
            _route(services, "GET", "version", Role.VIEWER, _version),
            _route(services, "GET", "endpoints", Role.VIEWER, _endpoints),
            _route(services, "POST", "pull", Role.OPERATOR, _pull),
            _route(services, "POST", "freeze", Role.OPERATOR, _freeze),
            _route(services, "POST", "list", Role.VIEWER, _list),
            _route(services, "POST", "tree", Role.VIEWER, _tree),
            _route(services, "GET", "task_list", Role.VIEWER, _task_list),
            _route(services, "GET", "task_show", Role.VIEWER, _task_show),
            _route(services, "GET", "task_log", Role.VIEWER, _task_log),
            _route(services, "GET", "task_remove", Role.OPERATOR, _task_remove),
            _route(services, "GET", "zombie", Role.OPERATOR, _zombie),
        ],
        exception_handlers={
            Refused: _refused,
            AppError: _expected,
            HTTPException: _http,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    app.state.services = services
    return app


def _route(services: Services, method: str, name: str, role: Role, act: Act) -> Route:
    async def answer(request: Request) -> _Answer:
        actor = await actor_of(request, services, TOOL)
        if actor.role < role:
            # Its client takes a 403 for a success.
            words = f"{actor.name} has the role {actor.role.name.lower()}"
            raise Refused(f"{words}; this needs {role.name.lower()}")
        return _Answer(await act(services, actor, request))

    path = ENDPOINTS[name].replace("<task_id>", "{task_id}")
    route = Route(path, answer, methods=[method], name=name)
    route.methods = {method}  # without HEAD: some of its GETs do things
    return route


async def _version(_: Services, __: Actor, ___: Request) -> dict[str, str]:
    return {"version": VERSION}


async def _endpoints(_: Services, __: Actor, ___: Request) -> dict[str, str]:
    return ENDPOINTS


async def _pull(services: Services, actor: Actor, request: Request) -> dict[str, str]:
    return await _submit(services, actor, request, Action.PULL)


async def _freeze(services: Services, actor: Actor, request: Request) -> dict[str, str]:
    return await _submit(services, actor, request, Action.FREEZE)


async def _submit(
    services: Services, actor: Actor, request: Request, action: Action
) -> dict[str, str]:
    asked = await asked_of(request)
    email = asked.email()
    await check_addresses(None, email)
    if email and not services.settings.mail_server:  # its clients have always been let through
        log.warning("nobody will be told: this site sends no mail", action=action)
        email = []
    with asked.outside():
        wish = Wish(
            action=action,
            paths=[asked.path],
            dry_run=asked.flag("dry_run"),
            confirm=action is Action.FREEZE and asked.flag("force"),
            notify=email,
        )
        target = await asking.find(services, wish)
        async with services.database.write(actor) as work:
            answer = await asking.ask(work, services.sealer, wish, target)
    return {"task": answer.job_id}


async def _list(services: Services, _: Actor, request: Request) -> list[dict[str, Any]]:
    return await files.listed(services, await asked_of(request))


async def _tree(services: Services, _: Actor, request: Request) -> list[dict[str, Any]]:
    return await files.tree(services, await asked_of(request))


async def _task_list(services: Services, _: Actor, __: Request) -> list[dict[str, Any]]:
    async with services.database.read() as session:
        return [task.as_json() for task in await tasks(session)]


async def _task_show(services: Services, _: Actor, request: Request) -> dict[str, Any]:
    task = await _task(services, request, {"error": _TOO_OLD})
    return task.as_json(with_error=True)


async def _task_log(services: Services, _: Actor, request: Request) -> dict[str, str]:
    task = await _task(services, request, {"error": _TOO_OLD})
    job, data_dir = task.run.job, services.settings.data_dir
    if job is None or (job.state in FINAL and not log_path(data_dir, job.id).exists()):
        raise Refused(status=404, body={"error": _NO_LOG})
    async with services.database.read() as session:
        offset, ended, parts = 0, False, []
        while not ended:
            chunk = await jobs.job_log(session, data_dir, job.id, offset=offset)
            ended, offset = chunk.next_offset == offset, chunk.next_offset
            parts.append(for_its_client(chunk.text))
        lines, total = await reading.details(session, data_dir, job.id, limit=MOST_DETAILS)
    parts += [_detail(line) for line in lines]
    if total > len(lines):
        parts.append(f"and {total - len(lines)} more files\n")
    return {"logs": "".join(parts)}


async def _task_remove(services: Services, actor: Actor, request: Request) -> dict[str, str]:
    task = await _task(services, request, {"error": _NO_TASK, "info": ""})
    task_id = task.run.row.job_id
    async with services.database.write(actor) as work:
        job = await job_by_id(work.session, task_id, lock=True)
        if job and job.state not in FINAL:
            await jobs.cancel(work, task_id)
        if await work.session.get(RemovedTaskRow, task_id) is None:
            work.session.add(RemovedTaskRow(job_id=task_id, removed_at=now()))
            work.audit("remove", "task", task_id)
    return {"info": f"Task {task_id} removed.", "error": ""}


async def _zombie(_: Services, __: Actor, ___: Request) -> dict[str, str]:
    """There are none: a job that lost its worker goes on by itself."""
    return {"task": str(uuid.uuid4())}


async def _task(services: Services, request: Request, absent: Mapping[str, str]) -> Task:
    task_id = str(request.path_params["task_id"])
    async with services.database.read() as session:
        task = await task_with_id(session, task_id) if task_id.isalnum() else None
    if task is None:
        raise Refused(status=404, body=absent)
    return task


def _detail(line: Mapping[str, Any]) -> str:
    reason = f" ({line['reason']})" if line["reason"] else ""
    return f"{line['what']}: '{line['path']}', {line['bytes']} bytes{reason}\n"


async def _refused(_: Request, error: Exception) -> _Answer:
    assert isinstance(error, Refused)
    return _Answer(error.body, status_code=error.status)


async def _expected(_: Request, error: Exception) -> _Answer:
    """Its client knows 400 alone as a refusal; who may not enter is told as in HTTP."""
    assert isinstance(error, AppError)
    status, headers = 400, {}
    if isinstance(error, Forbidden):
        status = 403
    elif isinstance(error, Unauthenticated):
        status, headers = 401, {"WWW-Authenticate": 'Basic realm="Holdfast", charset="UTF-8"'}
    elif isinstance(error, TooMany):
        status, headers = 429, {"Retry-After": str(error.retry_after_seconds or 60)}
    return _Answer({"error": error.message}, status_code=status, headers=headers)


async def _http(_: Request, error: Exception) -> _Answer:
    assert isinstance(error, HTTPException)
    return _Answer({"error": str(error.detail)}, status_code=error.status_code)


async def _unexpected(request: Request, error: Exception) -> _Answer:
    path = str(request.scope["path"])
    log.error("unexpected failure", method=request.method, path=path, exc_info=error)
    return _Answer(_FAILED, status_code=502)

"""Pages of jobs and schedules."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel, Json
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.jobs import overview, service, tables
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import registered_kinds
from holdfast.kernel.jobs.service import NewSchedule, ScheduleView
from holdfast.kernel.jobs.words import cron_words, next_runs
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Field, Form, check_typed, typed_name
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.registry import Hit, NavItem, console_parts
from holdfast.kernel.web.console.render import came_from, page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import ADMIN, OPERATOR, ActorDep, ReadDep, ServicesDep, services_of
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Role, Work

router = Router(include_in_schema=False)
FOUND = 6
SORTS = ("-submitted", *tables.JOB_SORTS)


class ScheduleForm(BaseModel):
    """What the form of a schedule holds."""

    name: str
    kind: str
    cron: str
    timezone: str = "UTC"
    title: str = ""
    args: Json[dict[str, object]] = {}
    enabled: bool = True


def contribute(services: Services) -> None:
    """Navigation, search, and failed jobs on the overview."""
    parts = console_parts(services)
    parts.templates["jobs"] = "holdfast.kernel.jobs"
    parts.nav += [
        NavItem(title="Jobs", href="/web/jobs", icon="jobs", group="System", order=60),
        NavItem(
            title="Schedules", href="/web/schedules", icon="schedules", group="System", order=62
        ),
    ]
    parts.actions.append(
        Hit(title="New schedule", href="/web/schedules/new", kind="action", role=Role.ADMIN)
    )
    parts.searchers.append(_find)
    parts.needs.append(overview.failures)
    parts.figures.append(overview.figures)


@router.get("/web/jobs")
async def list_page(request: Request, session: ReadDep) -> Response:
    """All jobs, newest first."""
    shown = listing(request, sorts=SORTS, filters=("state", "kind", "schedule"))
    state = shown.others.get("state", "")
    jobs, total = await service.list_jobs(
        session,
        limit=shown.rows,
        offset=shown.offset,
        states=(JobState(state),) if state in set(JobState) else (),
        kind=shown.others.get("kind"),
        schedule=shown.others.get("schedule"),
        words=shown.q,
        sort=shown.order,
    )
    choices = [
        ("state", "State", [(one.value, one.value) for one in JobState]),
        ("kind", "Kind", [(kind, kind) for kind in registered_kinds()]),
    ]
    return await page(
        request,
        "jobs/jobs.html.j2",
        list=shown,
        jobs=jobs,
        total=total,
        choices=choices,
        links=console_parts(services_of(request)).links.get("jobs", []),
    )


@router.get("/web/jobs/{job_id}")
async def job_page(request: Request, session: ReadDep, job_id: str) -> Response:
    """One job: why it failed first, its steps, its log."""
    return await page(request, "jobs/job.html.j2", job=await service.show_job(session, job_id))


@router.post("/web/jobs/{job_id}/cancel", dependencies=[OPERATOR])
async def cancel(services: ServicesDep, actor: ActorDep, job_id: str) -> Response:
    """Stop a job."""
    async with services.database.write(actor) as work:
        job = await service.cancel(work, job_id)
    return see_other(f"/web/jobs/{job_id}", told=f"{job.title or job.kind} is being stopped.")


@router.post("/web/jobs/{job_id}/retry", dependencies=[OPERATOR])
async def retry(services: ServicesDep, actor: ActorDep, job_id: str) -> Response:
    """Run it again from the step in which it ended."""
    async with services.database.write(actor) as work:
        job = await service.retry(work, job_id)
    return see_other(
        f"/web/jobs/{job_id}", told=f"{job.title or job.kind} is waiting to run again."
    )


@router.post("/web/jobs/{job_id}/dismiss", dependencies=[OPERATOR])
async def dismiss(
    request: Request, services: ServicesDep, actor: ActorDep, job_id: str
) -> Response:
    """Let a failure wait for nobody any more."""
    async with services.database.write(actor) as work:
        job = await service.dismiss(work, job_id)
    return see_other(came_from(request) or "/", told=f"{job.title or job.kind} waits no more.")


@router.post("/web/jobs/dismiss", dependencies=[OPERATOR])
async def dismiss_all(services: ServicesDep, actor: ActorDep) -> Response:
    """The same with every failure."""
    async with services.database.write(actor) as work:
        dismissed = await service.dismiss_all(work)
    return see_other("/", told=f"{dismissed} failed jobs wait no more.")


@router.get("/web/schedules")
async def schedules_page(request: Request, session: ReadDep) -> Response:
    """All schedules in plain words."""
    shown = listing(request, sorts=tables.SCHEDULE_SORTS)
    found, total = await service.list_schedules(
        session, limit=shown.rows, offset=shown.offset, words=shown.q, sort=shown.order
    )
    told = [_told(one) for one in found]
    return await page(request, "jobs/schedules.html.j2", list=shown, schedules=told, total=total)


@router.get("/web/schedules/new", dependencies=[ADMIN])
@router.post("/web/schedules/new", dependencies=[ADMIN])
async def new_schedule(request: Request) -> Response:
    """Let a job run by itself."""
    form = Form(_fields())
    if request.method == "POST":
        made = await form.submit(request, ScheduleForm, _create)
        if made and not form.preview:
            return see_other("/web/schedules", told=f"Schedule {made.name} made.")
    return await _form_page(
        request,
        form,
        title="New schedule",
        action="/web/schedules/new",
        api=("POST", "/api/schedules"),
        cli="schedule create",
    )


@router.get("/web/schedules/{name}/edit", dependencies=[ADMIN])
@router.post("/web/schedules/{name}/edit", dependencies=[ADMIN])
async def edit_schedule(request: Request, session: ReadDep, name: str) -> Response:
    """Change when and with what it runs."""
    row = await service.show_schedule(session, name)
    values = _values(row)
    fields = [f for f in _fields() if f.name in ScheduleChange.model_fields]
    form = Form(fields, values, version=version_of(values))

    async def act(work: Work, body: ScheduleChange) -> ScheduleView:
        there = _values(await service.show_schedule(work.session, name))
        await check_unchanged(work.session, form, there, kind="schedule", number=name)
        return await service.update_schedule(work, name, **body.model_dump())

    if request.method == "POST":
        changed = await form.submit(request, ScheduleChange, act)
        if changed and not form.preview:
            return see_other("/web/schedules", told=f"Schedule {name} saved.")
    return await _form_page(
        request,
        form,
        title=f"Schedule {name}",
        action=f"/web/schedules/{name}/edit",
        api=("PATCH", f"/api/schedules/{name}"),
        cli=f"schedule update {shell_word(name)}",
    )


@router.post("/web/schedules/{name}/trigger", dependencies=[OPERATOR])
async def trigger(services: ServicesDep, actor: ActorDep, name: str) -> Response:
    """Run its job now."""
    async with services.database.write(actor) as work:
        job_id = await service.trigger_schedule(work, name)
    return see_other(f"/web/jobs/{job_id}", told=f"The job of {name} was queued.")


@router.post("/web/schedules/{name}/toggle", dependencies=[ADMIN])
async def toggle(services: ServicesDep, actor: ActorDep, name: str) -> Response:
    """Pause or resume it."""
    async with services.database.write(actor) as work:
        before = await service.show_schedule(work.session, name)
        await service.update_schedule(work, name, enabled=not before.enabled)
    told = f"Schedule {name} {'is paused' if before.enabled else 'runs again'}."
    return see_other("/web/schedules", told=told)


@router.post("/web/schedules/{name}/delete", dependencies=[ADMIN])
async def delete(request: Request, services: ServicesDep, actor: ActorDep, name: str) -> Response:
    """Delete it once its name was typed."""
    check_typed(await typed_name(request), name, "schedule")
    async with services.database.write(actor) as work:
        await service.delete_schedule(work, name)
    return see_other("/web/schedules", told=f"Schedule {name} deleted.")


class ScheduleChange(BaseModel):
    """What may be changed of a schedule."""

    cron: str
    timezone: str = "UTC"
    args: Json[dict[str, object]] = {}
    enabled: bool = True


async def _create(work: Work, body: ScheduleForm) -> ScheduleView:
    return await service.create_schedule(work, NewSchedule(**body.model_dump()))


def _values(row: ScheduleView) -> dict[str, object]:
    values: dict[str, object] = {
        name: getattr(row, name) for name in ("cron", "timezone", "enabled")
    }
    return values | {"args": json.dumps(row.args)}


async def _form_page(request: Request, form: Form, **words: Any) -> Response:  # noqa: ANN401 - of the template
    cron, zone = str(form.values.get("cron") or ""), str(form.values.get("timezone") or "UTC")
    runs = next_runs(cron, zone, after=now()) if cron else []
    return await page(
        request,
        "jobs/schedule_form.html.j2",
        status=form.status,
        form=form,
        words=cron_words(cron) if runs else "",
        runs=runs,
        **words,
    )


def _fields() -> Sequence[Field]:
    return (
        Field(
            name="name",
            label="Name",
            required=True,
            option="-",
            help="Lower case letters, digits, dot and dash.",
        ),
        Field(
            name="kind", label="Job", kind="select", options=[(k, k) for k in registered_kinds()]
        ),
        Field(
            name="cron",
            label="When",
            required=True,
            help="Minute, hour, day, month, weekday: 15 3 * * 1 is every Monday at 03:15.",
            attributes={"placeholder": "15 3 * * 1", "autocomplete": "off"},
        ),
        Field(name="timezone", label="Time zone", value="UTC", required=True),
        Field(name="enabled", label="Runs by itself", kind="checkbox", value=True),
        Field(name="title", label="Title", advanced=True),
        Field(
            name="args",
            label="Arguments",
            kind="textarea",
            value="{}",
            help="A JSON object, as the job takes it.",
            attributes={"data-json": ""},
            advanced=True,
        ),
    )


def _told(one: ScheduleView) -> dict[str, object]:
    runs = next_runs(one.cron, one.timezone, after=now()) if one.enabled else []
    return {"view": one, "words": cron_words(one.cron), "runs": runs}


async def _find(_: Services, session: AsyncSession, words: str) -> Sequence[Hit]:
    jobs, _total = await service.list_jobs(session, limit=FOUND, words=words)
    hits = [
        Hit(title=j.title or j.kind, href=f"/web/jobs/{j.id}", kind="job", detail=j.state)
        for j in jobs
    ]
    found, _total = await service.list_schedules(session, limit=FOUND, words=words)
    return hits + [
        Hit(
            title=one.name,
            href=f"/web/schedules?{urlencode({'q': one.name})}",
            kind="schedule",
            detail=cron_words(one.cron),
        )
        for one in found
    ]

"""Jobs and schedules over HTTP."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.logfile import LogChunk
from holdfast.kernel.jobs.model import DEFAULT_PRIORITY, JobState
from holdfast.kernel.jobs.registry import registered_kinds
from holdfast.kernel.jobs.service import JobView, NewSchedule, ScheduleView
from holdfast.kernel.jobs.tables import JOB_SORTS, SCHEDULE_SORTS
from holdfast.kernel.web.deps import (
    ADMIN,
    OPERATOR,
    PageDep,
    ReadDep,
    ServicesDep,
    WorkDep,
    sort_query,
)
from holdfast.kernel.web.router import Router

router = Router(prefix="/api", tags=["jobs"])

LONGEST_TEXT = 200
Words = Annotated[str, Field(max_length=LONGEST_TEXT)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ScheduleIn(_Body):
    """A schedule to be made."""

    name: Words
    kind: Words
    cron: Words
    args: dict[str, Any] = {}
    locks: list[Words] = []
    priority: int = Field(DEFAULT_PRIORITY, ge=1, le=1000)
    title: Words = ""
    timezone: Words = "UTC"
    enabled: bool = True


class ScheduleChange(_Body):
    """What to change of a schedule; ``enabled: false`` pauses it."""

    cron: Words | None = None
    timezone: Words | None = None
    args: dict[str, Any] | None = None
    enabled: bool | None = None


class Submitted(BaseModel):
    """The job that was queued; none in a dry run."""

    job_id: str | None


class Dismissed(BaseModel):
    """How many failures were dismissed."""

    jobs: int


@router.get("/jobs")
async def list_jobs(
    session: ReadDep,
    page: PageDep,
    state: Annotated[list[JobState] | None, Query(description="only these states")] = None,
    kind: Annotated[str | None, Query(description="a kind, or its first part")] = None,
    schedule: Annotated[str | None, Query(description="only jobs of this schedule")] = None,
    lock: Annotated[str | None, Query(description="only jobs with a lock below this path")] = None,
    sort: Annotated[str, sort_query(JOB_SORTS)] = "-submitted",
) -> list[JobView]:
    """Jobs, newest first."""
    jobs, total = await service.list_jobs(
        session,
        limit=page.limit,
        offset=page.offset,
        states=state or (),
        kind=kind,
        schedule=schedule,
        lock=lock,
        sort=sort,
    )
    page.total(total)
    return jobs


@router.get("/jobs/kinds")
async def list_kinds() -> list[str]:
    """The kinds of jobs that there are."""
    return registered_kinds()


@router.get("/jobs/{job_id}")
async def show_job(session: ReadDep, job_id: str) -> JobView:
    """One job with its steps and how often each was started."""
    return await service.show_job(session, job_id)


@router.get("/jobs/{job_id}/log")
async def job_log(
    session: ReadDep,
    services: ServicesDep,
    job_id: str,
    offset: Annotated[
        int, Query(ge=-(2**31), le=2**40, description="byte to begin at; negative: before the end")
    ] = 0,
    before: Annotated[
        int | None, Query(ge=0, le=2**40, description="byte to end at, in place of offset")
    ] = None,
) -> LogChunk:
    """Whole lines of the log; ask again with ``next_offset`` for what was written since."""
    data_dir = services.settings.data_dir
    return await service.job_log(session, data_dir, job_id, offset=offset, before=before)


@router.post("/jobs/{job_id}/cancel", status_code=202, dependencies=[OPERATOR])
async def cancel_job(work: WorkDep, job_id: str) -> JobView:
    """End a job: at once when it waits, else as soon as it has been stopped."""
    return await service.cancel(work, job_id)


@router.post("/jobs/{job_id}/retry", status_code=202, dependencies=[OPERATOR])
async def retry_job(work: WorkDep, job_id: str) -> JobView:
    """Run a failed or cancelled job again from the step in which it ended."""
    return await service.retry(work, job_id)


@router.post("/jobs/{job_id}/dismiss", dependencies=[OPERATOR])
async def dismiss_job(work: WorkDep, job_id: str) -> JobView:
    """Let a failed job wait on the overview for nobody any more."""
    return await service.dismiss(work, job_id)


@router.post("/jobs/dismiss", dependencies=[OPERATOR])
async def dismiss_jobs(work: WorkDep) -> Dismissed:
    """The same with every failed job that there is now."""
    return Dismissed(jobs=await service.dismiss_all(work))


@router.get("/schedules")
async def list_schedules(
    session: ReadDep,
    page: PageDep,
    search: Annotated[Words, Query(description="in name, title or kind")] = "",
    sort: Annotated[str, sort_query(SCHEDULE_SORTS)] = "name",
) -> list[ScheduleView]:
    """Schedules, by name."""
    found, total = await service.list_schedules(
        session, limit=page.limit, offset=page.offset, words=search, sort=sort
    )
    page.total(total)
    return found


@router.post("/schedules", status_code=201, dependencies=[ADMIN])
async def create_schedule(work: WorkDep, body: ScheduleIn) -> ScheduleView:
    """Let a job run by itself."""
    return await service.create_schedule(work, NewSchedule(**body.model_dump()))


@router.get("/schedules/{name}")
async def show_schedule(session: ReadDep, name: str) -> ScheduleView:
    """One schedule."""
    return await service.show_schedule(session, name)


@router.patch("/schedules/{name}", dependencies=[ADMIN])
async def update_schedule(work: WorkDep, name: str, body: ScheduleChange) -> ScheduleView:
    """Change, pause or resume a schedule."""
    return await service.update_schedule(work, name, **body.model_dump())


@router.post("/schedules/{name}/trigger", status_code=202, dependencies=[OPERATOR])
async def trigger_schedule(work: WorkDep, name: str) -> Submitted:
    """Submit the schedule's job now."""
    job_id = await service.trigger_schedule(work, name)
    return Submitted(job_id=None if work.dry_run else job_id)


@router.delete("/schedules/{name}", status_code=204, dependencies=[ADMIN])
async def delete_schedule(work: WorkDep, name: str) -> None:
    """Delete a schedule; its jobs stay."""
    await service.delete_schedule(work, name)

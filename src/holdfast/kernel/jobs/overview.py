"""What the overview says of jobs: failures that wait for somebody, and how many run."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.service import JobView
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.registry import Act, Figure, Need

SHOWN = 5
FAILED = f"/web/jobs?state={JobState.FAILED}"


async def failures(_: Services, session: AsyncSession) -> Sequence[Need]:
    """Failed jobs until they run again, the same succeeds, or somebody dismisses them."""
    jobs, total = await service.open_failures(session, SHOWN)
    needs = [_failure(job) for job in jobs]
    return [*needs, _others(total - len(jobs))] if total > len(jobs) else needs


async def figures(_: Services, session: AsyncSession) -> Sequence[Figure]:
    """How many jobs run, and wait."""
    found = []
    for state, title in ((JobState.RUNNING, "Jobs running"), (JobState.WAITING, "Jobs waiting")):
        _jobs, total = await service.list_jobs(session, limit=1, states=(state,))
        found.append(Figure(title=title, value=str(total), href=f"/web/jobs?state={state}"))
    return found


def _failure(job: JobView) -> Need:
    again, enough = f"/jobs/{job.id}/retry", f"/jobs/{job.id}/dismiss"
    return Need(
        title=f"{job.title or job.kind} failed",
        detail=job.error or "",
        href=f"/web/jobs/{job.id}",
        action="Look at it",
        level="bad",
        topic="job",
        acts=(
            Act(
                words="Run again",
                action=f"/web{again}",
                api=("POST", f"/api{again}"),
                cli=f"job retry {job.id}",
            ),
            Act(
                words="Dismiss",
                action=f"/web{enough}",
                api=("POST", f"/api{enough}"),
                cli=f"job dismiss {job.id}",
            ),
        ),
    )


def _others(number: int) -> Need:
    return Need(
        title=f"{number} more jobs failed" if number > 1 else "1 more job failed",
        detail="None of them was run again since, and nothing of the same name succeeded.",
        href=FAILED,
        action="See all",
        level="bad",
        topic="job",
        acts=(
            Act(
                words="Dismiss all failures",
                action="/web/jobs/dismiss",
                api=("POST", "/api/jobs/dismiss"),
                cli="job dismiss-all",
            ),
        ),
    )

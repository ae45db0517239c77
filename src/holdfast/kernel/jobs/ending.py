"""The end of a job, recorded once: its row, its steps, an event, and those who react to it."""

import json
import traceback

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs import tables
from holdfast.kernel.jobs.model import ACTIVE, JobState, StepState
from holdfast.kernel.jobs.registry import EndedJob, end_hooks
from holdfast.kernel.jobs.tables import JobRow, JobStepRow
from holdfast.kernel.logging import get_logger
from holdfast.kernel.work import SYSTEM, Work

log = get_logger(__name__)

_LAST_STEP_STATE = {
    JobState.DONE: StepState.DONE,
    JobState.FAILED: StepState.FAILED,
    JobState.CANCELLED: StepState.CANCELLED,
}


async def finish(
    database: Database, job_id: str, state: JobState, *, error: str | None, code: str | None
) -> bool:
    """Record the end of an admitted job in a transaction of its own; False when it was recorded.

    A reaction that fails is logged and left out, so that it cannot hold the job's locks for ever;
    when the database fails, nothing is recorded and the engine comes back to it.
    """
    try:
        return await _finish(database, job_id, state, error, code, react=True)
    except SQLAlchemyError:
        raise
    except Exception as failure:  # noqa: BLE001 - other people's code in the worker's loop
        trace = traceback.format_exception(failure)
        log.warning("reaction to a job's end failed", job=job_id, trace="".join(trace))
        return await _finish(database, job_id, state, error, code, react=False)


async def _finish(
    database: Database,
    job_id: str,
    state: JobState,
    error: str | None,
    code: str | None,
    *,
    react: bool,
) -> bool:
    async with database.write(SYSTEM) as work:
        row = await tables.job_by_id(work.session, job_id, lock=True)
        if row is None or row.state not in ACTIVE:
            return False
        await record_end(work, row, state, error=error, code=code, react=react)
        return True


async def record_end(
    work: Work,
    row: JobRow,
    state: JobState,
    *,
    error: str | None = None,
    code: str | None = None,
    react: bool = True,
) -> None:
    """Put a job in its final state within a transaction, and call those who react to it."""
    row.state, row.finished_at, row.error, row.error_code = state, now(), error, code
    open_steps = JobStepRow.state.in_([StepState.RUNNING, StepState.RETRYING])
    await work.session.execute(
        sa.update(JobStepRow)
        .where(JobStepRow.job_id == row.id, open_steps)
        .values(state=_LAST_STEP_STATE[state], finished_at=now())
    )
    if state is JobState.DONE:  # what failed before has been done now
        of = JobRow
        same = (of.kind == row.kind, of.title == row.title, of.locks == row.locks)
        await tables.settle_failures(work.session, now(), *same, of.seq < row.seq)
    work.emit(
        "job",
        "ended",
        {"id": row.id, "kind": row.kind, "title": row.title, "state": state, "error": error},
    )
    if not react:
        return
    ended = EndedJob(
        id=row.id,
        kind=row.kind,
        args=json.loads(row.args),
        state=state,
        error=error,
        created_by=row.created_by,
    )
    for hook in end_hooks(row.kind):
        await hook(work, ended)

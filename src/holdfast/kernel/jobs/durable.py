"""The only module that knows DBOS. Importing it costs a second: only workers do.

Its calls block, so they are made with ``asyncio.to_thread``; `launch` alone is called on the event
loop, because jobs run on the loop that it is called on. What it keeps: which step of which job has
finished with what answer; which worker has a job; nothing that people see.
"""

import contextvars
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID, WorkflowStatus, _workflow_commands

from holdfast.kernel.jobs.model import Recorded

QUEUE = "jobs"
APPLICATION = "holdfast"
STEP_ORDER_VERSION = "1"
"""Grows only when the order of steps of some job changes: jobs under way stay with the old one."""
SCHEMA = "holdfast_dbos"
MAX_RECOVERIES = 50
"""A job under which its worker died this often is given up."""
POLL_SECONDS = 0.75
"""Between two looks for a job given in: each costs several queries, busy or not."""
RARELY_SECONDS = 10.0
"""Between two looks for what we never use: delayed jobs, time limits, a queue of its own."""
LONGEST_SILENCE_SECONDS = 10.0
"""A worker frozen in a transaction loses its session, and with it the rows that it holds."""

R = TypeVar("R")
JobRunner = Callable[[str, str, str], Awaitable[None]]

_RECORDED = {
    "DELAYED": Recorded.QUEUED,
    "ENQUEUED": Recorded.QUEUED,
    "PENDING": Recorded.RUNNING,
    "SUCCESS": Recorded.SUCCEEDED,
    "ERROR": Recorded.FAILED,
    "CANCELLED": Recorded.CANCELLED,
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": Recorded.GAVE_UP,
}
_EXPECTED_WORDS = (
    "Exception encountered in asynchronous workflow",
    "Asyncio task cancelled for workflow or step",
    "was cancelled during execution",
    "is not the latest version",
)
_runner: list[JobRunner] = []
_in_step: contextvars.ContextVar[bool] = contextvars.ContextVar("in_step", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is on record about a job."""

    recorded: Recorded
    executor_id: str | None
    error: Exception | None


@DBOS.workflow(name="holdfast.job", max_recovery_attempts=MAX_RECOVERIES)
async def _job(job_id: str, kind: str, args: str) -> None:
    await _runner[-1](job_id, kind, args)


def launch(
    *, database_url: str, data_dir: Path, executor_id: str, concurrency: int, runner: JobRunner
) -> None:
    """Begin to run jobs on the running event loop; what this executor left unfinished goes on."""
    config = DBOSConfig(
        name=APPLICATION,
        executor_id=executor_id,
        application_version=STEP_ORDER_VERSION,
        log_level="WARNING",
        enable_otlp=False,
    )
    if database_url.startswith("sqlite"):
        engine = _sqlite_engine(data_dir / "jobs.sqlite")
        config |= {"system_database_url": str(engine.url), "system_database_engine": engine}
    else:
        config |= {
            "system_database_url": database_url.replace("postgresql+psycopg", "postgresql"),
            "dbos_system_schema": SCHEMA,
            "sys_db_pool_size": concurrency + 6,
            "sys_db_idle_transaction_timeout_sec": LONGEST_SILENCE_SECONDS,
        }
    _quiet_logger()
    _runner[:] = [runner]
    _look_rarely(DBOS(config=config))
    DBOS.launch()


def _look_rarely(dbos: DBOS) -> None:
    """Looking each second for what never comes costs half a percent of a core; no setting for it.

    A test holds on to these names, as they may change with the version, which is pinned.
    """
    _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = RARELY_SECONDS  # noqa: SLF001 - see above
    dbos._registry.get_internal_queue()._polling_interval_sec = RARELY_SECONDS  # noqa: SLF001 - see above


def open_queue(concurrency: int) -> None:
    """Let queued jobs start, so many at once in this process."""
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=concurrency,
        polling_interval_sec=POLL_SECONDS,
        on_conflict="always_update",
    )


def close() -> None:
    """Stop running jobs; those under way must have been interrupted before."""
    DBOS.destroy(workflow_completion_timeout_sec=0)


async def step(name: str, call: Callable[[int], Awaitable[R]]) -> R:
    """Run ``call(number)`` unless its answer is on record; inside another step, simply run it."""

    async def numbered() -> R:
        token = _in_step.set(True)
        try:
            return await call(DBOS.step_id or 0)
        finally:
            _in_step.reset(token)

    return await DBOS.run_step_async({"name": name}, numbered)


def in_step() -> bool:
    """Whether the caller is inside a step."""
    return _in_step.get()


def statuses(job_ids: Sequence[str]) -> dict[str, Status]:
    """What is on record about these jobs; unknown ones are left out."""
    found = DBOS.list_workflows(workflow_ids=list(job_ids), load_input=False)
    return {w.workflow_id: _status(w) for w in found}


def enqueue(job_id: str, kind: str, args: str) -> None:
    """Give a job in; a second time does nothing."""
    with SetWorkflowID(job_id):
        DBOS.enqueue_workflow(QUEUE, _job, job_id, kind, args)


def run_again(job_id: str) -> None:
    """Give an ended job in again, from the step in which it failed or was cancelled."""
    found = DBOS.list_workflows(workflow_ids=[job_id], load_input=False)
    if found and found[0].status == "ERROR":
        first = _failed_step(job_id, found[0].error)
        DBOS.rewind_workflow(job_id, start_step=first, queue_name=QUEUE)
    else:
        DBOS.resume_workflow(job_id, queue_name=QUEUE)


def cancel(job_id: str) -> None:
    """Let no further step of it begin."""
    DBOS.cancel_workflow(job_id)


def running_elsewhere() -> dict[str, str]:
    """Jobs that some worker began and did not end, with that worker's id."""
    found = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
    return {w.workflow_id: w.executor_id or "" for w in found}


def take_over(job_id: str) -> None:
    """Give in again what a dead worker left unfinished."""
    DBOS.resume_workflow(job_id, queue_name=QUEUE)


def forget(job_ids: Sequence[str]) -> None:
    """Delete what is on record about ended jobs."""
    DBOS.delete_workflows(list(job_ids))


def _status(workflow: WorkflowStatus) -> Status:
    return Status(
        recorded=_RECORDED[workflow.status],
        executor_id=workflow.executor_id,
        error=workflow.error,
    )


def _failed_step(job_id: str, error: Exception | None) -> int:
    """The step whose error became the job's; else the last that failed; else the next one."""
    steps = DBOS.list_workflow_steps(job_id)
    failed = [s for s in steps if s["error"] is not None]
    same = [s for s in failed if error is not None and str(s["error"]) == str(error)]
    if same or failed:
        return int((same or failed)[-1]["function_id"])
    return max((int(s["function_id"]) for s in steps), default=0) + 1


def _sqlite_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path.absolute()}")

    def set_up(connection: Any, _: object) -> None:  # noqa: ANN401 - a DBAPI connection
        connection.isolation_level = "IMMEDIATE"  # as DBOS itself has it: one writer at a time
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA busy_timeout=30000")

    sa.event.listen(engine, "connect", set_up)
    return engine


class _Expected(logging.Filter):
    """Drops what is said about every failed or cancelled job: we log these ourselves."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(words in message for words in _EXPECTED_WORDS)


def _quiet_logger() -> None:
    logger = logging.getLogger("dbos")
    if not any(isinstance(f, _Expected) for f in logger.filters):
        logger.addFilter(_Expected())
        logger.addHandler(logging.NullHandler())  # with a handler it adds none that prints

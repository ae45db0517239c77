"""Workers that are killed, frozen or stopped, and those that take their jobs over."""

import signal
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.jobs.model import JobState
from tests.kernel.jobs.harness import (
    Evidence,
    cancel,
    is_alive,
    show,
    state_of,
    submit,
    until,
    worker_process,
)

pytestmark = pytest.mark.real
FENCED_EXIT_CODE = 75
LONGEST_TAKEOVER_SECONDS = 120
"""When it was frozen in a transaction, whose session the database must end first."""


def copy_args(evidence: Evidence, go: Path) -> dict[str, str]:
    return {"evidence": str(evidence.path), "go": str(go)}


async def test_a_job_killed_in_the_middle_of_a_step_goes_on_with_that_step(
    tmp_path: Path, database_url: str, database: Database, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    job_id = await submit(database, "sample.copy", copy_args(evidence, go), locks=["a"])
    async with worker_process(tmp_path / "data", database_url) as worker:
        await evidence.says("pid ")
        worker.signal(signal.SIGKILL)
        await worker.ended()
        await until(lambda: not is_alive(evidence.child_pids()[0]), limit_seconds=5)
    assert (await show(database, job_id)).state is JobState.RUNNING
    async with worker_process(tmp_path / "data", database_url):
        await evidence.says("pid ", times=2)
        go.touch()
        job = await state_of(database, job_id, JobState.DONE, JobState.FAILED)
    assert job.state is JobState.DONE, job.error
    counts = (evidence.count("prepare"), evidence.count("child"), evidence.count("verify"))
    assert counts == (1, 2, 1)
    assert [s.attempts for s in job.steps or []] == [1, 2, 1]


async def test_a_worker_told_to_end_leaves_its_job_to_the_next_and_no_program_behind(
    tmp_path: Path, database_url: str, database: Database, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    job_id = await submit(database, "sample.copy", copy_args(evidence, go))
    async with worker_process(tmp_path / "data", database_url) as worker:
        await evidence.says("pid ")
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0, worker.log.read_text()
    assert not is_alive(evidence.child_pids()[0])
    go.touch()
    async with worker_process(tmp_path / "data", database_url):
        job = await state_of(database, job_id, JobState.DONE, JobState.FAILED)
    assert job.state is JobState.DONE, job.error
    assert evidence.count("prepare") == 1


async def test_a_cancel_given_while_no_worker_runs_is_obeyed_at_the_next_start(
    tmp_path: Path, database_url: str, database: Database, evidence: Evidence
) -> None:
    job_id = await submit(database, "sample.copy", copy_args(evidence, tmp_path / "never"))
    async with worker_process(tmp_path / "data", database_url) as worker:
        await evidence.says("pid ")
        worker.signal(signal.SIGKILL)
        await worker.ended()
    await cancel(database, job_id)
    async with worker_process(tmp_path / "data", database_url):
        await state_of(database, job_id, JobState.CANCELLED)


async def test_another_worker_takes_over_the_jobs_of_a_killed_one(
    tmp_path: Path, postgres_url: str, postgres_database: Database, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    async with worker_process(tmp_path / "one", postgres_url) as one:
        job_id = await submit(
            postgres_database, "sample.copy", copy_args(evidence, go), locks=["a"]
        )
        await evidence.says("pid ")
        first_owner = (await show(postgres_database, job_id)).executor_id
        async with worker_process(tmp_path / "two", postgres_url):
            one.signal(signal.SIGKILL)
            await evidence.says("pid ", times=2)
            go.touch()
            job = await state_of(postgres_database, job_id, JobState.DONE, JobState.FAILED)
    assert job.state is JobState.DONE, job.error
    assert job.executor_id != first_owner
    assert evidence.count("prepare") == 1
    assert evidence.count("verify") == 1


async def test_a_frozen_worker_loses_its_jobs_and_ends_when_it_wakes_up(
    tmp_path: Path, postgres_url: str, postgres_database: Database, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    async with worker_process(tmp_path / "one", postgres_url) as one:
        job_id = await submit(
            postgres_database, "sample.copy", copy_args(evidence, go), locks=["a"]
        )
        await evidence.says("pid ")
        async with worker_process(tmp_path / "two", postgres_url):
            one.signal(signal.SIGSTOP)
            await evidence.says("pid ", times=2, limit_seconds=LONGEST_TAKEOVER_SECONDS)
            one.signal(signal.SIGCONT)
            assert await one.ended() == FENCED_EXIT_CODE
            await until(lambda: not is_alive(evidence.child_pids()[0]), limit_seconds=10)
            go.touch()
            job = await state_of(postgres_database, job_id, JobState.DONE, JobState.FAILED)
    assert job.state is JobState.DONE, job.error
    assert evidence.count("verify") == 1


async def test_two_workers_share_the_work_and_keep_the_cap_and_the_locks(
    tmp_path: Path, postgres_url: str, postgres_database: Database, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    go.touch()
    async with (
        worker_process(tmp_path / "one", postgres_url),
        worker_process(tmp_path / "two", postgres_url),
    ):
        jobs = [
            await submit(
                postgres_database,
                "sample.hold",
                {"evidence": str(evidence.path), "name": str(n), "go": str(go)},
                locks=["shared/path"],
            )
            for n in range(12)
        ]
        for job_id in jobs:
            await state_of(postgres_database, job_id, JobState.DONE)
    expected = [f"{what} {n}" for n in range(12) for what in ("begin", "end")]
    assert evidence.lines() == expected

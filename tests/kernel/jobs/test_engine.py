"""One worker: what becomes of a job, on SQLite and on PostgreSQL."""

import json
from pathlib import Path

import pytest

from holdfast.kernel.audit import audit_page
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict
from holdfast.kernel.events import events_after
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.lease import Lease
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.times import LeaseTimes
from tests.kernel.jobs.harness import (
    Evidence,
    cancel,
    engine_here,
    is_alive,
    retry,
    show,
    state_of,
    submit,
)

pytestmark = pytest.mark.real


def copy_args(evidence: Evidence, go: Path) -> dict[str, str]:
    return {"evidence": str(evidence.path), "go": str(go)}


def hold_args(evidence: Evidence, name: str, go: Path) -> dict[str, str]:
    return {"evidence": str(evidence.path), "name": name, "go": str(go)}


async def test_a_job_runs_its_steps_once_and_shows_them(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    go.touch()
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(
            services.database, "sample.copy", copy_args(evidence, go), title="copy it"
        )
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
        async with services.database.read() as session:
            events = await events_after(session, 0, topics=["job"])
            kinds = [event.kind for event in events if event.kind != "step"]
            steps = [json.loads(event.data) for event in events if event.kind == "step"]
            ends, _ = await audit_page(session, limit=5, offset=0, entity_type="sample")
    assert job.state is JobState.DONE, job.error
    assert job.title == "copy it"
    assert (job.progress_done, job.progress_total, job.progress_text) == (3, 3, "all verified")
    assert [(s.name, s.state, s.attempts) for s in job.steps or []] == [
        ("sample.prepare", "done", 1),
        ("sample.run_child", "done", 1),
        ("sample.verify", "done", 1),
    ]
    assert f"verify {job_id} 42" in evidence.lines()
    assert kinds == ["submitted", "started", "progress", "ended"]
    assert [(s["id"], s["number"], s["state"]) for s in steps] == [
        (job_id, number, state) for number in (1, 2, 3) for state in ("running", "done")
    ]
    assert len(ends) == 1


async def test_a_step_that_fails_is_tried_again_and_its_attempts_are_counted(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    args = {"evidence": str(evidence.path), "failures": 2}
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.flaky", args)
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
        async with services.database.read() as session:
            events = await events_after(session, 0, topics=["job"])
    assert job.state is JobState.DONE
    assert [s.attempts for s in job.steps or []] == [1, 3, 1]
    steps = [json.loads(event.data) for event in events if event.kind == "step"]
    tried = [(s["state"], s["attempts"]) for s in steps if s["number"] == 2]
    assert tried == [
        (state, attempt)
        for attempt, end in ((1, "retrying"), (2, "retrying"), (3, "done"))
        for state in ("running", end)
    ]


async def test_a_failure_that_another_attempt_cannot_mend_is_not_tried_again(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    args = {"evidence": str(evidence.path), "failures": 9, "retryable": False}
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.flaky", args)
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
    assert (job.state, job.error, job.error_code) == (JobState.FAILED, "never", "conflict")
    assert evidence.count("flaky") == 1


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(
    tmp_path: Path, database_url: str
) -> None:
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.stray", {})
        job = await state_of(services.database, job_id, JobState.CANCELLED, JobState.FAILED)
        await retry(services.database, job_id)
        again = await state_of(services.database, job_id, JobState.CANCELLED, JobState.FAILED)
    assert (job.state, again.state) == (JobState.FAILED, JobState.FAILED)
    assert [(s.state, s.attempts) for s in again.steps or []] == [("failed", 2)]


async def test_a_failed_job_goes_on_from_its_failed_step_when_retried(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    args = {"evidence": str(evidence.path), "failures": 4}
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.flaky", args)
        failed = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
        await retry(services.database, job_id)
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
    assert (failed.state, failed.error) == (JobState.FAILED, "not yet")
    assert (job.state, job.attempt, job.error) == (JobState.DONE, 2, None)
    assert evidence.count("prepare") == 1
    assert [s.attempts for s in job.steps or []] == [1, 5, 1]


async def test_a_job_that_is_done_can_neither_be_cancelled_nor_retried(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.tick", {"evidence": str(evidence.path)})
        await state_of(services.database, job_id, JobState.DONE)
        with pytest.raises(Conflict):
            await cancel(services.database, job_id)
        with pytest.raises(Conflict):
            await retry(services.database, job_id)


async def test_cancelling_a_waiting_job_ends_it_at_once(
    database: Database, evidence: Evidence
) -> None:
    job_id = await submit(database, "sample.tick", {"evidence": str(evidence.path)})
    await cancel(database, job_id)
    job = await show(database, job_id)
    assert job.state is JobState.CANCELLED
    assert job.finished_at is not None


async def test_cancelling_a_running_job_ends_its_program_before_its_lock_is_free(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    async with engine_here(tmp_path / "data", database_url) as services:
        db = services.database
        first = await submit(
            db, "sample.copy", copy_args(evidence, tmp_path / "never"), locks=["a/b"]
        )
        await evidence.says("pid ")
        second = await submit(db, "sample.tick", {"evidence": str(evidence.path)}, locks=["a"])
        await cancel(db, first)
        await evidence.says("tick")
        child_was_alive = is_alive(evidence.child_pids()[0])
        job = await state_of(db, first, JobState.CANCELLED)
        await state_of(db, second, JobState.DONE)
    assert not child_was_alive
    assert [s.state for s in job.steps or []] == ["done", "cancelled"]
    assert evidence.count("verify") == 0


async def test_a_cancelled_job_runs_on_from_its_step_when_retried(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.copy", copy_args(evidence, go))
        await evidence.says("pid ")
        await cancel(services.database, job_id)
        await state_of(services.database, job_id, JobState.CANCELLED)
        go.touch()
        await retry(services.database, job_id)
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
    assert job.state is JobState.DONE
    assert (evidence.count("prepare"), evidence.count("child"), evidence.count("verify")) == (
        1,
        2,
        1,
    )


async def test_a_polite_job_may_undo_things_before_it_gives_way(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.polite", {"evidence": str(evidence.path)})
        await evidence.says("begin")
        await cancel(services.database, job_id)
        job = await state_of(services.database, job_id, JobState.CANCELLED, JobState.FAILED)
    assert job.state is JobState.CANCELLED
    assert evidence.lines() == ["begin", "undone"]


async def test_jobs_on_overlapping_paths_run_one_at_a_time_and_in_order(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    go.touch()
    paths = ["pools/a/b", "pools/a", "pools/a/b/c", "pools/a/b"]
    async with engine_here(tmp_path / "data", database_url, worker_concurrency=4) as services:
        jobs = [
            await submit(
                services.database, "sample.hold", hold_args(evidence, str(n), go), locks=[path]
            )
            for n, path in enumerate(paths)
        ]
        for job_id in jobs:
            await state_of(services.database, job_id, JobState.DONE)
    expected = [f"{what} {n}" for n in range(len(paths)) for what in ("begin", "end")]
    assert evidence.lines() == expected


async def test_no_more_jobs_run_at_once_than_the_cap(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    gos = [tmp_path / f"go{n}" for n in range(4)]
    async with engine_here(tmp_path / "data", database_url, worker_concurrency=2) as services:
        jobs = [
            await submit(services.database, "sample.hold", hold_args(evidence, str(n), go))
            for n, go in enumerate(gos)
        ]
        await evidence.says("begin", times=2)
        states = [(await show(services.database, job_id)).state for job_id in jobs]
        begun_under_cap = evidence.count("begin")
        for go in gos:
            go.touch()
        for job_id in jobs:
            await state_of(services.database, job_id, JobState.DONE)
    assert states == [JobState.RUNNING, JobState.RUNNING, JobState.WAITING, JobState.WAITING]
    assert begun_under_cap == 2


async def test_a_job_of_lower_priority_number_goes_first(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    async with engine_here(tmp_path / "data", database_url, worker_concurrency=1) as services:
        first = await submit(services.database, "sample.hold", hold_args(evidence, "first", go))
        await evidence.says("begin first")
        late = await submit(services.database, "sample.hold", hold_args(evidence, "late", go))
        urgent = await submit(
            services.database, "sample.hold", hold_args(evidence, "urgent", go), priority=1
        )
        go.touch()
        for job_id in (first, late, urgent):
            await state_of(services.database, job_id, JobState.DONE)
    begun = [line for line in evidence.lines() if line.startswith("begin")]
    assert begun == ["begin first", "begin urgent", "begin late"]


async def test_a_job_interrupted_by_the_end_of_its_worker_goes_on_at_the_next_start(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.copy", copy_args(evidence, go))
        await evidence.says("pid ")
    child_was_alive = is_alive(evidence.child_pids()[0])
    go.touch()
    async with engine_here(tmp_path / "data", database_url) as services:
        job = await state_of(services.database, job_id, JobState.DONE, JobState.FAILED)
    assert not child_was_alive
    assert job.state is JobState.DONE, job.error
    assert (evidence.count("prepare"), evidence.count("child"), evidence.count("verify")) == (
        1,
        2,
        1,
    )


async def test_the_log_is_read_by_byte_offset(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    go.touch()
    async with engine_here(tmp_path / "data", database_url) as services:
        job_id = await submit(services.database, "sample.hold", hold_args(evidence, "x", go))
        await state_of(services.database, job_id, JobState.DONE)
        async with services.database.read() as session:
            whole = await service.job_log(session, tmp_path / "data", job_id)
            rest = await service.job_log(
                session, tmp_path / "data", job_id, offset=whole.next_offset
            )
    assert whole.text.endswith(" x holds\n")
    assert whole.next_offset == whole.size_bytes == rest.next_offset
    assert whole.ended
    assert rest.text == ""


async def test_a_second_worker_on_one_sqlite_data_directory_is_refused(
    tmp_path: Path, sqlite_template: Path
) -> None:
    database = Database(f"sqlite+aiosqlite:///{sqlite_template}")
    first = Lease(database, tmp_path, LeaseTimes())
    await first.acquire()
    with pytest.raises(Conflict, match="another worker"):
        await Lease(database, tmp_path, LeaseTimes()).acquire()
    await first.release()
    again = Lease(database, tmp_path, LeaseTimes())
    await again.acquire()
    await again.release()
    await database.close()

"""What a worker looks after: old rows, reactions that fail, a database that goes away, the API."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from dbos._sys_db import SystemDatabase
from sqlalchemy.exc import DBAPIError

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import NotFound
from holdfast.kernel.jobs import durable, lost
from holdfast.kernel.jobs.admission import leading
from holdfast.kernel.jobs.caretaker import Caretaker
from holdfast.kernel.jobs.durable import Status
from holdfast.kernel.jobs.errors import JobFailed, error_code, storable
from holdfast.kernel.jobs.logfile import JobLog, log_path, read_log, read_log_before
from holdfast.kernel.jobs.model import JobState, Recorded
from holdfast.kernel.jobs.registry import EndedJob, on_job_end
from holdfast.kernel.jobs.tables import JobRow, JobStepRow
from holdfast.kernel.process import ProcessFailed
from holdfast.kernel.work import SYSTEM, Work
from tests.kernel.api import services_for
from tests.kernel.jobs.harness import (
    QUICK,
    Evidence,
    engine_here,
    show,
    state_of,
    submit,
)


async def test_old_jobs_are_forgotten_with_their_steps_logs_and_records(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    times = replace(QUICK, cleaning_seconds=0.1)
    async with engine_here(tmp_path / "data", database_url, times=times) as services:
        db = services.database
        go = tmp_path / "go"
        go.touch()
        args = {"evidence": str(evidence.path), "name": "x", "go": str(go)}
        old, young = [await submit(db, "sample.hold", args) for _ in range(2)]
        for job_id in (old, young):
            await state_of(db, job_id, JobState.DONE)
        long_ago = now() - timedelta(days=31)
        async with db.write(SYSTEM) as work:
            await work.session.execute(
                sa.update(JobRow).where(JobRow.id == old).values(finished_at=long_ago)
            )
        with pytest.raises(NotFound):
            while True:
                await show(db, old)
                await asyncio.sleep(0.05)
        async with db.read() as session:
            steps = (await session.scalars(sa.select(JobStepRow.job_id))).all()
        records = await asyncio.to_thread(durable.statuses, [old, young])
    assert steps == [young]
    assert list(records) == [young]


async def test_a_job_whose_end_could_not_be_written_is_given_in_again(
    tmp_path: Path, database_url: str, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full for a while."""
    write = SystemDatabase.update_workflow_outcome
    refused: list[str] = []

    def refuse_twice(self: SystemDatabase, job_id: str, *given: Any, **named: Any) -> bool:
        if len(refused) < 2:  # that it is done, and that this failed
            refused.append(job_id)
            raise OSError("the disk is full")
        return write(self, job_id, *given, **named)

    monkeypatch.setattr(SystemDatabase, "update_workflow_outcome", refuse_twice)
    times = replace(QUICK, lost_seconds=0.1)
    async with engine_here(tmp_path / "data", database_url, times=times) as services:
        (tmp_path / "go").touch()
        args = {"evidence": str(evidence.path), "name": "x", "go": str(tmp_path / "go")}
        job_id = await submit(services.database, "sample.hold", args)
        await state_of(services.database, job_id, JobState.DONE)
    assert refused == [job_id, job_id]


async def test_a_job_that_stays_lost_is_given_in_again_later_each_time(
    tmp_path: Path, database: Database, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await submit(database, "sample.tick", {"evidence": str(evidence.path)})
    record = Status(recorded=Recorded.RUNNING, executor_id="me", error=None)
    clock, given_in = [0.0], []
    monkeypatch.setattr(durable, "statuses", lambda _: {job_id: record})
    monkeypatch.setattr(durable, "take_over", lambda _: given_in.append(clock[-1]))
    monkeypatch.setattr(durable, "enqueue", lambda *_: None)
    monkeypatch.setattr(lost, "time", SimpleNamespace(monotonic=lambda: clock[-1]))
    here: Any = SimpleNamespace(executor_id="me", many=False, alive=_nobody, runs={})
    services = services_for(database, tmp_path / "data")
    care = Caretaker(services, here, here, replace(QUICK, lost_seconds=10.0))
    for moment in (0.0, 9.0, 10.0, 11.0, 30.0, 31.0, 32.0, 71.0, 72.0):
        clock.append(moment)
        await care.look()
    assert given_in == [10.0, 31.0, 72.0]


async def _nobody() -> set[str]:
    return set()


async def test_a_reaction_that_fails_does_not_hold_the_lock(
    tmp_path: Path, database_url: str, evidence: Evidence
) -> None:
    @on_job_end("sample.tick")
    async def fails(work: Work, ended: EndedJob) -> None:
        if ended.args.get("evidence") == str(evidence.path):
            work.audit("lost", "sample", ended.id)
            raise RuntimeError("a bad reaction")

    async with engine_here(tmp_path / "data", database_url) as services:
        args = {"evidence": str(evidence.path)}
        jobs = [await submit(services.database, "sample.tick", args, locks=["a"]) for _ in range(2)]
        for job_id in jobs:
            await state_of(services.database, job_id, JobState.DONE)
    assert evidence.count("tick") == 2


@pytest.mark.real
async def test_a_job_outlives_the_connections_of_its_database(
    tmp_path: Path, postgres_url: str, evidence: Evidence
) -> None:
    go = tmp_path / "go"
    observer = Database(postgres_url)
    async with engine_here(tmp_path / "data", postgres_url) as services:
        db = services.database
        args = {"evidence": str(evidence.path), "go": str(go)}
        job_id = await submit(db, "sample.copy", args)
        await evidence.says("pid ")
        for _ in range(3):
            await _cut_connections(observer)
            await asyncio.sleep(0.1)
        go.touch()
        await evidence.says("verify")
        job = await state_of(observer, job_id, JobState.DONE, JobState.FAILED)
    await observer.close()
    assert job.state is JobState.DONE, job.error
    assert evidence.count("child") == 1


async def _cut_connections(observer: Database) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with observer.read() as session:
        await session.execute(sa.text(cut))


@pytest.mark.real
async def test_a_leader_that_falls_silent_loses_the_lead(postgres_database: Database) -> None:
    other = Database(postgres_database.url)
    with pytest.raises(DBAPIError):
        async with leading(postgres_database) as leads:
            assert leads
            other_leads = False
            while not other_leads:
                async with leading(other) as other_leads:
                    pass
                await asyncio.sleep(0.1)
    await other.close()


def test_an_error_that_can_be_stored_stays_what_it_is() -> None:
    error = NotFound("gone", hint="look elsewhere")
    assert storable(error) is error


def test_an_error_that_cannot_be_stored_is_replaced_by_one_that_says_the_same() -> None:
    error = ProcessFailed("rclone", "failed", returncode=1, last_lines=["no space"])
    stored = storable(error)
    assert isinstance(stored, JobFailed)
    assert str(stored) == "rclone failed: no space"
    assert error_code(stored) == "process_failed"
    assert storable(stored) is stored


def test_a_log_gives_whole_lines_only(tmp_path: Path) -> None:
    path = log_path(tmp_path, "x")
    log = JobLog(path)
    log.write("one\ntwo")
    with path.open("a") as file:
        file.write("half a li")
    chunk = read_log(path, offset=0)
    assert [line.split(" ", 1)[1] for line in chunk.text.splitlines()] == ["one", "two"]
    assert chunk.next_offset < chunk.size_bytes
    with path.open("a") as file:
        file.write("ne\n")
    assert read_log(path, offset=chunk.next_offset).text == "half a line\n"


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none", offset=0).text == ""


def test_the_end_of_a_log_is_read_by_a_negative_offset(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("first\nsecond\n")
    assert read_log(path, offset=-7).text == "second\n"
    assert read_log(path, offset=-9).text == "second\n", "not the end of the first line"


def test_a_log_is_read_backwards_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntwo\nthree\n")
    last = read_log(path, offset=-6)
    middle = read_log_before(path, before=last.offset, limit_bytes=6)
    first = read_log_before(path, before=middle.offset)
    assert (first.text, middle.text, last.text) == ("one\n", "two\n", "three\n")
    assert (first.offset, middle.offset, middle.next_offset) == (0, 4, 8)
    assert read_log_before(tmp_path / "none", before=10).text == ""

"""Schedules: at their time, once, and once for all the times that were missed."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.events import events_after
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.admission import admit
from holdfast.kernel.jobs.model import JobState, next_fire
from holdfast.kernel.jobs.service import NewSchedule
from holdfast.kernel.jobs.tables import ScheduleRow
from holdfast.kernel.work import SYSTEM
from tests.kernel.jobs.harness import Evidence, state_of, submit, worker_process


def ticking(evidence: Evidence, **changes: object) -> NewSchedule:
    values = {
        "name": "ticking",
        "kind": "sample.tick",
        "cron": "*/5 * * * *",
        "args": {"evidence": str(evidence.path)},
    }
    return NewSchedule(**(values | changes))  # type: ignore[arg-type]


async def create(database: Database, schedule: NewSchedule) -> None:
    async with database.write(SYSTEM) as work:
        await service.create_schedule(work, schedule)


async def make_due(database: Database, *, ago: timedelta) -> None:
    async with database.write(SYSTEM) as work:
        row = await work.session.get_one(ScheduleRow, "ticking")
        row.next_run_at = now() - ago


async def jobs_of(database: Database) -> list[service.JobView]:
    async with database.read() as session:
        jobs, _ = await service.list_jobs(session, schedule="ticking")
    return jobs


async def test_what_is_done_to_a_schedule_is_told(database: Database, evidence: Evidence) -> None:
    await create(database, ticking(evidence))
    async with database.write(SYSTEM) as work:
        await service.update_schedule(work, "ticking", enabled=False)
    async with database.write(SYSTEM) as work:
        await service.delete_schedule(work, "ticking")
    async with database.read() as session:
        kinds = [row.kind for row in await events_after(session, 0, topics=("job",))]
    assert kinds == ["schedule.created", "schedule.updated", "schedule.deleted"]


async def test_times_that_were_missed_are_made_up_for_once(
    database: Database, evidence: Evidence
) -> None:
    await create(database, ticking(evidence))
    await make_due(database, ago=timedelta(days=3))
    await admit(database, cap=4)
    await admit(database, cap=4)
    jobs = await jobs_of(database)
    async with database.read() as session:
        schedule = await service.show_schedule(session, "ticking")
    assert [job.created_by for job in jobs] == ["schedule:ticking"]
    assert schedule.last_job_id == jobs[0].id
    assert schedule.next_run_at
    assert schedule.next_run_at > now()


async def test_a_time_is_left_out_while_the_last_job_has_not_ended(
    database: Database, evidence: Evidence
) -> None:
    await create(database, ticking(evidence))
    for _ in range(2):
        await make_due(database, ago=timedelta(seconds=1))
        await admit(database, cap=4)
    assert len(await jobs_of(database)) == 1


async def test_two_that_look_at_once_fire_it_once(database: Database, evidence: Evidence) -> None:
    await create(database, ticking(evidence))
    await make_due(database, ago=timedelta(seconds=1))
    await asyncio.gather(*(admit(database, cap=4) for _ in range(5)))
    assert len(await jobs_of(database)) == 1


async def test_a_paused_schedule_fires_only_when_triggered(
    database: Database, evidence: Evidence
) -> None:
    await create(database, ticking(evidence))
    async with database.write(SYSTEM) as work:
        await service.update_schedule(work, "ticking", enabled=False)
    await make_due(database, ago=timedelta(seconds=1))
    await admit(database, cap=4)
    fired_while_paused = len(await jobs_of(database))
    async with database.write(SYSTEM) as work:
        await service.trigger_schedule(work, "ticking")
    assert (fired_while_paused, len(await jobs_of(database))) == (0, 1)


async def test_what_people_changed_of_a_schedule_is_kept_at_the_next_start(
    database: Database, evidence: Evidence
) -> None:
    for cron in ("0 1 * * *", "0 2 * * *"):
        async with database.write(SYSTEM) as work:
            await service.ensure_schedule(work, ticking(evidence, cron=cron))
    async with database.read() as session:
        assert (await service.show_schedule(session, "ticking")).cron == "0 1 * * *"


async def test_a_deleted_schedule_is_gone(database: Database, evidence: Evidence) -> None:
    await create(database, ticking(evidence))
    async with database.write(SYSTEM) as work:
        await service.delete_schedule(work, "ticking")
    async with database.read() as session:
        with pytest.raises(NotFound):
            await service.show_schedule(session, "ticking")


async def test_a_name_is_taken_once(database: Database, evidence: Evidence) -> None:
    await create(database, ticking(evidence))
    with pytest.raises(Conflict):
        await create(database, ticking(evidence))


@pytest.mark.parametrize(
    "wrong",
    [
        {"cron": "every day"},
        {"cron": "0 0 31 2 *"},
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"kind": "no.such.job"},
        {"name": "no good"},
        {"locks": ["../up"]},
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(
    database: Database, evidence: Evidence, wrong: dict[str, object]
) -> None:
    with pytest.raises(Invalid):
        await create(database, ticking(evidence, **wrong))


def test_a_time_is_that_of_its_zone_also_when_clocks_change() -> None:
    before_change = datetime(2026, 3, 28, 12, 0, tzinfo=UTC)
    first = next_fire("0 3 * * *", "Europe/Berlin", after=before_change)
    second = next_fire("0 3 * * *", "Europe/Berlin", after=first)
    assert first.astimezone(UTC) == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert second.astimezone(UTC) == datetime(2026, 3, 30, 1, 0, tzinfo=UTC)


@pytest.mark.real
async def test_a_schedule_fires_once_with_two_workers(
    tmp_path: Path, postgres_url: str, postgres_database: Database, evidence: Evidence
) -> None:
    async with (
        worker_process(tmp_path / "one", postgres_url),
        worker_process(tmp_path / "two", postgres_url),
    ):
        await create(postgres_database, ticking(evidence))
        for _ in range(5):
            await make_due(postgres_database, ago=timedelta(seconds=1))
            before = len(await jobs_of(postgres_database))
            await evidence.says("tick", times=before + 1)
            jobs = await jobs_of(postgres_database)
            await state_of(postgres_database, jobs[0].id, JobState.DONE)
        last = await submit(postgres_database, "sample.tick", {"evidence": str(evidence.path)})
        await state_of(postgres_database, last, JobState.DONE)
    assert evidence.count("tick") == 6

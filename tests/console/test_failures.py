"""Pages of what failed, in every look: a job, a message, another server, Holdfast itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from playwright.async_api import expect

from holdfast.demo.fleet import Fleet
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import JobRow, JobStepRow
from holdfast.kernel.notify.tables import MessageState, NotificationRow
from holdfast.kernel.work import SYSTEM
from tests.console.browser import Console

JOB, MESSAGE = "f" * 32, "e" * 32
LONG = "a_name_without_any_place_where_its_line_could_be_broken"
WHY = f"{LONG}.dat: no space is left on the device of the store"


@asynccontextmanager
async def database_of(fleet: Fleet) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{fleet.directory / 'holdfast/holdfast.sqlite'}")
    try:
        yield database
    finally:
        await database.close()


async def fail(fleet: Fleet) -> None:
    """A job and a message as they are in the end, after hours of trying."""
    began, ended = now() - timedelta(hours=3), now()
    job = JobRow(
        id=JOB,
        kind="freeze",
        title=f"Freeze of {LONG}",
        args='{"paths": ["/srv/lab/data/results"]}',
        locks="[]",
        priority=0,
        created_by="marta",
        created_at=began,
        state=JobState.FAILED,
        started_at=began,
        finished_at=ended,
        progress_text="14 of 26 files",
        error=WHY,
        error_code="bad_gateway",
    )
    steps = [
        JobStepRow(
            job_id=JOB,
            number=number,
            name=name,
            state=state,
            attempts=number,
            started_at=began,
            finished_at=ended,
            error=error,
        )
        for number, name, state, error in (
            (1, "compare", "done", None),
            (2, "copy", "failed", WHY),
        )
    ]
    message = NotificationRow(
        id=MESSAGE,
        job_id=JOB,
        addresses="",
        subject=f"The freeze of {LONG} failed",
        text=WHY,
        page=f"/web/jobs/{JOB}",
        bad=True,
        attempts=5,
        due_at=ended,
        created_at=began,
        state=MessageState.GIVEN_UP,
        kinds="mail, ntfy",
        problem="ntfy: it was not taken, or nobody answered",
        ended_at=ended,
    )
    async with database_of(fleet) as database, database.write(SYSTEM) as work:
        work.session.add(job)
        await work.session.flush()
        work.session.add_all([*steps, message])


async def test_a_message_that_was_given_up_and_its_failed_job_are_good(
    console: Console, fleet: Fleet
) -> None:
    page = console.page
    await fail(fleet)
    await console.go("/web/notifications")
    row = page.locator("#messages tr", has_text=f"The freeze of {LONG} failed")
    await expect(row).to_contain_text("given up")
    await console.check_in_every_look()
    await row.get_by_role("link").click()
    await expect(page.locator("#job-steps")).to_contain_text("no space is left")
    await console.check_in_every_look()
    await page.locator("main").get_by_role("button", name="Dismiss", exact=True).click()
    await expect(page.locator("#flash")).to_contain_text("waits no more")
    await console.go("/web/notifications")
    await row.get_by_role("button", name="Forget", exact=True).click()
    await expect(page.locator("#flash")).to_contain_text("is forgotten")
    await expect(row).to_have_count(0)


async def test_a_server_that_does_not_answer_is_told_on_a_page(
    console: Console, names: dict[str, str]
) -> None:
    console.watch.allow("^502: GET ")
    await console.go(f"/web/pools/{names['off_pool']}/buckets", status=502)
    await expect(console.page.locator("main [role=alert]")).to_be_visible()
    await console.check_in_every_look()


async def test_a_fault_of_holdfast_itself_is_told_on_a_page(console: Console, fleet: Fleet) -> None:
    """The record of a generation is not what Holdfast writes."""
    record = min(fleet.directory.glob("nginx/generations/*/generation.json"))
    kept = record.read_bytes()
    record.unlink()
    record.write_text("no record")
    console.watch.allow("^500: GET ")
    try:
        await console.go(f"/web/config/generations/{int(record.parent.name)}", status=500)
    finally:
        record.write_bytes(kept)
    await expect(console.page.get_by_role("heading", level=1)).to_have_text("Something went wrong")
    await console.check_in_every_look()

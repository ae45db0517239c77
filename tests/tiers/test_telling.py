"""Who asked for it is told how a run went, whatever becomes of the telling."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from holdfast.kernel.db import Database
from holdfast.kernel.jobs.ending import finish
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import EndedJob
from holdfast.kernel.jobs.service import cancel
from holdfast.kernel.notify import outbox
from holdfast.kernel.notify.tables import NotificationRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import jobs
from holdfast.tiers.api import router
from holdfast.tiers.model import Action
from holdfast.tiers.tables import TierRunRow
from holdfast.tiers.telling import news_of
from tests.kernel.api import API_KEY, client_of, services_for
from tests.servers.mailbox import HOST, mail_server
from tests.tiers.scene import Scene, a_scene

OUTCOME = {
    "files": 3,
    "bytes": 3_500_000,
    "skipped": {"not on the store": {"files": 1, "bytes": 7}},
    "restore_seconds": 1,
    "over_limit": None,
}


def ended(job_id: str, state: JobState = JobState.DONE, **fields: str) -> EndedJob:
    given = {"error": None, "created_by": "somebody", **fields}
    return EndedJob(id=job_id, kind=jobs.PULL, args={}, state=state, **given)  # type: ignore[arg-type]


async def messages(database: Database) -> list[NotificationRow]:
    async with database.read() as session:
        return list(await session.scalars(select(NotificationRow)))


async def a_run(scene: Scene, action: Action = Action.PULL, **wish: object) -> TierRunRow:
    tier = await scene.a_tier()
    answer = await scene.asked(action, tier.root + b"/a", tier.root + b"/b\nc", **wish)
    async with scene.services.database.write(SYSTEM) as work:
        run = await work.session.get(TierRunRow, answer.job_id)
        assert run is not None
        run.outcome = json.dumps(OUTCOME)
    return run


@pytest.mark.real
async def test_a_run_that_fails_is_told_by_mail(database: Database, tmp_path: Path) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene, notify=["someone@example.org"])
    async with database.write(SYSTEM) as work:
        await jobs.note_the_end(work, ended(run.job_id, JobState.FAILED, error="the store is away"))
    assert "example.org" not in str([row.addresses for row in await messages(database)])
    async with mail_server() as box:
        services = services_for(
            database, tmp_path / "own", mail_server=HOST, mail_port=box.port, mail_security="none"
        )
        await outbox.send_due(services)
    (mail,) = box.mails
    assert mail["Subject"] == "Holdfast: pull of photos/a and 1 more: failed"
    for words in (
        "The pull of the tier photos has failed.",
        "the store is away",
        f"  {scene.folder('photos')}/b␊c",
        "3 files, 3.3 MiB (3500000 bytes)",
        "left: 1 file, 7 bytes: not on the store",
        f"holdfast tier details {run.job_id}",
        f"http://127.0.0.1:8080/web/tiers/runs/{run.job_id}",
    ):
        assert words in mail.get_content()


async def test_a_job_ends_as_it_ended_although_nobody_can_be_told(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene, notify=["someone@example.org"])
    await scene.set_state(run.job_id, JobState.RUNNING)
    assert await finish(database, run.job_id, JobState.DONE, error=None, code=None)
    await outbox.send_due(scene.services)
    assert [row.attempts for row in await messages(database)] == [1]
    async with scene.services.database.read() as session:
        kept = await session.get(TierRunRow, run.job_id)
    assert kept is not None
    assert kept.ended_at is not None


async def test_a_run_that_is_cancelled_before_it_began_is_told_too(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene, notify=["json://host/path"])
    async with database.write(SYSTEM) as work:
        await cancel(work, run.job_id)
    (row,) = await messages(database)
    assert row.subject.endswith(": cancelled")
    assert row.bad


async def test_only_failures_that_nobody_asked_for_go_to_the_admin(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene)
    for state, by in (("done", "system"), ("failed", "somebody"), ("failed", "schedule:nightly")):
        async with database.write(SYSTEM) as work:
            end = ended(run.job_id, JobState(state), created_by=by, error="it is so")
            await jobs.note_the_end(work, end)
    (row,) = await messages(database)
    assert (row.addresses, row.bad) == (outbox.ADMIN, True)


async def test_a_dry_freeze_says_that_nothing_was_changed(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene, Action.FREEZE, dry_run=True)
    run.outcome = json.dumps({**OUTCOME, "over_limit": "9 of 9 files"})
    news = news_of(run, "photos", ended(run.job_id))
    assert news.subject == "Holdfast: freeze (dry run) of photos/a and 1 more: done"
    assert "nothing was changed" in news.text
    assert "it would take 9 of 9 files" in news.text
    assert "tier undo" not in news.text


async def test_a_freeze_says_how_it_is_taken_back(database: Database, tmp_path: Path) -> None:
    scene = await a_scene(database, tmp_path)
    run = await a_run(scene, Action.FREEZE)
    news = news_of(run, "photos", ended(run.job_id))
    assert f"holdfast tier undo {run.job_id}" in news.text
    assert not news.bad


async def test_who_cannot_be_told_is_refused_before_anything_is_asked(
    database: Database, tmp_path: Path
) -> None:
    scene = await a_scene(database, tmp_path)
    tier = await scene.a_tier()
    async with client_of(scene.services, API_KEY, router) as client:
        for address, words in (
            ("nonsense", "no e-mail address"),
            ("someone@example.org", "sends no mail"),
            ("syslog://", "nobody can be told by 'syslog'"),
            ("slack://s3cret-word", "Apprise cannot use this address"),
        ):
            body = {"paths": [tier.root.decode()], "notify": [address]}
            answer = await client.post("/api/tiers/pull", json=body)
            assert (answer.status_code, words in answer.json()["detail"]) == (422, True)
            assert "s3cret" not in answer.text
        body = {"paths": [tier.root.decode()], "notify": ["json://user:s3cret-word@host/x"]}
        assert (await client.post("/api/tiers/pull", json=body)).status_code == 202
        listed = [await client.get(f"/api/tiers/runs{more}") for more in ("", "?limit=1")]
        assert "s3cret" not in "".join(answer.text for answer in listed)

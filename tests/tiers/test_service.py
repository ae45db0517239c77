"""What a person may ask of tiers: which are made, what is joined, what waits."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.audit import audit_page
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
)
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.notify.outbox import unseal_addresses
from holdfast.kernel.work import SYSTEM, Actor, Role
from holdfast.tiers import queries, scan, timers
from holdfast.tiers.model import EMPTY, QUARANTINE, Action, FileState, PathRule, Policy
from holdfast.tiers.service import asking, keeping
from holdfast.tiers.service.ground import look
from holdfast.tiers.tables import TierRow, TierRunRow
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


async def test_a_tier_knows_its_folder_without_symlinks(scene: Scene) -> None:
    real = scene.folder("real")
    (scene.place / "link").symlink_to(real)
    row = await scene.made(scene.draft("photos", scene.place / "link"))
    assert row.root == bytes(real)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "no name"}, "is not a name"),
        ({"store_id": 999}, "there is no store 999"),
        ({"second_store_id": 999}, "there is no store 999"),
        ({"second_store_id": 1, "second_prefix": "/"}, "would prove nothing"),
        ({"prefix": "../elsewhere"}, "does not name a folder"),
        ({"filters": ("nonsense",)}, "nonsense"),
        ({"rules": (PathRule(pattern="a[", policy=Policy.PIN),)}, "a["),
        ({"rules": (PathRule(pattern="a", policy=Policy.FREEZE_AFTER),)}, "age_days"),
        ({"rules": (PathRule(pattern="a", policy=Policy.PIN, age_days=3),)}, "age_days"),
        ({"space_high_percent": 90.0}, "go together"),
        (
            {"space_high_percent": 80.0, "space_low_percent": 80.0, "freezable": True},
            "not below",
        ),
        ({"auto_freeze_cron": "0 3 * * *"}, "not freezable"),
        ({"auto_freeze_cron": "never", "freezable": True}, "not a schedule"),
        (
            {"auto_freeze_cron": "0 3 * * *", "freezable": True, "auto_freeze_timezone": "Mars"},
            "time zone",
        ),
    ],
)
async def test_a_tier_that_cannot_be_is_refused_with_the_reason(
    scene: Scene, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await scene.made(scene.draft(**{"name": "photos", **fields}))
    assert words in refused.value.message


async def test_a_folder_that_cannot_be_a_root_is_refused_with_the_reason(scene: Scene) -> None:
    a_file = scene.folder("some") / "file"
    a_file.touch()
    data = scene.services.settings.data_dir
    for path, words in (
        (Path("relative"), "no absolute path"),
        (Path("/" + "deep/" * 300), "at most 1024 bytes"),
        (scene.place / "absent", "No such file"),
        (Path("/home/nobody-of-this-name"), "ProtectHome=no"),
        (a_file, "is no folder"),
        (Path("/"), "the whole machine"),
        (data, "own data"),
        (data.parent, "own data"),
    ):
        with pytest.raises(Invalid) as refused:
            await scene.made(scene.draft("photos", path))
        assert words in f"{refused.value.message}; {refused.value.hint}"


@pytest.mark.parametrize(
    ("right", "words"), [(os.R_OK, "may not read"), (os.W_OK, "may not write")]
)
async def test_a_folder_without_the_rights_is_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, right: int, words: str
) -> None:
    draft = scene.draft("photos")
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & right)  # root may all
    with pytest.raises(Invalid, match=words):
        await scene.made(draft)


async def test_tiers_do_not_lie_in_one_another(scene: Scene) -> None:
    await scene.a_tier("photos")
    deeper = scene.folder("photos/2020")
    (scene.place / "link").symlink_to(deeper)
    for path in (deeper, scene.place / "link", scene.place):
        with pytest.raises(Conflict, match="lie in one another"):
            await scene.made(scene.draft("other", path))
    await scene.made(scene.draft("photos2"))
    with pytest.raises(Conflict, match="a tier named"):
        await scene.made(scene.draft("photos", scene.folder("elsewhere")))


async def test_a_disk_that_keeps_no_times_of_reading_is_frozen_only_when_allowed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "keeps_no_atime", lambda _: True)
    with pytest.raises(Invalid, match="noatime"):
        await scene.a_tier("photos")
    await scene.a_tier("archive", freezable=False)
    await scene.a_tier("photos", allow_noatime=True)


async def test_a_tier_is_changed_and_the_change_is_on_record(scene: Scene) -> None:
    row = await scene.a_tier()
    changed = await scene.changed(row.id, name="pictures", age_days=30, min_size_bytes=5)
    options = changed.tier().options
    assert (changed.name, options.age_days, options.min_size_bytes) == ("pictures", 30, 5)
    assert options.freezable
    with pytest.raises(Invalid, match="not below"):
        await scene.changed(row.id, space_high_percent=50.0, space_low_percent=60.0)
    with pytest.raises(NotFound):
        await scene.changed(row.id + 1, name="x")
    async with scene.services.database.read() as session:
        found, _ = await audit_page(session, limit=10, offset=0, entity_type="tier")
    assert [audit.action for audit in found] == ["update", "create"]


async def test_a_tier_with_work_under_way_keeps_its_place_and_stays(scene: Scene) -> None:
    row = await scene.a_tier()
    answer = await scene.asked(Action.PULL, row.root)
    with pytest.raises(Conflict, match="has not ended"):
        await scene.changed(row.id, prefix="elsewhere")
    with pytest.raises(Conflict, match="has not ended"):
        await _deleted(scene, row)
    await scene.changed(row.id, age_days=3)
    await scene.set_state(answer.job_id, JobState.DONE)
    await scene.journal(row.id, b"a", FileState.QUARANTINED)
    with pytest.raises(Conflict, match="1 frozen files wait"):
        await _deleted(scene, row)


async def test_tiers_are_made_changed_and_deleted_by_admins(scene: Scene) -> None:
    row = await scene.a_tier()
    services = scene.services
    draft, change = scene.draft("films"), {"age_days": 1}
    ground, same = (
        await look(services, draft),
        await keeping.look_at_change(services, row.id, change),
    )
    async with services.database.write(Actor("somebody", Role.OPERATOR)) as work:
        with pytest.raises(Forbidden):
            await keeping.create_tier(work, draft, ground)
        with pytest.raises(Forbidden):
            await keeping.update_tier(work, row.id, change, same)
        with pytest.raises(Forbidden):
            await keeping.delete_tier(work, row.id)


async def test_a_deleted_tier_takes_its_schedule_and_records_along(scene: Scene) -> None:
    row = await scene.a_tier(auto_freeze_cron="0 3 * * *")
    await scene.journal(row.id, b"a", FileState.FROZEN)
    await _deleted(scene, row)
    async with scene.services.database.read() as session:
        assert await jobs.list_schedules(session) == ([], 0)
        assert await queries.files_by_state(session) == []
        assert await queries.all_tiers(session) == []
    with pytest.raises(NotFound):
        await _deleted(scene, row)


async def _deleted(scene: Scene, row: TierRow) -> None:
    async with scene.services.database.write(SYSTEM) as work:
        await keeping.delete_tier(work, row.id)


async def test_a_tier_that_freezes_by_itself_has_a_schedule(scene: Scene) -> None:
    row = await scene.a_tier(auto_freeze_cron="0 3 * * *", auto_freeze_timezone="Europe/Berlin")
    async with scene.services.database.read() as session:
        (schedule,), _ = await jobs.list_schedules(session)
    assert (schedule.kind, schedule.args) == ("tiers.freeze", {"tier_id": row.id})
    assert (schedule.locks, schedule.timezone) == ([f"tiers/{row.id}"], "Europe/Berlin")
    await scene.changed(row.id, auto_freeze_cron="30 4 * * *")
    async with scene.services.database.read() as session:
        assert [one.cron for one in (await jobs.list_schedules(session))[0]] == ["30 4 * * *"]
    await scene.changed(row.id, auto_freeze_cron="")
    async with scene.services.database.read() as session:
        assert await jobs.list_schedules(session) == ([], 0)


async def test_the_same_request_twice_is_one_job(scene: Scene) -> None:
    row = await scene.a_tier()
    first = await scene.asked(Action.FREEZE, row.root + b"/a", row.root + b"/b")
    again = await scene.asked(
        Action.FREEZE, row.root + b"/b/", row.root + b"//a", row.root + b"/a/c"
    )
    assert (again.job_id, again.joined, first.joined) == (first.job_id, True, False)
    other = await scene.asked(Action.FREEZE, row.root + b"/a", row.root + b"/b", dry_run=True)
    assert not other.joined
    await scene.set_state(first.job_id, JobState.DONE)
    later = await scene.asked(Action.FREEZE, row.root + b"/a", row.root + b"/b")
    assert not later.joined


async def test_a_run_that_is_being_cancelled_is_not_joined(scene: Scene) -> None:
    row = await scene.a_tier()
    first = await scene.asked(Action.PULL, row.root)
    await scene.set_state(first.job_id, JobState.CANCELLING)
    assert not (await scene.asked(Action.PULL, row.root)).joined


async def test_a_pull_joins_that_of_the_folder_around_it(scene: Scene) -> None:
    row = await scene.a_tier()
    outer = await scene.asked(Action.PULL, row.root + b"/a")
    await scene.set_state(outer.job_id, JobState.RUNNING)
    inner = await scene.asked(Action.PULL, row.root + b"/a/b")
    assert (inner.job_id, inner.joined) == (outer.job_id, True)
    beside = await scene.asked(Action.PULL, row.root + b"/ab")
    assert not beside.joined


async def test_a_freeze_during_a_pull_waits_for_it(scene: Scene) -> None:
    row = await scene.a_tier()
    pull = await scene.asked(Action.PULL, row.root + b"/a")
    freeze = await scene.asked(Action.FREEZE, row.root + b"/a")
    assert freeze.job_id != pull.job_id
    assert await scene.locks(pull) == await scene.locks(freeze) == [f"tiers/{row.id}/a"]


async def test_requests_at_the_same_moment_are_one_job(scene: Scene) -> None:
    row = await scene.a_tier()
    answers = await asyncio.gather(*(scene.asked(Action.PULL, row.root) for _ in range(5)))
    assert len({answer.job_id for answer in answers}) == 1
    assert [answer.joined for answer in answers].count(False) == 1


async def test_who_joins_is_told_of_the_end_as_well(scene: Scene) -> None:
    row = await scene.a_tier()
    first = await scene.asked(Action.PULL, row.root, notify=["mailto:one@example.org"])
    await scene.asked(Action.PULL, row.root, notify=["mailto:two@example.org"])
    async with scene.services.database.read() as session:
        run = await session.get(TierRunRow, first.job_id)
    assert run is not None
    assert "example.org" not in run.notify + run.asked
    told = unseal_addresses(scene.services.sealer, run.notify)
    assert told == ["mailto:one@example.org", "mailto:two@example.org"]


async def test_paths_are_of_one_tier_and_inside_it(scene: Scene) -> None:
    photos, films = await scene.a_tier("photos"), await scene.a_tier("films")
    for paths in ([b"/etc"], [scene.place / "photos2"], [photos.root, films.root]):
        with pytest.raises(BadRequest):
            await scene.asked(Action.PULL, *paths)
    with pytest.raises(BadRequest, match="not in that one"):
        await scene.asked(Action.PULL, photos.root, tier_id=films.id)
    for path in (b"relative", photos.root + b"/../films", photos.root + b"/" + QUARANTINE.encode()):
        with pytest.raises(Invalid):
            await scene.asked(Action.PULL, path)
    with pytest.raises(Invalid):
        await scene.asked(Action.PULL)


async def test_a_path_may_lead_over_a_symlink_into_a_tier_but_not_out_of_it(scene: Scene) -> None:
    row = await scene.a_tier()
    (scene.place / "way").symlink_to(scene.place / "photos")
    (scene.place / "photos" / "out").symlink_to("/etc")
    assert await scene.locks(await scene.asked(Action.PULL, scene.place / "way")) == [
        f"tiers/{row.id}"
    ]
    inner = await scene.asked(Action.FREEZE, scene.place / "way" / "x")
    assert await scene.locks(inner) == [f"tiers/{row.id}/x"]
    link = await scene.asked(Action.FREEZE, scene.place / "photos" / "out")
    assert await scene.locks(link) == [f"tiers/{row.id}/out"]
    with pytest.raises(BadRequest):
        await scene.asked(Action.FREEZE, scene.place / "photos" / "out" / "passwd")


async def test_names_of_any_bytes_are_asked_for(scene: Scene) -> None:
    row = await scene.a_tier()
    answer = await scene.asked(Action.PULL, row.root + b"/\xdf\n-'")
    assert await scene.locks(answer) == [f"tiers/{row.id}/\u201bDF␊-'"]


async def test_what_is_not_freezable_is_not_frozen(scene: Scene) -> None:
    row = await scene.a_tier(freezable=False)
    with pytest.raises(Conflict, match="not freezable"):
        await scene.asked(Action.FREEZE, row.root)


async def test_a_freeze_is_undone_as_long_as_files_wait(scene: Scene) -> None:
    row = await scene.a_tier()
    freeze = await scene.asked(Action.FREEZE, row.root + b"/a")
    undo = await _undone(scene, freeze.job_id)
    assert await scene.locks(undo) == [f"tiers/{row.id}/{QUARANTINE}", f"tiers/{row.id}/a"]
    assert (await _undone(scene, freeze.job_id)).joined
    async with scene.services.database.write(SYSTEM) as work:
        run = await work.session.get(TierRunRow, freeze.job_id)
        assert run is not None
        run.ended_at = now()
    with pytest.raises(Conflict, match="nothing of job"):
        await _undone(scene, freeze.job_id)
    await scene.journal(row.id, b"a/b", FileState.QUARANTINED, job_id=freeze.job_id)
    assert (await _undone(scene, freeze.job_id)).joined
    pull = await scene.asked(Action.PULL, row.root)
    with pytest.raises(Conflict, match="froze nothing"):
        await _undone(scene, pull.job_id)
    with pytest.raises(NotFound):
        await _undone(scene, "absent")


async def _undone(scene: Scene, job_id: str) -> asking.Answer:
    async with scene.services.database.write(SYSTEM) as work:
        return await asking.undo(work, scene.services.sealer, job_id)


async def test_a_quarantine_is_emptied_when_its_windows_have_ended(scene: Scene) -> None:
    row = await scene.a_tier()
    later, before = now() + timedelta(hours=1), now() - timedelta(seconds=1)
    await scene.journal(row.id, b"a", FileState.QUARANTINED, due_at=later)
    await timers.empty_quarantines(scene.services)
    assert await _jobs_of(scene, EMPTY) == 0
    await scene.journal(row.id, b"b", FileState.QUARANTINED, due_at=before)
    await timers.empty_quarantines(scene.services)
    await timers.empty_quarantines(scene.services)
    assert await _jobs_of(scene, EMPTY) == 1


async def _jobs_of(scene: Scene, kind: str) -> int:
    async with scene.services.database.read() as session:
        _, total = await jobs.list_jobs(session, kind=kind)
    return total


async def test_a_full_disk_frees_its_quarantine_first_and_then_freezes(scene: Scene) -> None:
    row = await scene.a_tier(space_high_percent=90.0, space_low_percent=80.0)
    later = now() + timedelta(hours=1)
    await scene.journal(row.id, b"a", FileState.QUARANTINED, due_at=later, size_bytes=100)
    assert await timers.make_room(scene.services, row.tier(), 100) == 100
    assert (await _jobs_of(scene, EMPTY), await _jobs_of(scene, "tiers.freeze")) == (1, 0)
    assert await timers.make_room(scene.services, row.tier(), 50) == 50
    assert await timers.make_room(scene.services, row.tier(), 70) == 0
    assert (await _jobs_of(scene, EMPTY), await _jobs_of(scene, "tiers.freeze")) == (1, 1)
    async with scene.services.database.read() as session:
        (run,) = await queries.standing_runs(session, row.id)
        assert run.asked.until_bytes == 50
        assert await queries.tiers_with_due_files(session, now()) == [row.id]


async def test_a_disk_with_room_is_left_alone(scene: Scene) -> None:
    await scene.a_tier(space_high_percent=100.0, space_low_percent=99.0)
    await scene.a_tier("films")
    await timers.keep_room(scene.services)
    assert await _jobs_of(scene, "tiers") == 0

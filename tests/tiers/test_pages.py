"""The pages of tiers, without a socket: roles, forms, lists, runs, reports."""

import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import queries
from holdfast.tiers.files import details_path
from holdfast.tiers.model import Action, Asked, FileState
from holdfast.tiers.names import to_text
from holdfast.tiers.tables import TierRow
from tests.gateway.pages.web import Web, column, words
from tests.tiers.pages_kit import AWKWARD, a_run, pages_of
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


@pytest.fixture
async def web(scene: Scene) -> AsyncIterator[Web]:
    async with pages_of(scene) as opened:
        yield opened


def a_form(scene: Scene, name: str = "photos", **fields: str) -> dict[str, Any]:
    return {
        "name": name,
        "path": str(scene.folder(name)),
        "store_id": str(scene.store_id),
        "freezable": "true",
        "age_days": "90",
        "min_size_bytes": "0",
        "proof": "hash",
        "undo_hours": "24",
        "grace_hours": "24",
        "max_files_percent": "50",
        "max_bytes_percent": "50",
        "auto_freeze_timezone": "UTC",
        **fields,
    }


async def test_a_tier_is_made_shown_changed_and_deleted_by_its_forms(
    scene: Scene, web: Web
) -> None:
    rule = {"rules.0.pattern": "/new/**", "rules.0.policy": "freeze_after", "rules.0.age_days": "9"}
    sent = a_form(scene, filters="- *.tmp\r\n- /cache/**\r\n", **rule)
    made = await web.post("/web/tiers/new", **sent)
    address = made.headers["location"]
    shown = words(await web.get(address))
    assert "What nobody has read for 90 days." in shown
    assert "/new/** leaves after 9 days" in shown
    assert "- *.tmp" in shown
    form = await web.get(f"{address}/edit")
    assert 'value="/new/**"' in form
    copy = await web.get(f"{address}/clone")
    assert 'value="/new/**"' in copy
    assert 'value="photos"' not in copy
    like = await web.post(f"{address}/clone", **a_form(scene, "copy", **rule))
    assert "/new/** leaves after 9 days" in words(await web.get(like.headers["location"]))
    changed = a_form(scene, filters="", bandwidth="20M", space_high_percent="90")
    await web.post(f"{address}/edit", status=422, **changed)
    await web.post(f"{address}/edit", **changed, space_low_percent="80")
    shown = words(await web.get(address))
    assert "from 90 % on the oldest files leave" in shown
    assert "/new/**" not in shown
    await web.post(f"{address}/delete", confirm="photo", status=422)
    await web.post(f"{address}/delete", confirm="photos")
    await web.get(address, status=404)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": "relative"}, "is no absolute path"),
        ({"age_days": "-1"}, "greater than or equal to 0"),
        ({"filters": "nonsense"}, "nonsense"),
        ({"space_high_percent": "90"}, "go together"),
        ({"rules.0.pattern": "/a"}, "Field required"),
        ({"name": AWKWARD}, "is not a name"),
    ],
)
async def test_what_cannot_be_a_tier_is_drawn_again_with_the_reason(
    scene: Scene, web: Web, fields: dict[str, Any], says: str
) -> None:
    answer = await web.post("/web/tiers/new", status=422, **a_form(scene) | fields)
    assert says in words(answer.text)
    assert AWKWARD not in answer.text
    async with scene.services.database.read() as session:
        assert not await queries.all_tiers(session)


async def test_another_rule_is_asked_for_without_losing_what_was_typed(
    scene: Scene, web: Web
) -> None:
    rule = {"rules.0.pattern": "/keep/**", "rules.0.policy": "pin"}
    answer = await web.post("/web/tiers/new", status=200, **a_form(scene), **rule, do="more")
    assert 'value="/keep/**"' in answer.text
    assert 'name="rules.1.pattern"' in answer.text
    assert "aria-invalid" not in answer.text


async def test_a_form_that_is_behind_overwrites_nothing(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    form = await web.get(f"/web/tiers/{tier.id}/edit")
    action = form.partition('action="/web/tiers/')[2].partition('"')[0]
    await scene.changed(tier.id, age_days=7)
    answer = await web.post(f"/web/tiers/{action}", status=409, **a_form(scene))
    assert "7 is kept now, 90 stands here" in answer.text


@pytest.mark.parametrize(
    ("path", "least"),
    [
        ("new", "admin"),
        ("{}/edit", "admin"),
        ("{}/clone", "admin"),
        ("{}/pull", "operator"),
        ("{}/freeze", "operator"),
        ("", "viewer"),
        ("{}", "viewer"),
        ("{}/report", "viewer"),
        ("runs", "viewer"),
    ],
)
async def test_each_page_is_for_its_roles(scene: Scene, web: Web, path: str, least: str) -> None:
    tier = await scene.a_tier()
    address = f"/web/tiers/{path.format(tier.id)}".rstrip("/")
    roles = ("viewer", "operator", "admin")
    for place, role in enumerate(roles):
        await web.get(address, who=role, status=200 if place >= roles.index(least) else 403)


async def test_a_viewer_sees_no_button_and_changes_nothing(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    await scene.journal(tier.id, b"a", FileState.QUARANTINED, "j1", due_at=now())
    await a_run(scene, tier.id, "j1", outcome={"files": 1, "bytes": 10})
    for path in ("", f"/{tier.id}", "/runs/j1", f"/{tier.id}/report"):
        page = await web.get(f"/web/tiers{path}", who="viewer")
        assert '<form method="post" action="/web/tiers' not in page
    for verb in ("pull", "freeze", "verify", "report", "delete"):
        await web.post(f"/web/tiers/{tier.id}/{verb}", who="viewer", status=403, confirm="photos")
    await web.post("/web/tiers/runs/j1/undo", who="viewer", status=403)


async def test_a_freeze_is_a_dry_run_unless_its_other_button_is_pressed(
    scene: Scene, web: Web
) -> None:
    tier = await scene.a_tier()
    root = str(scene.folder("photos"))
    for do, is_dry in (("", True), ("more", False)):
        made = await web.post(f"/web/tiers/{tier.id}/freeze", paths=root, do=do)
        page = words(await web.get(made.headers["location"]))
        assert page.startswith("Freeze of photos (dry run)") is is_dry
    for do, is_dry in (("", False), ("more", True)):
        made = await web.post(f"/web/tiers/{tier.id}/pull", paths=f"{root}/a\r\n{root}/b", do=do)
        page = words(await web.get(made.headers["location"]))
        title = "Pull of photos/a, photos/b"
        assert page.startswith(f"{title} (dry run)" if is_dry else f"{title} ·")


async def test_paths_outside_the_tier_are_refused_at_the_form(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    answer = await web.post(f"/web/tiers/{tier.id}/pull", paths="/etc", status=400)
    assert "is in no tier" in words(answer.text)
    await web.post(f"/web/tiers/{tier.id}/pull", paths="", status=422)


async def test_verify_report_and_undo_become_runs(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    await scene.journal(tier.id, b"a", FileState.QUARANTINED, "j1", due_at=now())
    await a_run(scene, tier.id, "j1", outcome={"files": 1, "bytes": 10})
    for path in (f"{tier.id}/verify", f"{tier.id}/report", "runs/j1/undo"):
        made = await web.post(f"/web/tiers/{path}")
        assert made.headers["location"].startswith("/web/tiers/runs/")
    assert "Make a new report" not in await web.get(f"/web/tiers/{tier.id}/report")
    await a_run(scene, tier.id, "j2", outcome={"files": 1, "bytes": 10})
    await web.post("/web/tiers/runs/j2/undo", status=409)


async def test_a_run_tells_counts_reasons_and_each_file(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    skipped = {"pinned": {"files": 2, "bytes": 50}, "read recently": {"files": 7, "bytes": 10}}
    told = {"files": 3, "bytes": 2048, "skipped": skipped, "restore_seconds": 4, "over_limit": None}
    await a_run(scene, tier.id, "j1", outcome=told)
    lines = [
        {"path": f"{AWKWARD}{n:03}", "bytes": 1, "what": "stays", "reason": "pinned"}
        for n in range(130)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    details_path(scene.services.settings.data_dir, "j1").write_text(text)
    page = await web.get("/web/tiers/runs/j1")
    assert AWKWARD not in page
    shown = words(page)
    assert "Frozen 3 files, 2.0 KiB" in shown
    assert "pinned 2 50 B" in shown
    assert "100 of 130" in shown
    assert "130 of 130" in words(await web.get("/web/tiers/runs/j1?page=2"))
    assert "Only those left for: changed" in words(
        await web.get("/web/tiers/runs/j1?reason=changed+meanwhile")
    )
    await web.get("/web/tiers/runs/no-such", status=404)
    pulled = {"files": 0, "bytes": 0, "restored_files": 4, "present_files": 2, "present_bytes": 1}
    pulled |= {"estimate_seconds": 75, "needed_bytes": 1024, "free_bytes": 4096}
    await a_run(scene, tier.id, "j2", Action.PULL, outcome=pulled, dry_run=True)
    shown = words(await web.get("/web/tiers/runs/j2"))
    for part in ("quarantine 4 files", "already 2 files, 1 B", "1 min 15 s", "1.0 KiB of 4.0 KiB"):
        assert part in shown


async def test_a_freeze_that_stopped_at_its_limit_needs_somebody(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    limit = "9 of 10 files, more than 50 %"
    error = f"this freeze would take {limit}"
    failed = JobState.FAILED
    await a_run(scene, tier.id, "j1", state=failed, error=error, outcome={"over_limit": limit})
    overview = await web.get("/")
    assert "The freeze of photos stopped at its limit" in overview
    assert 'href="/web/jobs/j1"' not in overview.partition("Needs you")[2].partition("Running")[0]
    assert column(await web.get("/web/tiers"), 1) == ["stopped at its limit"]
    run = await web.get("/web/tiers/runs/j1")
    assert "Freeze all the same" in run
    assert "Run again" not in run
    assert "Freeze all the same" not in await web.get("/web/tiers/runs/j1", who="viewer")
    found: dict[str, Any] = {"over_limit": limit, "files": 9, "bytes": 90}
    await a_run(scene, tier.id, "j2", outcome=found, dry_run=True)
    for shown in (run, await web.get("/web/tiers/runs/j2")):
        assert 'name="tier_name" autocomplete="off" required data-must-be="photos"' in shown
    root = str(scene.folder("photos"))
    freeze = f"/web/tiers/{tier.id}/freeze"
    for typed in ({}, {"tier_name": "photo"}):
        refused = await web.post(freeze, paths=root, do="more", confirm="true", status=422, **typed)
        assert "to go beyond its limits, type photos" in refused.text
    made = await web.post(freeze, paths=root, do="more", confirm="true", tier_name="photos")
    job = made.headers["location"].rpartition("/")[2]
    async with scene.services.database.read() as session:
        asked = await queries.run_of(session, job)
    assert asked is not None
    assert Asked.from_json(asked[0].asked).confirm


async def test_a_failed_run_a_full_disk_and_a_folder_that_is_gone_need_somebody(
    scene: Scene, web: Web
) -> None:
    tier = await scene.a_tier(space_high_percent=0.001, space_low_percent=0.0005)
    await a_run(scene, tier.id, "j1", Action.PULL, JobState.FAILED, error="the store is away")
    overview = words(await web.get("/"))
    assert "The last pull of photos failed the store is away" in overview
    assert "Run again" in await web.get("/web/tiers/runs/j1")
    assert "The disk of photos is" in overview
    scene.folder("photos").rmdir()
    assert "The folder of photos does not answer" in words(await web.get("/"))
    assert "Its folder does not answer" in words(await web.get(f"/web/tiers/{tier.id}"))


async def test_what_waits_in_quarantine_is_told_a_freeze_a_line(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    soon, later = now() + timedelta(hours=1), now() + timedelta(hours=5)
    for number, due in enumerate((later, soon, soon)):
        path = f"f{number}".encode()
        job = "jb" if due == soon else "ja"
        await scene.journal(tier.id, path, FileState.QUARANTINED, job, due_at=due)
    await scene.journal(tier.id, b"gone", FileState.FROZEN, "ja", size_bytes=4096)
    page = await web.get(f"/web/tiers/{tier.id}")
    assert column(page, 0) == ["freeze jb", "freeze ja"]
    assert column(page, 1) == ["2", "1"]
    assert "Frozen so far 4.0 KiB 1 files" in words(page)
    assert "/web/tiers/1/delete" not in page


async def test_search_finds_tiers_and_what_can_be_begun(scene: Scene, web: Web) -> None:
    tier = await scene.a_tier()
    assert f"/web/tiers/{tier.id}" in await web.get("/web/search?q=phot")
    assert "/web/tiers/new" in await web.get("/web/search?q=new+tier")
    assert "/web/tiers/new" not in await web.get("/web/search?q=new+tier", who="operator")


async def test_many_tiers_and_runs_are_listed_with_few_statements(scene: Scene, web: Web) -> None:
    times = {"created_at": now(), "updated_at": now()}
    rows = [
        {"name": f"tier-{n:05}", "root": f"/srv/{n:05}".encode(), "store_id": scene.store_id}
        | {"prefix": "", "second_prefix": "", "options": "{}", "description": "", **times}
        for n in range(3000)
    ]
    async with scene.services.database.write(SYSTEM) as work:
        await work.session.execute(insert(TierRow), rows)
    for number in range(60):
        await a_run(scene, 1 + number % 3, f"j{number}", outcome={"files": number, "bytes": 1})
    counted = {}
    for path in ("", "?page=2", "?q=0299&sort=-path", "/runs", "/runs?action=freeze&tier=1"):
        with web.statements() as sent:
            page = await web.get(f"/web/tiers{path}")
        counted[path] = len([one for one in sent if one.lstrip().upper().startswith("SELECT")])
        assert "<tbody>" in page
    assert max(counted.values()) <= 12, counted
    found = column(await web.get("/web/tiers?q=0299&sort=-path"), 0)
    assert found[:2] == ["tier-02999 /srv/02999", "tier-02998 /srv/02998"]
    assert len(column(await web.get("/web/tiers/runs?tier=1"), 0)) == 20
    await a_run(scene, 1, "early", Action.PULL)
    await a_run(scene, 1, "late", Action.VERIFY, JobState.FAILED)
    for sort, place, first in (("-action", 1, "verify"), ("state", 3, "done")):
        shown = column(await web.get(f"/web/tiers/runs?tier=1&sort={sort}"), place)
        assert shown[0] == first
        assert shown == sorted(shown, reverse=sort.startswith("-"))


@pytest.mark.real
async def test_a_folder_is_shown_with_what_is_where(scene: Scene, web: Web) -> None:
    services = scene.services
    build_hub(services)
    tree, archive = scene.folder("photos"), scene.folder("archive")
    here = ("same", "other", "mine", "in/a")
    there = ("same", "other", "its", "left", "in/b", "only/c")
    for path in (*(tree / name for name in here), *(archive / name for name in there)):
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(path) if path.name == "other" else path.name)
    (tree / os.fsdecode(b"b\xdf\n")).write_text("x")
    tier = await scene.a_tier()
    async with services.database.write(SYSTEM) as work:
        store = await work.session.get_one(StoreRow, scene.store_id)
        store.root = str(archive)
    os.utime(tree / "same", (0, 0))
    for name in (b"left", b"lost", b"all/gone/x"):
        await scene.journal(tier.id, name, FileState.FROZEN)
    page = await web.get(f"/web/tiers/{tier.id}/browse")
    states = dict(zip(column(page, 0), column(page, 4), strict=True))
    assert states == {
        "all/": "frozen",
        "in/": "on both",
        "only/": "not here",
        to_text(b"b\xdf\n"): "only here",
        "its": "not here",
        "left": "frozen",
        "lost": "lost",
        "mine": "only here",
        "other": "differing",
        "same": "may differ",
    }
    assert column(await web.get(f"/web/tiers/{tier.id}/browse?path=all"), 0) == ["gone/"]
    for show, names in (("lost", ["lost"]), ("differing", ["other", "same"])):
        assert column(await web.get(f"/web/tiers/{tier.id}/browse?show={show}"), 0) == names
    inner = await web.get(f"/web/tiers/{tier.id}/browse?path=in")
    assert column(inner, 0) == ["a", "b"]
    assert ">Clear<" not in inner
    ordered = column(await web.get(f"/web/tiers/{tier.id}/browse?sort=-name"), 0)
    assert ordered == sorted(ordered, reverse=True)
    assert column(await web.get(f"/web/tiers/{tier.id}/browse?sort=-size"), 0)[0] == "other"
    assert column(await web.get(f"/web/tiers/{tier.id}/browse?show=frozen"), 0) == [
        "all/",
        "left",
        "lost",
    ]
    assert (
        "<button"
        not in (await web.get(f"/web/tiers/{tier.id}/browse", who="viewer"))
        .partition("<tbody>")[2]
        .partition("</tbody>")[0]
    )
    await web.get(f"/web/tiers/{tier.id}/browse?path=../etc", status=400)
    async with services.database.write(SYSTEM) as work:
        (await work.session.get_one(StoreRow, scene.store_id)).root = str(scene.place / "away")
    away = words(await web.get(f"/web/tiers/{tier.id}/browse"))
    assert "The store was not asked" in away
    assert "not asked" in away.partition("same")[2]
    assert "frozen" in away.partition("lost")[2].partition("mine")[0]
    await services.get(RcloneHub).stop()

"""What a freeze would take, and why the rest stays: with a folder as the store."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import AppError, Conflict, NotFound, Unavailable
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.tiers import planning, scan
from holdfast.tiers.arrivals import stamp_pulled
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import PathRule, Policy, Skip
from holdfast.tiers.plan_file import FreezePlan, read_plan
from holdfast.tiers.planning import plan_freeze
from holdfast.tiers.running import Run
from tests.tiers.icebox import Icebox, an_icebox, at, told
from tests.tiers.trees import a_database

pytestmark = pytest.mark.real


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@asynccontextmanager
async def a_box(database: Database, directory: Path, store: Path) -> AsyncIterator[Icebox]:
    made = await an_icebox(database, directory)
    build_hub(made.services)
    made.places = (Place(name="s", kind="local", remote=Remote("local", {}, str(store)), s3=None),)
    yield made
    await made.services.get(RcloneHub).stop()


@pytest.fixture
async def box(sqlite_template: Path, tmp_path: Path, store: Path) -> AsyncIterator[Icebox]:
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_box(database, tmp_path, store) as made,
    ):
        yield made


@pytest.fixture
async def any_box(database: Database, tmp_path: Path, store: Path) -> AsyncIterator[Icebox]:
    """On every kind of database."""
    async with a_box(database, tmp_path, store) as made:
        yield made


def put(box: Icebox, store: Path, *names: bytes, days: float = 30.0) -> None:
    """Cold files, and the same in the store."""
    box.put(*names)
    for name in names:
        path = at(store, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(box.stored[name])
        then = at(box.root, name).stat().st_mtime - days * 86_400
        os.utime(at(box.root, name), (then, then))


async def plan(
    box: Icebox, *paths: bytes, until_bytes: int | None = None, **options: Any
) -> tuple[FreezePlan, list[bytes], Run]:
    run = box.run(**options)
    made = await plan_freeze(run, paths or (b"",), until_bytes=until_bytes)
    return made, [file.path for file, _ in read_plan(made.path)], run


async def test_what_is_cold_and_proven_is_planned_and_the_rest_told(
    box: Icebox, store: Path
) -> None:
    odd = [
        b"cold",
        b"d/e/cold",
        b"new\nline",
        b"quo'te\"",
        b"-dash",
        b"bad\xdf",
        b"sym\xe2\x90\x8a",
    ]
    put(box, store, *odd)
    put(box, store, b"hot", days=0)
    put(box, store, b"missing", b"short", b"other", b"x.tmp", b"keep/pinned", b"pulled")
    at(store, b"missing").unlink()
    os.truncate(at(store, b"short"), 2)
    at(store, b"other").write_bytes(b"x" * len(b"content of other"))
    (box.root / "link").symlink_to("cold")
    run = box.run()
    async with run.ctx.write() as work:
        await stamp_pulled(work.session, box.tier_id, [b"pulled"], run.ctx.now())
    made, names, run = await plan(
        box,
        filters=("- *.tmp",),
        rules=(PathRule(pattern="/keep/**", policy=Policy.PIN),),
        min_size_bytes=len(b"content of hot"),
    )
    assert sorted(names) == sorted(odd)
    assert made.files == len(odd)
    assert {reason: files for reason, (files, _) in made.skipped.items()} == {
        Skip.READ_RECENTLY: 1,
        Skip.MISSING_ON_STORE: 1,
        Skip.OTHER_SIZE: 1,
        Skip.OTHER_CONTENT: 1,
        Skip.EXCLUDED: 1,
        Skip.PINNED: 1,
        Skip.PULLED_RECENTLY: 1,
        Skip.NOT_A_FILE: 1,
    }
    said = told(run)
    assert "hot" not in said
    assert said["short"] == ("stays", str(Skip.OTHER_SIZE))
    assert said["other"] == ("stays", str(Skip.OTHER_CONTENT))


async def test_small_files_stay(box: Icebox, store: Path) -> None:
    put(box, store, b"a", b"longer")
    made, names, _ = await plan(box, min_size_bytes=len(b"content of longer"))
    assert names == [b"longer"]
    assert made.skipped == {Skip.TOO_SMALL: (1, len(b"content of a"))}


async def test_the_first_rule_that_matches_says_the_age(box: Icebox, store: Path) -> None:
    put(box, store, b"raw/a", b"raw/old/b", b"c")
    rules = (
        PathRule(pattern="/raw/old/**", policy=Policy.FREEZE_AFTER, age_days=90),
        PathRule(pattern="/raw/**", policy=Policy.FREEZE_AFTER, age_days=10),
    )
    made, names, _ = await plan(box, rules=rules, age_days=60)
    assert names == [b"raw/a"]
    assert made.skipped[Skip.READ_RECENTLY][0] == 2


async def test_looking_and_proving_warm_nothing(box: Icebox, store: Path) -> None:
    put(box, store, b"cold", b"d/cold")
    times = {name: at(box.root, name).stat().st_atime_ns for name in box.stored}
    assert (await plan(box))[0].files == 2
    assert {name: at(box.root, name).stat().st_atime_ns for name in box.stored} == times
    assert (await plan(box))[0].files == 2


async def test_only_what_was_asked_for_is_looked_at(box: Icebox, store: Path) -> None:
    put(box, store, b"a/1", b"a/b/2", b"ab/3", b"c")
    _, names, _ = await plan(box, b"a/b", b"a", b"c")
    assert names == [b"a/1", b"a/b/2", b"c"]
    with pytest.raises(NotFound):
        await plan(box, b"nothing")


async def test_more_than_the_tier_allows_is_said(box: Icebox, store: Path) -> None:
    put(box, store, b"a", b"b", b"d/c")
    put(box, store, b"hot", days=0)
    made, _, _ = await plan(box)
    assert made.over_limit == "3 of 4 files, more than 50 %"
    assert (await plan(box, max_files_percent=80, max_bytes_percent=80))[0].over_limit is None
    assert (await plan(box, b"d"))[0].over_limit is None  # a quarter of the tier, all of its folder


async def test_for_room_the_oldest_go_first_and_no_more_than_needed(
    box: Icebox, store: Path
) -> None:
    for age in range(2, 9):
        put(box, store, b"f%d" % age, days=age)
    size = len(b"content of f1")
    _, names, _ = await plan(box, until_bytes=2 * size + 1)
    assert names == [b"f8", b"f7", b"f6"]


async def test_names_of_one_file_are_planned_together_or_stay(box: Icebox, store: Path) -> None:
    put(box, store, b"a/1", b"c/1", b"d/1")
    os.link(box.root / "a/1", box.root / "z")
    os.link(box.root / "c/1", box.root / "c/2")
    os.link(box.root / "d/1", box.root / "d/2")
    for link, first in ((b"z", b"a/1"), (b"c/2", b"c/1"), (b"d/2", b"d/1")):
        at(store, link).write_bytes(box.stored[first])
    at(store, b"d/2").write_bytes(b"x" * len(box.stored[b"d/1"]))
    made, names, run = await plan(box)
    assert {frozenset(names[:2]), frozenset(names[2:])} == {
        frozenset({b"a/1", b"z"}),
        frozenset({b"c/1", b"c/2"}),
    }
    assert told(run)["d/1"][1] == str(Skip.LINKED)
    assert told(run)["d/2"][1] == str(Skip.OTHER_CONTENT)
    assert (await plan(box, b"a"))[0].skipped[Skip.LINKED][0] == 1
    run = box.run(undo_hours=0)
    outcome = await freeze(run, await plan_freeze(run, (b"",)))
    assert outcome.files == 4
    assert set(box.local) == {b"d/1", b"d/2"}
    assert made.files == 4


async def test_what_has_not_changed_is_never_read_twice(any_box: Icebox, store: Path) -> None:
    box = any_box
    put(box, store, b"file")
    assert (await plan(box))[0].files == 1
    copy = at(store, b"file")
    old = copy.stat()
    copy.write_bytes(b"x" * old.st_size)
    os.utime(copy, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert (await plan(box))[0].files == 1  # by what is known of that version
    os.utime(copy, ns=(old.st_atime_ns, old.st_mtime_ns + 1))
    assert (await plan(box))[0].skipped == {Skip.OTHER_CONTENT: (1, old.st_size)}


async def test_a_file_that_changed_with_its_old_times_is_read_again(
    box: Icebox, store: Path
) -> None:
    put(box, store, b"file")
    assert (await plan(box))[0].files == 1
    path = at(box.root, b"file")
    old = path.stat()
    path.write_bytes(b"x" * old.st_size)
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert Skip.OTHER_CONTENT in (await plan(box))[0].skipped


async def test_a_store_that_is_not_there_freezes_nothing(box: Icebox, store: Path) -> None:
    put(box, store, b"file")
    store.rename(store.with_name("away"))
    with pytest.raises(AppError):
        await plan(box)
    assert box.local == box.stored


async def test_a_store_that_goes_away_after_its_listing_freezes_nothing(
    box: Icebox, store: Path
) -> None:
    put(box, store, b"file")
    box.is_away = True
    run = replace(box.run(), ask=box.ask)
    with pytest.raises(Unavailable):
        await plan_freeze(run, (b"",))
    assert box.local == box.stored
    assert await box.states() == {}


async def test_the_clock_of_the_store_decides_nothing(box: Icebox, store: Path) -> None:
    put(box, store, b"past", b"future")
    os.utime(at(store, b"past"), (1, 1))
    os.utime(at(store, b"future"), (4_000_000_000, 4_000_000_000))
    assert (await plan(box))[1] == [b"future", b"past"]


async def test_room_that_was_made_before_counts(box: Icebox, store: Path) -> None:
    put(box, store, b"f1", days=9)
    put(box, store, b"f2", b"f3", days=8)
    size = len(b"content of f1")
    run = box.run()
    await freeze(run, await plan_freeze(run, (b"",), until_bytes=size))
    assert set(box.local) == {b"f2", b"f3"}
    again = await plan_freeze(box.run(run.ctx.job_id), (b"",), until_bytes=size)
    assert again.files == 0


async def test_a_file_open_for_writing_or_dated_in_the_future_is_not_proven(
    box: Icebox, store: Path
) -> None:
    put(box, store, b"open")
    with at(box.root, b"open").open("ab"):
        assert (await plan(box))[0].skipped == {Skip.IN_USE: (1, len(b"content of open"))}
    later = at(box.root, b"open").stat().st_mtime + 86_400 * 90
    os.utime(at(box.root, b"open"), (later, later))
    assert list((await plan(box))[0].skipped) == [Skip.READ_RECENTLY]


async def test_both_stores_must_have_it(box: Icebox, store: Path, tmp_path: Path) -> None:
    named = b" ERROR : error listing"  # rclone tells this name, in its log
    put(box, store, b"both", b"one", b"differs", b"lost", named)
    at(store, named).unlink()
    at(store, named).symlink_to("absent")
    second = tmp_path / "second"
    second.mkdir()
    remote = Remote("local", {}, str(second))
    box.places = (*box.places, Place(name="second", kind="local", remote=remote, s3=None))
    for name in (b"both", b"lost"):
        at(second, name).write_bytes(box.stored[name])
    at(second, b"differs").write_bytes(b"x" * len(box.stored[b"differs"]))
    made, names, _ = await plan(box)
    assert names == [b"both", b"lost"]
    assert set(made.skipped) == {Skip.MISSING_ON_STORE, Skip.OTHER_CONTENT}
    run = box.run(undo_hours=1e-9)
    await freeze(run, await plan_freeze(run, (b"",)))
    at(second, b"lost").unlink()
    outcome = await empty_due(box.run())
    assert (outcome.files, list(outcome.skipped)) == (1, [Skip.MISSING_ON_STORE])
    assert set(box.local) == {b"one", b"differs", b"lost", named}


@pytest.mark.parametrize("has_find", [True, False])
async def test_a_dry_run_names_each_file_that_stays_and_why(
    box: Icebox, store: Path, monkeypatch: pytest.MonkeyPatch, *, has_find: bool
) -> None:
    monkeypatch.setattr(scan, "_gnu_find", lambda: [has_find])
    put(box, store, b"cold", b"odd\n//7", b"twice", b"%s")
    put(box, store, b"hot", b"new", days=0)
    box.put(b"tiny", content=b"1")
    os.utime(at(box.root, b"tiny"), (0, 0))
    (box.root / "link").symlink_to("cold")
    (box.root.parent / "outside").hardlink_to(box.root / "twice")
    run = box.run(min_size_bytes=2)
    made = await plan_freeze(run, (b"",), by_name=True)
    assert {path: why for path, (_, why) in told(run).items()} == {
        "hot": str(Skip.READ_RECENTLY),
        "new": str(Skip.READ_RECENTLY),
        "tiny": str(Skip.TOO_SMALL),
        "link": str(Skip.NOT_A_FILE),
        "twice": str(Skip.LINKED),
    }
    assert made.files == 3
    assert sum(files for files, _ in made.skipped.values()) == 5


async def test_where_reading_leaves_no_trace_by_now_nothing_is_frozen(
    box: Icebox, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(box, store, b"a")
    monkeypatch.setattr(planning, "keeps_no_atime", lambda _: True)
    with pytest.raises(Conflict, match="noatime now"):
        await plan(box)
    assert (await plan(box, allow_noatime=True))[1] == [b"a"]

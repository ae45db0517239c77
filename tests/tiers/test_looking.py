"""A folder of a tier as it is: what is here, on the store, frozen, differing, missing."""

import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import BadRequest, Conflict, NotFound, Unavailable
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.place import Place, open_place
from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import browsing, here, holding
from holdfast.tiers.model import OWN, FileState
from holdfast.tiers.present import list_present
from holdfast.tiers.proof import place_name
from holdfast.tiers.service import folders, looking, looking_at_all
from holdfast.tiers.service.looking_at_all import all_files
from holdfast.tiers.tables import TierProofRow, TierRow
from tests.tiers.scene import Scene, a_scene

pytestmark = pytest.mark.real
FILES = {
    b"both": b"same",
    b"deep/both": b"same",
    b"deep/er/gone": b"gone",
    b"deep/\xdf\nodd": b"odd",
    b"differs": b"stored",
    b"same/same": b"a file in a folder of its name",
}


@dataclass
class View:
    """A tier of which some is here."""

    scene: Scene
    row: TierRow
    store: Path

    async def shown(
        self, path: bytes = b"", depth: int = 0, *, twice: bool = True
    ) -> dict[bytes, str]:
        """Of each file, what is told of it. ``twice``: a list of all without an end, too."""
        place = self.row.root + b"/" + path if path else self.row.root
        found, total = await looking.list_files(self.scene.services, place, depth=depth, limit=99)
        assert total == len(found)
        if twice and not depth:
            streamed = [
                one async for block in all_files(self.scene.services, place) for one in block
            ]
            assert {one.path: one for one in streamed} == {one.path: one for one in found}
            assert len(streamed) == len(found)
        names = ("local", "remote", "frozen", "differing", "missing", "lost")
        return {one.path: " ".join(name for name in names if getattr(one, name)) for one in found}


@pytest.fixture
async def view(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[View]:
    path = tmp_path / "holdfast.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite+aiosqlite:///{path}")
    scene = await a_scene(database, tmp_path)
    build_hub(scene.services)
    store = tmp_path / "store"
    _put(store / "tree", FILES)
    async with database.write(SYSTEM) as work:
        row = await work.session.get(StoreRow, scene.store_id)
        assert row is not None
        row.root = str(store)
    tier = await scene.a_tier(prefix="tree")
    here = {name: FILES[name] for name in (b"both", b"deep/both")}
    _put(scene.folder("photos"), {**here, b"differs": b"another size", b"only": b"here"})
    yield View(scene, tier, store / "tree")
    await scene.services.get(RcloneHub).stop()
    await database.close()


def _put(folder: Path, files: dict[bytes, bytes]) -> None:
    for name, content in files.items():
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


async def test_each_file_is_told_by_where_it_is(view: View) -> None:
    await view.scene.journal(view.row.id, b"deep/er/gone", FileState.FROZEN)
    assert await view.shown() == {
        b"both": "local remote",
        b"deep/both": "local remote",
        b"deep/er/gone": "remote frozen missing",
        b"deep/\xdf\nodd": "remote missing",
        b"differs": "local remote differing",
        b"only": "local",
        b"same/same": "remote missing",
    }


async def test_a_folder_is_looked_at_as_deep_as_asked(view: View) -> None:
    assert set(await view.shown(depth=1)) == {b"both", b"differs", b"only"}
    assert set(await view.shown(b"deep", depth=1)) == {b"deep/both", b"deep/\xdf\nodd"}
    assert set(await view.shown(b"deep/er")) == {b"deep/er/gone"}
    (view.store / "folders" / "only").mkdir(parents=True)
    for empty in (b"folders", b"folders/only"):
        assert await view.shown(empty, depth=1) == {}
    await view.scene.journal(view.row.id, b"lost", FileState.FROZEN)
    assert await view.shown(b"lost") == {b"lost": "frozen lost"}
    with pytest.raises(NotFound, match="neither here nor on the store"):
        await view.shown(b"absent")
    with pytest.raises(NotFound, match="neither here nor on the store"):
        await anext(all_files(view.scene.services, view.row.root + b"/absent"))
    with pytest.raises(NotFound):
        await looking.tree(view.scene.services, view.row.root + b"/absent", depth=0)


async def test_what_was_frozen_and_no_store_has_any_more_is_told_in_its_folder(
    view: View,
) -> None:
    for path in (b"lost", b"deep/lost", b"nowhere/any/more", b"both", b"deep/er/gone"):
        await view.scene.journal(view.row.id, path, FileState.FROZEN)
    await view.scene.journal(view.row.id, b"waits", FileState.QUARANTINED)
    other = await view.scene.a_tier("films")
    await view.scene.journal(other.id, b"another's", FileState.FROZEN)
    shown = await view.shown(depth=0)
    assert {path for path, told in shown.items() if told == "frozen lost"} == {
        b"lost",
        b"deep/lost",
        b"nowhere/any/more",
    }
    assert (shown[b"waits"], shown[b"both"], b"another's" in shown) == (
        "frozen",
        "local remote",
        False,
    )
    assert (await view.shown(depth=1)).keys() == {b"both", b"differs", b"only", b"lost", b"waits"}
    assert (await view.shown(b"deep", depth=1))[b"deep/lost"] == "frozen lost"
    assert await view.shown(b"nowhere") == {b"nowhere/any/more": "frozen lost"}
    top = await looking.tree(view.scene.services, view.row.root, depth=0)
    assert (top["lost"], top["folders"]["deep"]["lost"], top["missing"]) == (3, 1, 3)
    found = await folders.look_into(view.scene.services, view.row, b"")
    lost = {one.path: (one.is_folder, one.size_bytes) for one in found.entries if one.lost}
    assert lost == {"lost": (False, 10)}
    assert [one.path for one in found.entries if one.frozen] == ["nowhere", "lost", "waits"]

    has = view.scene.folder("second")
    _put(has, {b"lost": b"still", b"nowhere/any/more": b"still"})
    async with view.scene.services.database.write(SYSTEM) as work:
        store = await work.session.get(StoreRow, view.scene.store_id)
        assert store is not None
        moment = store.created_at
        second = StoreRow(
            name="second", kind="local", root=str(has), created_at=moment, updated_at=moment
        )
        work.session.add(second)
        await work.session.flush()
        row = await work.session.get(TierRow, view.row.id)
        assert row is not None
        row.second_store_id = second.id
    assert {p for p, told in (await view.shown()).items() if "lost" in told} == {b"deep/lost"}
    found = await folders.look_into(view.scene.services, row, b"")
    assert not [one for one in found.entries if one.lost]
    has.rename(has.with_name("away"))
    found = await folders.look_into(view.scene.services, row, b"")
    assert found.problem is not None
    assert not [one for one in found.entries if one.lost]


async def test_a_file_that_was_changed_at_another_time_may_differ_until_it_was_compared(
    view: View,
) -> None:
    root, store = view.scene.folder("photos"), view.store
    for name in ("edited", "older", "touched", "rewritten"):
        (root / name).write_text("one")
        (store / name).write_text("one")
        os.utime(store / name, (10**9, 10**9))
        later = {"edited": 60, "older": -60, "touched": 60}.get(name, 1)
        os.utime(root / name, (10**9 + later, 10**9 + later))

    async def told() -> list[bool | None]:
        rows, _ = await looking.list_files(view.scene.services, view.row.root, depth=1, limit=99)
        found = {one.path: one.differing for one in rows}
        entries = await folders.look_into(view.scene.services, view.row, b"")
        assert found == {
            e.path.encode(): e.differing for e in entries.entries if not e.is_folder and e.here
        }
        _ = await view.shown()  # the list of all says the same
        return [found[name] for name in (b"edited", b"older", b"touched", b"rewritten")]

    assert await told() == [None, None, None, False]
    top = await looking.tree(view.scene.services, view.row.root, depth=1)
    assert (top["differing"], top["may_differ"]) == (1, 3)
    async with view.scene.services.database.write(SYSTEM) as work:
        async with view.scene.services.database.read() as session:
            place = await open_place(session, view.scene.services, view.row.store_id, "tree")
        for name, same in (("touched", True), ("rewritten", False)):
            found = os.lstat(root / name)
            path = name.encode()
            times = {"mtime_ns": found.st_mtime_ns, "ctime_ns": found.st_ctime_ns}
            at_store = f"{place_name(place)}:{hashlib.sha256(path).hexdigest()[:32]}"
            digests = {"md5": "0" * 32, at_store: f"{10**18} md5 {'0' * 32 if same else '1' * 32}"}
            for kind, digest in digests.items():
                row = TierProofRow(
                    tier_id=view.row.id,
                    device=found.st_dev,
                    inode=found.st_ino,
                    kind=kind,
                    size_bytes=3,
                    digest=digest,
                    used_day=1,
                    **times,
                )
                work.session.add(row)
    assert await told() == [None, None, False, True]


async def test_one_file_is_looked_at_like_a_folder(view: View) -> None:
    assert await view.shown(b"both") == {b"both": "local remote"}
    assert await view.shown(b"deep/er/gone") == {b"deep/er/gone": "remote missing"}
    assert await view.shown(b"deep/\xdf\nodd") == {b"deep/\xdf\nodd": "remote missing"}
    assert await view.shown(b"same") == {b"same/same": "remote missing"}


async def test_quarantine_and_unfinished_transfers_are_not_shown_but_links_are(view: View) -> None:
    root = view.scene.folder("photos")
    _put(root, {f"{folder}/job/x".encode(): b"" for folder in OWN})
    (root / "link").symlink_to("both")
    (view.store / "link.rclonelink").write_text("both")
    shown = await view.shown(depth=0)
    assert shown[b"link"] == "local remote"
    assert not [path for path in shown if b"holdfast" in path]


async def test_a_tree_counts_what_its_folders_hold(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    listed = browsing._listed

    def counted(hub: RcloneHub, place: Place, folder: bytes, depth: int, **more: Any) -> Any:
        asked.append(depth)
        return listed(hub, place, folder, depth, **more)

    monkeypatch.setattr(browsing, "_listed", counted)
    top = await looking.tree(view.scene.services, view.row.root, depth=0)
    assert (top["files"], top["local"], top["missing"], top["differing"]) == (7, 4, 3, 1)
    deep = top["folders"]["deep"]
    assert (deep["path"], deep["files"], deep["missing"]) == ("deep", 3, 2)
    assert deep["folders"]["er"]["entries"][0]["name"] == "gone"
    inner = await looking.tree(view.scene.services, view.row.root + b"/deep/er", depth=0)
    assert (inner["name"], inner["path"], inner["files"]) == ("er", "deep/er", 1)
    flat = await looking.tree(view.scene.services, view.row.root, depth=1)
    told = {name: (one["looked_into"], one["files"]) for name, one in flat["folders"].items()}
    assert told == {"deep": (False, 0), "same": (False, 0)}
    assert asked == [0, 0, 1]  # the store is listed once for each tree
    flat = await looking.tree(view.scene.services, view.row.root + b"/deep", depth=1)
    assert [one["path"] for one in flat["folders"].values()] == ["deep/er"]
    assert flat["looked_into"]
    for path in (b"/both", b"/deep/both"):
        one = await looking.tree(view.scene.services, view.row.root + path, depth=1)
        assert [entry["name"] for entry in one["entries"]] == ["both"]
        assert not one["folders"]


async def test_what_is_too_much_or_elsewhere_or_cannot_be_asked_is_refused(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadRequest):
        await looking.list_files(view.scene.services, b"/etc", depth=0, limit=1)
    monkeypatch.setattr(browsing, "MOST_ENTRIES", 2)
    with pytest.raises(Conflict, match="more than 2 files"):
        await view.shown()
    monkeypatch.undo()
    view.store.rename(view.store.parent / "moved")
    with pytest.raises(RcloneFailed, match="not whole"):
        await view.shown()


async def test_a_symlink_of_a_tier_shows_nothing_of_what_it_leads_to(view: View) -> None:
    root = view.scene.folder("photos")
    outside = view.scene.folder("outside")
    (outside / "secret").write_text("of somebody else")
    (root / "way").symlink_to(outside)
    (root / "deep" / "way").symlink_to(outside.parent)
    for below in (b"way", b"deep/way/outside"):
        shown = await folders.look_into(view.scene.services, view.row, below)
        assert not shown.entries
        assert not here.local_files(view.row.root, below + b"/secret", depth=0).files
    assert [
        one.name
        for one in (await folders.look_into(view.scene.services, view.row, b"deep")).entries
        if one.here
    ] == ["both", "way"]


async def test_a_file_that_vanishes_takes_no_other_out_of_the_list(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = here._told

    def gone(entry: "os.DirEntry[str]") -> browsing.Seen | None:
        if entry.name == "both":
            raise FileNotFoundError(2, "No such file or directory")
        return told(entry)

    monkeypatch.setattr(here, "_told", gone)
    shown = await view.shown(depth=1)
    assert (shown[b"both"], shown[b"differs"]) == ("remote missing", "local remote differing")
    assert shown[b"only"] == "local"


async def test_what_cannot_be_read_here_is_not_told_as_missing(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = holding.folder

    def refused(root: int, path: bytes) -> Any:
        if path == b"deep":
            raise PermissionError(13, "Permission denied")
        return opened(root, path)

    monkeypatch.setattr(here, "folder", refused)
    shown = await view.shown(twice=False)
    assert shown[b"deep/both"] == shown[b"deep/er/gone"] == "remote"
    top = await looking.tree(view.scene.services, view.row.root, depth=0)
    assert top["unreadable"] == [{"path": "deep", "error": "Permission denied"}]
    assert (top["folders"]["deep"]["missing"], top["missing"]) == (0, 1)
    found = await folders.look_into(view.scene.services, view.row, b"deep")
    assert found.unreadable == "deep: Permission denied"
    assert [(one.name, one.here, one.missing) for one in found.entries] == [
        ("er", None, False),
        ("both", None, False),
        ("\u201bDF\u240aodd", None, False),
    ]


async def test_a_list_of_all_says_of_nothing_hidden_that_it_is_missing(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (b"deep/lost", b"lost"):
        await view.scene.journal(view.row.id, path, FileState.FROZEN)

    async def half(*given: Any, **more: Any) -> int:
        shutil.rmtree(view.scene.folder("photos") / "deep")
        await list_present(*given, **more)
        (view.scene.folder("photos") / "deep").symlink_to("deep")  # nobody can look into it
        return 1

    monkeypatch.setattr(looking_at_all, "list_present", half)
    monkeypatch.setattr(looking_at_all, "BLOCK_FILES", 2)
    blocks = [block async for block in all_files(view.scene.services, view.row.root)]
    assert max(map(len, blocks)) == 2
    told = {one.path: (one.local, one.missing, one.lost) for block in blocks for one in block}
    assert told[b"deep/both"] == told[b"deep/er/gone"] == (None, False, False)
    assert told[b"deep/lost"] == (None, False, False)
    assert told[b"lost"] == (False, False, True)
    assert told[b"same/same"] == (False, True, False)
    assert not list((view.scene.services.settings.data_dir / "tiers" / "work").iterdir())


async def test_a_tier_whose_folder_is_gone_is_not_shown_as_empty(view: View) -> None:
    root = view.scene.folder("photos")
    root.rename(root.with_name("unmounted"))
    with pytest.raises(Unavailable, match="is not there"):
        await view.shown()
    with pytest.raises(Unavailable, match="is not there"):
        await folders.look_into(view.scene.services, view.row, b"")

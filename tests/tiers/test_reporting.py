"""Report: bytes by age, folder and owner, and what freezing would save."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.errors import NotFound
from holdfast.tiers import reporting
from holdfast.tiers.model import PathRule, Policy
from holdfast.tiers.reporting import report
from tests.tiers.trees import Tree, a_database, a_local_place, a_tree, at, put

pytestmark = pytest.mark.real

DAY = 86_400


@pytest.fixture
async def tree(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Tree]:
    place = a_local_place(tmp_path / "store")
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_tree(database, tmp_path, place) as made,
    ):
        yield made


def aged(tree: Tree, days: dict[bytes, float], *, size: int = 10) -> None:
    """Files of this size that were last read so long ago, and changed a day before that."""
    put(tree.root, dict.fromkeys(days, b"x" * size))
    for name, age in days.items():
        read = now().timestamp() - age * DAY
        os.utime(at(tree.root, name), (read, read - DAY))


async def test_bytes_by_age_and_what_would_be_saved(tree: Tree) -> None:
    ages = {b"new": 1, b"month": 31, b"season": 95, b"half": 200, b"year": 400}
    aged(tree, {b"a/" + name: age for name, age in ages.items()})
    found = await report(tree.run())
    assert (found["files"], found["bytes"]) == (5, 50)
    assert found["unread_bytes"] == {"30": 40, "90": 30, "180": 20, "365": 10}
    saved = [(one["days"], one["files"], one["bytes"]) for one in found["would_save"]]
    assert saved == [(30, 4, 40), (90, 3, 30), (180, 2, 20), (365, 1, 10)]
    bars = {bar["from_days"]: bar["bytes"] for bar in found["histogram"] if bar["bytes"]}
    assert bars == {1: 10, 30: 10, 90: 10, 180: 10, 365: 10}
    assert sum(bar["files"] for bar in found["histogram"]) == 5


async def test_what_would_stay_anyhow_is_not_counted_as_saved(tree: Tree) -> None:
    aged(tree, {b"pin/f": 400, b"f.tmp": 400, b"one": 400, b"leaves": 400, b"pin/not": 400})
    aged(tree, {b"both": 400, b"elsewhere": 400})
    aged(tree, {b"small": 400}, size=1)
    (tree.root / "two").hardlink_to(tree.root / "one")
    (tree.root / "pin" / "three").hardlink_to(tree.root / "both")
    (tree.root.parent / "outside").hardlink_to(tree.root / "elsewhere")
    (tree.root / "link").symlink_to("one")
    first = PathRule(pattern="/pin/not", policy=Policy.FREEZE_AFTER, age_days=1)
    rules = (first, PathRule(pattern="/pin/**", policy=Policy.PIN))
    found = await report(tree.run(filters=("- *.tmp",), min_size_bytes=5, rules=rules))
    saved = [(one["files"], one["bytes"]) for one in found["would_save"]]
    assert saved == [(4, 30)] * 4
    assert (found["files"], found["bytes"]) == (10, 71)
    assert {why: one["files"] for why, one in found["stays"].items()} == {
        "pinned": 2,
        "excluded": 1,
        "smaller than the minimum": 1,
        "has links outside what is frozen": 2,
        "not a regular file": 1,
    }


async def test_folders_and_the_treemap_add_up(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "MOST_CHILDREN", 1)
    aged(tree, {b"a/b/c/deep": 100, b"a/b/f": 1, b"a/f": 1, b"d/f": 1, b"e/f": 1, b"top": 1})
    found = await report(tree.run())
    assert {one["path"]: one["bytes"] for one in found["folders"]} == {
        "": 10,
        "a": 10,
        "a/b": 20,
        "d": 10,
        "e": 10,
    }
    top = found["treemap"]
    assert (top["name"], top["bytes"]) == ("", 60)
    assert [(one["name"], one["bytes"]) for one in top["children"]] == [("a", 30), ("…", 20)]
    assert top["children"][0]["children"][0]["name"] == "b"
    assert top["children"][0]["unread_bytes"]["90"] == 10


async def test_many_folders_are_counted_in_those_above(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "MOST_FOLDERS", 2)
    aged(tree, {b"%d/f" % number: 1 for number in range(5)})
    monkeypatch.setattr(reporting, "MOST_TOLD", 2)
    found = await report(tree.run())
    assert (len(found["folders"]), found["folders_left_out"]) == (2, 1)
    monkeypatch.setattr(reporting, "MOST_TOLD", 9)
    found = await report(tree.run())
    assert len(found["folders"]) == 3
    assert sum(one["bytes"] for one in found["folders"]) == 50


async def test_a_folder_is_reported_by_itself_and_owners_by_name(tree: Tree) -> None:
    aged(tree, {b"a/x/f": 1, b"b/f": 1})
    found = await report(tree.run(), below=b"a", depth=1)
    assert (found["path"], found["files"]) == ("a", 1)
    assert [one["path"] for one in found["folders"]] == ["a/x"]
    assert [(one["id"], one["files"]) for one in found["owners"]] == [(os.geteuid(), 1)]
    assert (await report(tree.run(), below=b"b/f"))["bytes"] == 10
    with pytest.raises(NotFound, match="'c' is not here"):
        await report(tree.run(), below=b"c")


async def test_odd_names_are_told_as_text(tree: Tree) -> None:
    aged(tree, {b"bad\xdf\n/f": 1})
    found = await report(tree.run())
    assert [one["path"] for one in found["folders"]] == ["bad\u201bDF␊"]

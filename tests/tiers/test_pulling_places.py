"""What is fetched gets its place only where nothing is, and never where a symlink leads."""

import errno
import filecmp
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import listing, pull_process, pulling
from holdfast.tiers.inheriting import ACCESS_ACL, DEFAULT_ACL
from holdfast.tiers.listing import ListingTotals
from holdfast.tiers.merge import rests_of
from holdfast.tiers.model import STAGING, Skip
from tests.servers.disks import small_disk
from tests.tiers.trees import Tree, put

pytestmark = pytest.mark.real

MEANWHILE = f"{Skip.EXISTS}: something came there meanwhile"


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Does something while files are fetched: after they were planned, before they are placed."""

    def arrange(act: Callable[[], object]) -> None:
        async def fetch(*given: Any, **named: Any) -> pull_process.Ended:
            act()
            return await pull_process.fetch(*given, **named)

        monkeypatch.setattr(pulling, "fetch", fetch)

    return arrange


def reasons(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {line["path"]: line["reason"] for line in lines if line["what"] == "stays"}


async def test_what_came_meanwhile_is_kept_as_it_is(
    tree: Tree, store: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    put(store, {b"d/x": b"theirs", b"d/y": b"1", b"l.rclonelink": b"d/y", b"f/g": b"2"})

    def somebody_writes() -> None:
        put(tree.root, {b"d/x": b"mine!!", b"l": b"mine", b"f": b"a file"})
        (tree.root / "d/x").chmod(0o640)

    meanwhile(somebody_writes)
    outcome, lines = await tree.pulled(gid=os.getegid() + 1 if os.geteuid() == 0 else None)
    assert outcome.files == 1
    assert tree.here() == [b"d", b"d/x", b"d/y", b"f", b"l"]
    assert [(tree.root / name).read_bytes() for name in ("d/x", "l", "f")] == [
        b"mine!!",
        b"mine",
        b"a file",
    ]
    assert (tree.root / "d/x").stat().st_gid == os.getegid()
    assert await tree.stamped() == {b"d/y"}
    assert reasons(lines) == {
        "d/x": MEANWHILE,
        "l": MEANWHILE,
        "f/g": f"{Skip.EXISTS}: the way to it is no folder any more",
    }


async def test_no_file_goes_where_a_symlink_leads(
    tree: Tree, store: Path, tmp_path: Path, meanwhile: Callable[[Callable[[], object]], None]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = bytes(outside)
    put(store, {b"a.rclonelink": target, b"a/job": b"1", b"b/job": b"2", b"c/job": b"3"})
    (tree.root / "b").mkdir()

    def somebody_swaps_folders() -> None:
        (tree.root / "b").rename(tree.root / "was-b")
        (tree.root / "b").symlink_to(outside)
        (tree.root / STAGING).rename(tree.root / "was-ours")
        (tree.root / STAGING).symlink_to(outside)

    meanwhile(somebody_swaps_folders)
    with pytest.raises(Conflict, match="is not ours alone"):
        await tree.pulled()
    assert list(outside.iterdir()) == []
    (tree.root / STAGING).unlink()
    (tree.root / "was-ours").rename(tree.root / STAGING)
    meanwhile(lambda: None)
    outcome, lines = await tree.pulled()
    assert (outcome.files, list(outside.iterdir())) == (2, [])
    assert (tree.root / "a/job").read_bytes() == b"1"
    assert reasons(lines)["a"] == MEANWHILE


async def test_a_file_and_a_symlink_of_one_name_are_both_told(tree: Tree, store: Path) -> None:
    put(store, {b"a": b"content", b"a.rclonelink": b"elsewhere"})
    outcome, lines = await tree.pulled()
    assert (outcome.files, (tree.root / "a").read_bytes()) == (1, b"content")
    assert [(line["what"], line["bytes"]) for line in lines] == [("pulled", 7), ("stays", 9)]
    assert reasons(lines) == {"a": MEANWHILE}


async def test_files_get_the_group_of_their_folder_and_reach_other_disks(
    tree: Tree, store: Path
) -> None:
    put(store, {b"other/deep/f": b"12345", b"other/l.rclonelink": b"deep/f"})
    with small_disk(tree.root / "other", size_mib=1):
        if os.geteuid() == 0:
            os.chown(tree.root / "other", -1, 23456)
            (tree.root / "other").chmod(0o2775)
        outcome, _ = await tree.pulled()
        assert (outcome.files, outcome.skipped) == (2, {})
        assert (tree.root / "other/l").read_bytes() == b"12345"
        placed, given = (tree.root / "other/deep/f").stat(), (store / "other/deep/f").stat()
        assert (placed.st_gid, placed.st_mtime_ns) == (
            (tree.root / "other").stat().st_gid,
            given.st_mtime_ns,
        )
        assert not (tree.root / STAGING).exists()


async def test_what_a_pull_left_that_is_over_is_removed(tree: Tree, store: Path) -> None:
    put(store, {b"a": b"1"})
    put(tree.root / STAGING, {b"dead/f/g": b"1", b"living/f": b"1"})
    (tree.root / STAGING).chmod(0o700)
    async with tree.database.write(SYSTEM) as work:
        job = JobRow(
            id="living",
            kind="tiers.pull",
            title="",
            args="{}",
            locks="[]",
            priority=100,
            created_by="t",
            created_at=now(),
        )
        work.session.add(job)
    await tree.pulled()
    assert tree.here() == [
        b".holdfast-pull",
        b".holdfast-pull/living",
        b".holdfast-pull/living/f",
        b"a",
    ]


async def test_symlinks_come_and_take_no_place(tree: Tree, store: Path, tmp_path: Path) -> None:
    links = {b"l.rclonelink": b"a/b", b"file.rclonelink": b"a", b"gone.rclonelink": b"nowhere"}
    put(store, {**links, b"link": b"content", b"out/secret": b"x"})
    put(tree.root, {b"file": b"mine"})
    (tree.root / "link").symlink_to("mine")
    (tmp_path / "elsewhere").mkdir()
    (tree.root / "out").symlink_to(tmp_path / "elsewhere")
    outcome, _ = await tree.pulled()
    assert (tree.root / "l").readlink() == Path("a/b")
    assert (tree.root / "gone").readlink() == Path("nowhere")
    assert (tree.root / "file").read_bytes() == b"mine"
    assert (tree.root / "link").readlink() == Path("mine")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert outcome.files == 2
    assert outcome.skipped[Skip.EXISTS][0] == 3
    assert await tree.stamped() == {b"l", b"gone"}
    again, _ = await tree.pulled(b"l")
    assert (again.files, again.present_files) == (0, 1)


async def test_a_folder_in_the_way_is_told(tree: Tree, store: Path) -> None:
    put(store, {b"a": b"file", b"b/c": b"1", b"d": b"2"})
    put(tree.root, {b"a/x": b"", b"b": b"mine"})
    outcome, lines = await tree.pulled()
    assert outcome.files == 1
    assert [line["reason"] for line in lines if line["what"] == "stays"] == [
        f"{Skip.EXISTS}: a folder is in the way",
        f"{Skip.EXISTS}: a file is in the way",
    ]


async def test_names_that_cannot_be_files_here_are_told(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = b"x" * 200 + b"/" + b"y" * 256
    put(store, {b"a": b"1"})

    async def list_place(*given: Any, **named: Any) -> ListingTotals:
        totals = await listing.list_place(*given, **named)
        with given[3].open("ab") as keys, rests_of(given[3]).open("ab") as rests:
            keys.write(long + b"//3\0")
            rests.write(b"  \0")
        return replace(totals, left_out=3, left_names=((b"a//b", 5), (b"twice", 6)))

    monkeypatch.setattr(pulling, "list_place", list_place)
    outcome, lines = await tree.pulled()
    assert (outcome.files, outcome.skipped) == (1, {Skip.NO_NAME: (4, 14)})
    assert reasons(lines) == {
        "a//b": Skip.NO_NAME,
        "twice": Skip.NO_NAME,
        long.decode(): f"{Skip.NO_NAME}: too long",
    }


async def test_a_folder_that_may_not_be_looked_into_is_told_and_the_rest_comes(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {b"locked/in/a": b"1", b"open/a": b"2"})
    (tree.root / "locked/in").mkdir(parents=True)
    locked, real = bytes(tree.root / "locked") + b"/", os.lstat

    def lstat(path: Any) -> os.stat_result:
        if isinstance(path, bytes) and path.startswith(locked):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    outcome, lines = await tree.pulled()
    assert (outcome.files, outcome.skipped) == (1, {Skip.NOT_PERMITTED: (1, 1)})
    assert reasons(lines) == {"locked/in/a": f"{Skip.NOT_PERMITTED}: Permission denied"}


async def test_a_file_with_holes_has_the_same_bytes(tree: Tree, store: Path) -> None:
    with (store / "image").open("wb") as image:
        image.seek(40 * 1024 * 1024)
        image.write(b"in the middle")
        image.truncate(80 * 1024 * 1024)
    outcome, _ = await tree.pulled()
    assert (outcome.files, outcome.size_bytes) == (1, 80 * 1024 * 1024)
    assert filecmp.cmp(store / "image", tree.root / "image", shallow=False)


def an_access_list(*entries: tuple[int, int, int]) -> bytes:
    """As the kernel takes it: of each entry its tag, its rights, and whom it is of."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


async def test_files_get_the_access_list_of_their_folder_and_no_other(
    tree: Tree, store: Path
) -> None:
    nobody, someone = 0xFFFFFFFF, 12345
    owner, user, group, mask, others = 0x01, 0x02, 0x04, 0x10, 0x20
    rights = [(owner, 7, nobody), (user, 7, someone), (group, 5, nobody)]
    default = an_access_list(*rights, (mask, 7, nobody), (others, 0, nobody))
    put(store, {b"plain/f": b"1", b"shared/f": b"2", b"shared/new/f": b"3"})
    (tree.root / "plain").mkdir()
    (tree.root / "shared").mkdir()
    try:
        for folder in (tree.root, tree.root / "shared"):
            os.setxattr(folder, DEFAULT_ACL, default)
    except OSError as error:
        pytest.skip(f"no access lists here: {error}")
    (tree.root / "made by hand").touch()
    expected = os.getxattr(tree.root / "made by hand", ACCESS_ACL)
    (tree.root / "made by hand").unlink()
    await tree.pulled()
    for name in ("shared/f", "shared/new/f"):
        assert os.getxattr(tree.root / name, ACCESS_ACL) == expected
    assert ACCESS_ACL not in os.listxattr(tree.root / "plain/f")

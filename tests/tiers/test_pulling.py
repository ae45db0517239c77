"""Pull from a folder: what is missing comes, what is there stays, and nothing is half there."""

import asyncio
import errno
import json
import os
import signal
import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict, NotFound, Unavailable
from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import pull_process, pulling
from holdfast.tiers.arrivals import DETAILS, PLACING
from holdfast.tiers.freezing import freeze
from holdfast.tiers.model import STAGING, Proof, Skip
from holdfast.tiers.planning import plan_freeze
from holdfast.tiers.pull_plan import FETCH, Wanted
from holdfast.tiers.pulling import pull
from holdfast.tiers.tables import TierPulledRow, TierRunRow
from holdfast.tiers.verifying import verify
from tests.servers.disks import small_disk
from tests.tiers.trees import Tree, a_local_place, a_tree, at, put, told

pytestmark = pytest.mark.real

KIB = 1024
SLOW = "200K"
LIMIT_SECONDS = 60.0
ODD_NAMES = [
    b"new\nline",
    b'it\'s "odd"',
    b"-rf",
    b"bad\xdfbyte",
    b"lit\xe2\x90\x8ax",
    b"$(id);`id`",
]


def partial_files(tree: Tree) -> list[bytes]:
    return [name for name in tree.here() if name.endswith(b".partial")]


async def until_it_copies(tree: Tree) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not partial_files(tree):
            await asyncio.sleep(0.01)


def at_stage(tree: Tree, name: bytes, job_id: str = "job-1") -> Path:
    """Where a pull has a file until it gets its place."""
    return at(tree.root / STAGING / job_id, name)


async def test_only_what_came_is_stamped(database: Database, store: Path, tmp_path: Path) -> None:
    deep = b"/".join(
        urlsafe_b64encode(os.urandom(180)) for _ in range(14)
    )  # more than an index takes
    put(store, {b"a/b": b"hello", b"c": b"x", deep: b"deep"})
    async with a_tree(database, tmp_path, a_local_place(store)) as tree:
        put(tree.root, {b"c": b"x"})
        os.utime(tree.root / "c", ns=(10**18, (store / "c").stat().st_mtime_ns))
        outcome, lines = await tree.pulled()
        assert (outcome.files, outcome.size_bytes, outcome.present_files) == (2, 9, 1)
        assert {line["path"]: line["what"] for line in lines} == {
            "a/b": "pulled",
            deep.decode(): "pulled",
        }
        assert await tree.stamped() == {b"a/b", deep}
        assert (tree.root / "c").stat().st_atime_ns == 10**18


async def pulled_at(tree: Tree) -> datetime:
    async with tree.database.read() as session:
        return (await session.scalars(select(TierPulledRow.pulled_at))).one()


async def test_a_second_pull_does_nothing(database: Database, store: Path, tmp_path: Path) -> None:
    put(store, {b"a": b"hello"})
    async with a_tree(database, tmp_path, a_local_place(store)) as tree:
        await tree.pulled()
        async with database.write(SYSTEM) as work:
            long_ago = tree.row.created_at - timedelta(days=9)
            await work.session.execute(update(TierPulledRow).values(pulled_at=long_ago))
        outcome, lines = await tree.pulled()
        assert (outcome.files, lines) == (0, [])
        assert await pulled_at(tree) == long_ago
        (tree.root / "a").unlink()
        await tree.pulled()
        assert await pulled_at(tree) > long_ago


async def test_what_differs_is_kept_and_told(tree: Tree, store: Path) -> None:
    put(store, {b"short": b"long content", b"edited": b"old", b"same": b"x"})
    put(tree.root, {b"short": b"cut", b"edited": b"new", b"same": b"x"})
    for folder, edited in ((store, 1000), (tree.root, 2000)):
        os.utime(folder / "edited", (edited, edited))
        os.utime(folder / "same", (3000, 3000))
    outcome, lines = await tree.pulled()
    assert (tree.root / "short").read_bytes() == b"cut"
    assert (tree.root / "edited").read_bytes() == b"new"
    assert outcome.skipped == {Skip.DIFFERS: (2, 6)}
    assert {line["path"]: line["reason"] for line in lines} == {
        "edited": f"{Skip.DIFFERS}: it was changed later than on the store",
        "short": f"{Skip.DIFFERS}: 3 bytes here, 12 on the store",
    }


async def test_what_is_known_of_contents_decides(tree: Tree, store: Path) -> None:
    for folder in (store, tree.root):
        put(folder, {b"touched": b"1", b"other": b"2"})
        os.utime(folder / "other", (3000, 3000))
    os.utime(tree.root / "touched", (2000, 2000))
    (store / "other").write_bytes(b"3")
    os.utime(store / "other", (3000, 3000))
    outcome, _ = await tree.pulled()
    assert outcome.skipped == {Skip.DIFFERS: (1, 1)}
    await verify(tree.run(proof=Proof.COMPARE), [b""])
    outcome, lines = await tree.pulled()
    assert [(line["path"], line["reason"]) for line in lines] == [
        ("other", f"{Skip.DIFFERS}: its content is another one")
    ]
    assert outcome.present_files == 1


async def test_a_path_without_anything_on_the_store_is_an_error(tree: Tree, store: Path) -> None:
    put(store, {b"there": b""})
    with pytest.raises(NotFound, match="nothing is at or below 'ther' on the store 'disk'"):
        await tree.pulled(b"ther")


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_tier_that_is_not_mounted_says_so(tree: Tree, store: Path, dry_run: bool) -> None:
    put(store, {b"a": b"1"})
    tree.root.rmdir()
    with pytest.raises(Unavailable, match="cannot be used: No such file or directory"):
        await tree.pulled(dry_run=dry_run)


async def test_one_file_is_pulled_by_its_name(tree: Tree, store: Path) -> None:
    put(store, {b"a/x": b"1", b"a/x.tmp": b"2", b"a/y": b"3"})
    outcome, _ = await tree.pulled(b"a/x")
    assert tree.here() == [b"a", b"a/x"]
    outcome, _ = await tree.pulled(b"a/x.tmp", filters=("- *.tmp",))
    assert (outcome.files, outcome.skipped) == (0, {Skip.EXCLUDED: (1, 1)})
    _, lines = await tree.pulled(b"a/x.tmp", filters=("- *.tmp",), dry_run=True)
    assert [(line["path"], line["reason"]) for line in lines] == [("a/x.tmp", "excluded")]


async def test_filters_and_several_paths(tree: Tree, store: Path) -> None:
    put(store, {b"a/x": b"1", b"a/x.tmp": b"2", b"b/y": b"3", b"c/z": b"4"})
    outcome, _ = await tree.pulled(b"a", b"b", filters=("- *.tmp",))
    assert tree.here() == [b"a", b"a/x", b"b", b"b/y"]
    assert outcome.listed_files == 3


async def test_a_dry_run_tells_and_does_nothing(tree: Tree, store: Path) -> None:
    put(store, {b"a": b"12345", b"b": b"1"})
    put(tree.root, {b"b": b"22"})
    async with tree.database.write(SYSTEM) as work:
        moment = tree.row.created_at
        row = TierRunRow(
            job_id="earlier", tier_id=tree.row.id, action="pull", asked="{}", created_at=moment
        )
        row.ended_at, row.outcome = moment, '{"files": 1, "bytes": 10, "seconds": 4.0}'
        work.session.add(row)
    outcome, lines = await tree.pulled(dry_run=True)
    assert (outcome.files, outcome.size_bytes, outcome.estimate_seconds) == (1, 5, 2.0)
    assert [line["what"] for line in lines] == ["would be pulled", "stays"]
    assert tree.here() == [b"b"]


async def test_odd_names_come_as_they_are(tree: Tree, store: Path) -> None:
    put(store, {name + b"/" + name: name for name in ODD_NAMES})
    outcome, _ = await tree.pulled(*ODD_NAMES)
    assert outcome.files == len(ODD_NAMES)
    for name in ODD_NAMES:
        assert at(tree.root, name + b"/" + name).read_bytes() == name
    assert await tree.stamped() == {name + b"/" + name for name in ODD_NAMES}


async def test_nothing_is_looked_for_where_a_symlink_leads(
    tree: Tree, store: Path, tmp_path: Path
) -> None:
    put(store, {b"a/b/f": b"1"})
    put(tmp_path / "elsewhere", {b"b/g": b""})
    (tree.root / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Conflict, match="no folder is on the way to 'a/b'"):
        await tree.pulled(b"a/b")


async def test_empty_folders_are_made(tree: Tree, store: Path, tmp_path: Path) -> None:
    for name in (b"e/mp/ty", b"cache/x", b"new\nline", b".holdfast-quarantine/j", b"out/in"):
        at(store, name).mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tree.root / "out").symlink_to(tmp_path / "elsewhere")
    outcome, lines = await tree.pulled(filters=("- /cache/**",), gid=os.getegid())
    assert (outcome.files, outcome.folders_made, lines) == (0, 4, [])
    assert tree.here() == [b"e", b"e/mp", b"e/mp/ty", b"new\nline", b"out"]
    assert not list((tmp_path / "elsewhere").iterdir())
    outcome, _ = await tree.pulled(b"e/mp")
    assert outcome.folders_made == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_only_what_came_gets_the_owner(tree: Tree, store: Path) -> None:
    put(store, {b"a/new/f": b"1", b"a/old": b"2", b"l.rclonelink": b"a"})
    put(tree.root, {b"a/old": b"2"})
    os.utime(tree.root / "a/old", ns=(0, (store / "a/old").stat().st_mtime_ns))
    await tree.pulled(uid=12345, gid=23456)
    owners = {name: at(tree.root, name).lstat() for name in tree.here()}
    given = {
        name for name, found in owners.items() if (found.st_uid, found.st_gid) == (12345, 23456)
    }
    assert given == {b"a/new", b"a/new/f", b"l"}


async def test_who_may_give_no_file_away_fetches_none(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_file: int, _uid: int, _gid: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "fchown", refuse)  # as for anybody but root
    put(store, {b"a": b"1"})
    with pytest.raises(Conflict, match="given to user 12345: Operation not permitted"):
        await tree.pulled(uid=12345)
    assert list(tree.root.iterdir()) == []
    assert (await tree.pulled())[0].files == 1


async def test_a_cancel_leaves_nothing_half(tree: Tree, store: Path) -> None:
    put(store, {b"a-small": b"1", b"big": b"x" * 2000 * KIB})
    run = tree.run(bandwidth=SLOW)
    task = asyncio.create_task(pull(run, [b""]))
    await until_it_copies(tree)
    async with asyncio.timeout(LIMIT_SECONDS):
        while not at_stage(tree, b"a-small").exists() or run.ctx._progress is None:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tree.here() == [b"a-small"]
    assert not list(transfers())
    progress = run.ctx._progress
    assert progress is not None
    assert (progress.total, progress.unit) == (2000 * KIB + 1, "bytes")
    assert progress.text.endswith("of 2 files")
    assert await tree.stamped() == {b"a-small"}
    assert [line["path"] for line in told(run)] == ["a-small"]


def transfers() -> Iterator[int]:
    """Our running rclone copies."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    for pid in children:
        if b"\0copy\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            yield int(pid)


async def test_a_killed_rclone_is_followed_by_another(tree: Tree, store: Path) -> None:
    put(store, {b"big": b"x" * 1000 * KIB})
    task = asyncio.create_task(tree.pulled(bandwidth=SLOW))
    await until_it_copies(tree)
    os.kill(next(transfers()), signal.SIGKILL)
    outcome, _ = await asyncio.wait_for(task, LIMIT_SECONDS)
    assert outcome.files == 1
    assert tree.here() == [b"big"]


async def test_rclone_is_ended_when_the_store_is_away_and_nothing_comes(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it would try each file that is left, for hours."""
    words = "connection refused, failed to get rate limit token, retry quota exceeded"  # as of S3
    error = json.dumps({"level": "error", "msg": words, "object": "a"})
    stats = json.dumps({"level": "notice", "stats": {"bytes": 0}})
    script = f"for line in '{stats}' '{error}' '{stats}'; do echo \"$line\" >&2; done; sleep 300"
    monkeypatch.setattr(pull_process, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(pull_process, "_words", lambda *_: ["sh", "-c", script])
    put(store, {b"a": b"1"})
    with pytest.raises(RcloneFailed, match="nothing listens at its address"):
        await asyncio.wait_for(tree.pulled(), LIMIT_SECONDS)


async def test_what_a_killed_server_left_is_finished(tree: Tree, store: Path) -> None:
    """One file has its place and nobody wrote it down, one is fetched, one is not whole."""
    files = {b"placed": b"1", b"fetched": b"22", b"half": b"333"}
    put(store, files)
    put(tree.root, {b"placed": b"1"})
    moment = (store / "placed").stat().st_mtime_ns
    os.utime(tree.root / "placed", ns=(0, moment))
    run = tree.run()
    at_stage(tree, b"").mkdir(parents=True)
    for folder in (at_stage(tree, b""), tree.root / STAGING):
        folder.chmod(0o700)
    put(at_stage(tree, b""), {b"fetched": b"22", b"half.0123abcd.partial": b"3"})
    for number, wanted in enumerate((files, {}), start=1):
        plan = run.work / f"plan-{number}"
        plan.mkdir()
        records = [Wanted(name, len(content), name) for name, content in wanted.items()]
        (plan / FETCH).write_bytes(b"".join(one.record() for one in records))
    plan = run.work / "plan-1"
    told_twice = '{"path": "placed", "bytes": 1, "what": "pulled", "reason": ""}\n'
    (plan / DETAILS).write_text(told_twice)
    inodes = [(name, (tree.root / name).lstat().st_ino) for name in ("placed", ".")]
    waiting = [[name.replace(".", "fetched"), 1, inode] for name, inode in inodes]
    (plan / PLACING).write_text(json.dumps({"details": 0, "files": waiting}))
    outcome = await pull(tree.run(again=True), [b""])
    assert (outcome.files, outcome.size_bytes) == (3, 6)
    assert tree.here() == sorted(files)
    assert await tree.stamped() == set(files)
    assert sorted(line["path"] for line in told(run)) == ["fetched", "half", "placed"]
    await pull(tree.run(again=True), [b""])
    assert tree.here() == sorted(files)


async def test_what_is_in_quarantine_is_moved_back(
    database: Database, store: Path, tmp_path: Path
) -> None:
    put(store, {b"a/f": b"1", b"a/g": b"22", b"ab": b"3", b"new": b"4"})
    async with a_tree(database, tmp_path, a_local_place(store)) as tree:
        put(tree.root, {b"a/f": b"1", b"a/g": b"22", b"ab": b"3"})
        for name in (b"a/f", b"a/g", b"ab"):
            os.utime(at(tree.root, name), (10**9, 10**9))
            os.utime(at(store, name), (10**9, 10**9))
        inode = (tree.root / "a/f").stat().st_ino
        freezing = tree.run(proof=Proof.COMPARE, freezable=True)
        await freeze(freezing, await plan_freeze(freezing, [b""]))
        assert not (tree.root / "a/f").exists()
        put(tree.root, {b"a/g": b"mine"})
        outcome, lines = await tree.pulled(b"a")
        assert (outcome.files, outcome.restored_files) == (0, 1)
        assert (tree.root / "a/f").stat().st_ino == inode
        assert (tree.root / "a/g").read_bytes() == b"mine"
        assert [(line["path"], line["what"]) for line in lines] == [
            ("a/f", "restored"),
            ("a/g", "stays in quarantine"),
            ("a/g", "stays"),
        ]
        assert await tree.stamped() == {b"a/f"}
        outcome, _ = await tree.pulled()
        assert (outcome.files, outcome.restored_files) == (1, 1)


@contextmanager
def unchangeable(folder: Path) -> Iterator[None]:
    """A folder in which even root makes nothing."""
    made = subprocess.run(["chattr", "+i", folder], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("files cannot be made unchangeable here")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


async def test_one_forbidden_file_is_skipped(tree: Tree, store: Path) -> None:
    put(store, {b"locked/a": b"1", b"open/a": b"2"})
    (tree.root / "locked").mkdir()
    with unchangeable(tree.root / "locked"):
        outcome, lines = await tree.pulled()
    assert (outcome.files, outcome.skipped) == (1, {Skip.NOT_PERMITTED: (1, 1)})
    assert "its folder cannot be written to" in lines[-1]["reason"]


async def test_a_full_disk_is_seen_before(tree: Tree, store: Path) -> None:
    put(store, {b"big": b"x" * 3000 * KIB})
    with small_disk(tree.root, size_mib=2):
        with pytest.raises(Conflict, match="no room: 3072000 bytes are needed"):
            await tree.pulled()
        assert tree.here() == []


async def test_a_disk_that_fills_up_ends_it(
    tree: Tree, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "RESERVE_SHARE", -10.0)
    put(store, dict.fromkeys((b"a", b"b", b"c", b"d"), b"x" * 800 * KIB))
    with small_disk(tree.root, size_mib=2):
        with pytest.raises(Conflict, match="no room: 2 files are left to fetch"):
            await tree.pulled()
        assert len(tree.here()) == 2
        assert await tree.stamped() == set(tree.here())

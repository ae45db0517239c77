"""What a scan tells of a real tree, by find and without it."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.kernel.errors import Invalid, NotFound, Unavailable
from holdfast.tiers import scan as module
from holdfast.tiers.merge import Count
from holdfast.tiers.model import OWN, Skip
from holdfast.tiers.scan import ScanTotals, read_candidates, scan

SECOND = 1_000_000_000
NOW = time.time_ns()
COLD = NOW - 100 * 86_400 * SECOND
LIMIT = NOW - 50 * 86_400 * SECOND
ODD = [b"new\nline", b"-dash", b"gro\xdf", b"%d\\n%%", b"'quo\"te", b" sp ace ", b"\x01\x7f"]

pytestmark = pytest.mark.real


def put(path: Path, content: bytes = b"", *, atime_ns: int = COLD, mtime_ns: int = COLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(atime_ns, mtime_ns))
    return path


@pytest.fixture(params=["find", "python"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    known = module._gnu_find()
    known[:] = [request.param == "find"]
    yield request.param
    known.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    found = tmp_path / "tree %P"
    found.mkdir()
    return found


Scanned = tuple[ScanTotals, list[bytes]]


async def scanned(
    root: Path, below: bytes = b"", *, min_size: int = 0, everything: bool = False
) -> Scanned:
    to = root.parent / "work" / "scan"
    whole = os.fsencode(root)
    totals = await scan(whole, below, LIMIT, min_size=min_size, to=to, everything=everything)
    paths = [candidate.path for candidate in read_candidates(to, whole)]
    assert totals.candidates.files == len(paths)
    assert {entry.name for entry in to.parent.iterdir()} <= {"scan", "scan.rest"}
    return totals, paths


async def test_what_was_neither_read_nor_changed_is_a_candidate(root: Path) -> None:
    put(root / "cold", b"abc")
    put(root / "read", b"abcd", atime_ns=NOW)
    put(root / "edited", b"abcde", mtime_ns=NOW)
    put(root / "a" / "b" / "cold", b"x")
    totals, paths = await scanned(root)
    assert paths == [b"a/b/cold", b"cold"]
    assert totals.candidates == Count(2, 4)
    assert totals.skipped == {Skip.READ_RECENTLY: Count(2, 9)}
    assert totals.seen == Count(4, 13)


async def test_the_limit_itself_is_not_cold(root: Path) -> None:
    put(root / "before", atime_ns=LIMIT - 1, mtime_ns=LIMIT - 1)
    put(root / "read at", atime_ns=LIMIT)
    put(root / "changed at", mtime_ns=LIMIT)
    assert (await scanned(root))[1] == [b"before"]


async def test_times_before_1970_are_older_than_others(root: Path) -> None:
    file = put(root / "old", atime_ns=-1_500_000_000, mtime_ns=-1_500_000_000)
    to = root.parent / "work" / "scan"
    for limit, cold in ((-1_499_999_999, 1), (-1_500_000_000, 0), (0, 1)):
        totals = await scan(os.fsencode(root), b"", limit, min_size=0, to=to, details=True)
        assert totals.candidates.files == cold
    assert next(read_candidates(to, b"/")).mtime_ns == file.stat().st_mtime_ns == -1_500_000_000


async def test_small_files_are_counted(root: Path) -> None:
    put(root / "nine", b"123456789")
    put(root / "ten", b"1234567890")
    totals, paths = await scanned(root, min_size=10)
    assert paths == [b"ten"]
    assert totals.skipped == {Skip.TOO_SMALL: Count(1, 9)}


async def test_what_is_no_file_is_counted_and_left_as_it_is(root: Path) -> None:
    put(root / "target")
    (root / "link").symlink_to("target")
    (root / "loop").symlink_to(".")
    os.utime(root / "link", ns=(COLD, COLD), follow_symlinks=False)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "s"))
        totals, paths = await scanned(root)
    assert paths == [b"target"]
    assert totals.skipped == {Skip.NOT_A_FILE: Count(4, 0)}
    assert totals.seen == Count(1, 0)
    assert (root / "link").lstat().st_atime_ns == COLD


async def test_a_file_of_several_names_leaves_with_all_of_them_or_stays(root: Path) -> None:
    put(root / "here" / "one", b"abc")
    (root / "here" / "two").hardlink_to(root / "here" / "one")
    put(root / "here" / "three", b"abcd")
    (root / "there").mkdir()
    (root / "there" / "three").hardlink_to(root / "here" / "three")
    totals, paths = await scanned(root, b"here")
    assert paths == [b"here/one", b"here/two"]
    assert totals.candidates == Count(2, 6)
    assert totals.skipped == {Skip.LINKED: Count(1, 4)}
    assert (await scanned(root))[0].candidates == Count(4, 14)


async def test_odd_names_come_as_they_are(root: Path) -> None:
    folder = root / "%p \\0"
    for name in ODD:
        put(folder / os.fsdecode(name))
    expected = {os.fsencode(folder.name) + b"/" + name for name in ODD}
    assert set((await scanned(root))[1]) == expected
    assert set((await scanned(root, os.fsencode(folder.name)))[1]) == expected


async def test_candidates_come_in_the_order_of_their_paths(root: Path) -> None:
    names = ["a/b", "a.b", "a b", "a/c/d", "ab", "a-"]
    for name in names:
        put(root / name)
    expected = sorted(name.encode() + b"//" for name in names)
    assert [path + b"//" for path in (await scanned(root))[1]] == expected


async def test_details_are_those_of_the_file(root: Path) -> None:
    file = put(root / "a" / "file", b"abc", atime_ns=COLD + 123, mtime_ns=COLD + 456_789)
    info = file.stat()
    to = root.parent / "work" / "scan"
    await scan(os.fsencode(root), b"", LIMIT, min_size=0, to=to, details=True)
    os.utime(file)
    (found,) = read_candidates(to, b"/nowhere")
    assert (found.path, found.size_bytes, found.links) == (b"a/file", 3, 1)
    assert (found.device, found.inode) == (info.st_dev, info.st_ino)
    assert (found.atime_ns, found.mtime_ns) == (COLD + 123, COLD + 456_789)
    assert found.ctime_ns == info.st_ctime_ns


async def test_everything_is_every_regular_file(root: Path) -> None:
    put(root / "hot", b"a", atime_ns=NOW)
    put(root / "cold", b"ab")
    (root / "second name").hardlink_to(root / "cold")
    (root / "link").symlink_to("cold")
    totals, paths = await scanned(root, min_size=10, everything=True)
    assert paths == [b"cold", b"hot", b"second name"]
    assert totals.skipped == {Skip.NOT_A_FILE: Count(1, 0)}


async def test_what_is_our_own_is_not_looked_into(root: Path) -> None:
    put(root / "file")
    for name in OWN:
        put(root / name / "job" / "file")
    assert (await scanned(root))[1] == [b"file"]
    for name in OWN:
        with pytest.raises(Invalid):
            await scanned(root, name.encode())


async def test_one_file_may_be_asked_for(root: Path) -> None:
    put(root / "a" / "file", b"abc")
    put(root / "a" / "file2", b"abc")
    put(root / "a" / "hot", b"abc", atime_ns=NOW)
    assert (await scanned(root, b"a/file"))[1] == [b"a/file"]
    assert (await scanned(root, b"a/hot"))[0].skipped == {Skip.READ_RECENTLY: Count(1, 3)}


async def test_no_link_leads_out_of_a_tier(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "a" / "file")
    (root / "link").symlink_to(tmp_path / "outside")
    totals, paths = await scanned(root, b"link")
    assert (paths, totals.skipped) == ([], {Skip.NOT_A_FILE: Count(1, 0)})
    with pytest.raises(Invalid):
        await scanned(root, b"link/a")


@pytest.mark.parametrize("below", [b"gone", b"a/gone"])
async def test_what_is_not_there_is_told(root: Path, below: bytes) -> None:
    put(root / "a" / "file")
    with pytest.raises(NotFound):
        await scanned(root, below)


@pytest.mark.parametrize("below", [b"..", b"a/../..", b"a//b", b"a/file/x"])
async def test_what_is_no_path_of_the_tier_is_refused(root: Path, below: bytes) -> None:
    put(root / "a" / "file")
    with pytest.raises(Invalid):
        await scanned(root, below)


async def test_an_empty_tree_has_no_candidates(root: Path) -> None:
    assert await scanned(root) == (ScanTotals(), [])


@pytest.mark.parametrize("part", ["cold", "hot", "sizes"])
async def test_a_full_disk_is_no_smaller_tree(root: Path, part: str) -> None:
    """What is missing in the files of a scan would be missing in the decision."""
    put(root / "cold")
    put(root / "hot", atime_ns=NOW)
    (root.parent / "work" / f"scan.{part}").symlink_to("/dev/full")
    with pytest.raises(Unavailable):
        await scanned(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_what_may_not_be_read_is_told(root: Path) -> None:
    put(root / "file")
    put(root / "closed" / "file")
    (root / "closed").chmod(0)
    try:
        totals, paths = await scanned(root)
    finally:
        (root / "closed").chmod(0o700)
    assert (paths, totals.unreadable) == ([b"file"], 1)
    assert "closed" in totals.complaints[0]

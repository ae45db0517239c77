"""Joining both sides, compared with what a dictionary would find."""

import os
import tracemalloc
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.tiers import merge
from holdfast.tiers.merge import (
    Count,
    join,
    lists,
    read_candidates,
    read_listing,
    read_matched,
    read_skipped,
    rests_of,
    split_records,
    write_list,
)
from holdfast.tiers.model import Skip

a_name = st.binary(min_size=1, max_size=3).map(
    lambda name: bytes(byte for byte in name if byte not in b"\0/:") or b"x"
)
a_path = st.lists(a_name, min_size=1, max_size=3).map(b"/".join)
files = st.dictionaries(a_path, st.integers(0, 12), max_size=40)
TINY = 24
"""Bytes of a block: each test goes over many of them."""
keep_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def tiny_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "BLOCK_BYTES", TINY)


def key(path: bytes, size: int) -> bytes:
    return b"%b//%d" % (path, size)


def keys_file(path: Path, found: dict[bytes, int]) -> Count:
    with path.open("wb") as file:
        write_list(file, sorted(key(*item) for item in found.items()))
    return Count(len(found), sum(found.values()))


def listing_file(path: Path, found: dict[bytes, int], note: str = "") -> None:
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        write_list(
            file,
            sorted(
                b"%b//:%b v%b%d " % (key(name, size), b"", note.encode(), size)
                for name, size in found.items()
            ),
        )
    split_records(raw, path)


@keep_tmp_path
@given(files, files)
def test_a_join_finds_what_is_on_both_sides(
    tmp_path: Path, local: dict[bytes, int], remote: dict[bytes, int]
) -> None:
    skipped = tmp_path / "skipped"
    skipped.unlink(missing_ok=True)
    of = keys_file(tmp_path / "local", local)
    listing_file(tmp_path / "remote", remote)
    matched = tmp_path / "matched"
    totals = join(tmp_path / "local", tmp_path / "remote", of=of, matched=matched, skipped=skipped)
    both = {name: size for name, size in local.items() if remote.get(name) == size}
    assert list(chain.from_iterable(lists(matched))) == sorted(key(*item) for item in both.items())
    assert totals.matched == Count(len(both), sum(both.values()))
    expected = {
        (name, size, Skip.OTHER_SIZE if name in remote else Skip.MISSING_ON_STORE)
        for name, size in local.items()
        if name not in both
    }
    assert set(read_skipped(skipped)) == expected
    assert sum(totals.skipped.values(), totals.matched) == of
    found = list(read_matched(matched, b"/nowhere", [tmp_path / "remote"]))
    assert [(one.path, listed[0].version) for one, listed in found] == sorted(
        ((name, f"v{size}") for name, size in both.items()), key=lambda item: item[0] + b"//"
    )
    assert all(one.inode == 0 for one, _ in found)


@keep_tmp_path
@given(files, files, files)
def test_what_two_stores_have_is_joined_one_after_the_other(
    tmp_path: Path, local: dict[bytes, int], first: dict[bytes, int], second: dict[bytes, int]
) -> None:
    left = tmp_path / "left"
    left.unlink(missing_ok=True)
    of = keys_file(tmp_path / "local", local)
    listing_file(tmp_path / "first", first, "first")
    listing_file(tmp_path / "second", second, "second")
    one_of, two_of = tmp_path / "m1", tmp_path / "m2"
    once = join(tmp_path / "local", tmp_path / "first", of=of, matched=one_of, skipped=left)
    join(one_of, tmp_path / "second", of=once.matched, matched=two_of, skipped=left)
    sides = [tmp_path / "first", tmp_path / "second"]
    found = {one.path: listed for one, listed in read_matched(tmp_path / "m2", b"/", sides)}
    assert set(found) == {
        name for name, size in local.items() if first.get(name) == second.get(name) == size
    }
    for path, (one, two) in found.items():
        assert (one.version, two.version) == (f"vfirst{local[path]}", f"vsecond{local[path]}")


def test_a_file_of_which_a_pull_would_make_a_symlink_stays(tmp_path: Path) -> None:
    found = {b"a": 1, b"b.rclonelink": 2}
    of = keys_file(tmp_path / "local", found)
    listing_file(tmp_path / "remote", found)
    matched, left = tmp_path / "matched", tmp_path / "left"
    totals = join(tmp_path / "local", tmp_path / "remote", of=of, matched=matched, skipped=left)
    assert totals.matched == Count(1, 1)
    assert list(read_skipped(left)) == [(b"b.rclonelink", 2, Skip.NOT_PROVABLE)]


def test_candidates_are_looked_at_when_no_more_than_keys_was_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    keys_file(tmp_path / "keys", {b"file": 3, b"gone": 1})
    there, gone = read_candidates(tmp_path / "keys", os.fsencode(tmp_path))
    info = (tmp_path / "file").stat()
    assert (there.inode, there.mtime_ns, there.links) == (info.st_ino, info.st_mtime_ns, 1)
    assert (gone.path, gone.inode) == (b"gone", 0)


def test_a_listing_tells_what_its_store_told(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"a//1//:d1  \0b//2//: etag%20x \0n\nl//3//: 5 a b\0")
    assert split_records(raw, tmp_path / "listing") == (Count(3, 6), set())
    one, two, odd = read_listing(tmp_path / "listing")
    assert (one.digest, one.version, one.stored_as) == ("d1", "d1", b"a")
    assert (two.digest, two.version) == ("", "etag%20x")
    assert (odd.path, odd.size_bytes, odd.stored_as) == (b"n\nl", 3, b"a b")


def test_paths_that_come_twice_are_told(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"a//1//:\0a//2//:\0b//1//:\0c//1//:x\0c//1//:y\0")
    assert split_records(raw, tmp_path / "keys")[1] == {b"a", b"c"}


@pytest.mark.parametrize("broken", [b"a//1//:x", b"a//1\0", b"a//1//:x//:y\0"])
def test_a_file_that_is_not_whole_is_not_read(tmp_path: Path, broken: bytes) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"0//1//:x\0" + broken)
    with pytest.raises(ValueError, match="raw"):
        split_records(raw, tmp_path / "keys")


def test_few_candidates_beside_a_long_listing_take_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "BLOCK_BYTES", 64 * 1024)
    listing_file(tmp_path / "remote", {b"file-%06d" % number: 1 for number in range(50_000)})
    of = keys_file(tmp_path / "local", {b"a": 1, b"file-025000": 1, b"z": 1})
    matched, left = tmp_path / "matched", tmp_path / "left"
    tracemalloc.start()
    totals = join(tmp_path / "local", tmp_path / "remote", of=of, matched=matched, skipped=left)
    found = list(read_matched(matched, b"/", [tmp_path / "remote"]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (totals.matched.files, len(found)) == (1, 1)
    assert peak < 5_000_000
    assert rests_of(tmp_path / "remote").exists()

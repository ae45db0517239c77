"""Names on a disk, on a store and for people; what rclone makes of them is asked of rclone."""

import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.errors import Invalid
from holdfast.kernel.process import run, stream
from holdfast.kernel.stores.rclone_daemon import find_rclone
from holdfast.tiers.names import (
    as_filtered,
    from_remote_listing,
    from_s3_key,
    from_text,
    remote_name,
    s3_key,
    to_text,
)

PIECES: list[bytes | str] = [
    *(b"a", b"B", b".", b" ", b"\n", b"\t", b"\x7f", b"\x01", b"\xdf", b"\xed\xa0", b"DF", b"4"),
    *("\u201b", "\u240a", "\u2400", "\u2421", "\uff0f", "\uff0e", "\ufffd", "\u00e9"),
]
a_name = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(
    lambda parts: b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
)
a_path = st.lists(
    a_name.filter(lambda name: name not in {b".", b".."}), min_size=1, max_size=3
).map(b"/".join)


@given(a_path)
def test_a_path_comes_back_from_its_text(path: bytes) -> None:
    text = to_text(path)
    assert from_text(text) == path
    assert not set(text) & {chr(code) for code in (*range(32), 127)}
    assert not any(0xD800 <= ord(char) < 0xE000 for char in text)


@given(a_path, a_path)
def test_two_paths_never_have_one_text(one: bytes, two: bytes) -> None:
    assert (to_text(one) == to_text(two)) == (one == two)


@given(a_path)
def test_a_name_that_a_store_is_asked_for_leads_back(path: bytes) -> None:
    name, key = remote_name(path), s3_key(path)
    assert name is None or from_remote_listing(name) == path
    assert key is None or from_s3_key(key) == path


@given(st.text(max_size=12))
def test_no_key_leads_out_of_a_folder(key: str) -> None:
    for path in (from_s3_key(key), from_remote_listing(key.encode())):
        assert path is None or {b"", b".", b".."}.isdisjoint(path.split(b"/"))
        assert path is None or b"\0" not in path


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"plain/name.txt", "plain/name.txt"),
        (b"new\nline", "new\u240aline"),
        (b"gro\xdf", "gro\u201bDF"),
        ("\u201bDF".encode(), "\u201b\u201bDF"),
        ("a \u240a".encode(), "a \u201b\u240a"),
        (b"", ""),
    ],
)
def test_the_text_form(path: bytes, text: str) -> None:
    assert (to_text(path), from_text(text)) == (text, path)


@pytest.mark.parametrize(
    "text", ["/a", "a/", "a//b", ".", "a/../b", "a\0", "\u2400", "\u201b2E", "\u201b2Fa", "\ud800"]
)
def test_what_is_no_path_below_a_root_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        from_text(text)


def test_filters_see_what_rclone_lists() -> None:
    assert as_filtered(b"a/b.txt") == "a/b.txt"
    assert as_filtered(b"new\nline \xdf") == "new\u240aline \ufffd"


LOCAL = [
    *(b"plain", b"new\nline", b"tab\tx", b"bell\x07", b"del\x7f", b"bad\xdf", b"bad\xdf\xfe x"),
    *(b"-dash", b"'q\"", b" lead", b"trail ", b"back\\s", b"cr\rx", b"\xed\xa0\x80", b"\x1b[0m"),
    *(b"c1\xc2\x85", "q\u201bx".encode(), "sym\u240ax".encode(), "q\u201b\u240a".encode()),
    *(name.encode() for name in ("\u201bDF", "q\u201b\u201b", "\u2421d", "\u2400z", "\uff0e")),
    *(name.encode() for name in ("\u201b\uff0e", "a\uff0fb", "\uff0e\uff0e", "\u2420x", "\ufffd")),
    *(name.encode() for name in ("\u201b", "\u201bA", "\u201bdF", "\u201b\u201bx", "\u241f")),
]


@pytest.mark.real
async def test_rclone_lists_and_pulls_by_the_names_that_are_foretold(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    for name in LOCAL:
        (there / os.fsdecode(name)).write_bytes(name)
    listed = await _listed(there)
    foretold = {from_remote_listing(name) for name in listed}
    unreachable = set(LOCAL) - foretold
    assert all(remote_name(name) is None for name in unreachable)
    assert {remote_name(name) for name in LOCAL} - {None} <= listed
    words = [find_rclone(), "--config=", "copy", "-q", "--retries=1"]
    await run(
        [*words, str(there), str(here)],
        timeout_seconds=60,
        accept=frozenset({0, 1}),  # it cannot open what it calls by another name
    )
    pulled = {os.fsencode(file.name) for file in here.iterdir()}
    assert pulled == {name for name in LOCAL if remote_name(name) is not None}
    assert pulled == {name for name in foretold if name in LOCAL}


async def _listed(root: Path) -> set[bytes]:
    words = [find_rclone(), "--config=", "lsf", "--csv", "--files-only", str(root)]
    told = b"".join([piece async for piece in stream(words, silence_seconds=60, separator=b"\0")])
    rows = csv.reader(io.StringIO(told.decode("latin-1"), newline=""))
    return {row[0].encode("latin-1") for row in rows}

"""The dirty log: no key is lost, and what is not understood owes a full pass."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.migrations import dirtylog
from holdfast.migrations.dirtylog import Dirty, DirtyLog, Unreadable, parse_line

PLACE = ("s3.example.com", "photos")
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)
XML_KEYS = st.text(
    st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f\ufffe\uffff"),
    min_size=1,
    max_size=40,
)


def a_line(uri: str, method: str = "PUT", **fields: str) -> bytes:
    kind = {"POST": "complete"}.get(method, "mut")
    row = {
        "t": "1.0",
        "v": PLACE[0],
        "b": PLACE[1],
        "m": method,
        "u": uri,
        "s": "200",
        "us": "200",
        "k": "s3.example.com/photos:e2.src.a.b",
        "c": kind,
        "cs": "",
        "rb": "",
    }
    return json.dumps(row | fields, ensure_ascii=False).encode("utf-8", "surrogateescape") + b"\n"


def a_batch(body: bytes, **fields: str) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    return a_line("/photos?delete", "POST", c="batch", rb=text, **fields)


@given(key=KEYS)
def test_a_key_comes_out_as_it_went_in(key: str) -> None:
    change = parse_line(a_line("/photos/" + quote(key, safe="/-_.~")))
    assert key in change.keys
    assert not change.unclear


@given(key=KEYS)
def test_every_byte_may_be_escaped(key: str) -> None:
    path = "".join(f"%{byte:02X}" for byte in key.encode())
    assert key in parse_line(a_line(f"/photos/{path}?x-id=PutObject")).keys


@given(keys=st.sets(XML_KEYS, min_size=1, max_size=20))
def test_a_batch_tells_all_its_keys(keys: set[str]) -> None:
    body = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    change = parse_line(a_batch(f"<Delete>{body}</Delete>".encode()))
    assert change.keys == {key.replace("\r\n", "\n").replace("\r", "\n") for key in keys}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"<Delete><Object><Key>a&amp;b&#x20;&#228;</Key></Object></Delete>", "a&b ä"),
        (b"<Delete><Object><Key><![CDATA[a<b]]></Key></Object></Delete>", "a<b"),
        (
            b'<Delete xmlns="u"><Object><VersionId>1</VersionId><Key>v</Key></Object></Delete>',
            "v",
        ),
        (b'<x:Delete xmlns:x="u"><x:Object><x:Key>n</x:Key></x:Object></x:Delete>', "n"),
        (
            '<?xml version="1.0" encoding="ISO-8859-1"?>'
            "<Delete><Object><Key>ä</Key></Object></Delete>".encode("latin-1"),
            "ä",
        ),
        (
            '<?xml version="1.0" encoding="UTF-16"?>'
            "<Delete><Object><Key>ä</Key></Object></Delete>".encode("utf-16"),
            "ä",
        ),
    ],
)
def test_a_batch_is_read_in_every_spelling_of_xml(body: bytes, key: str) -> None:
    assert parse_line(a_batch(body)).keys == {key}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete><Object><Key>a</Key></Object>",
        b"1a;chunk-signature=0\r\n<Delete>",
        b"<Delete></Delete>",
        b'<!DOCTYPE d [<!ENTITY e "x">]><Delete><Object><Key>&e;</Key></Object></Delete>',
        b"<Other><Object><Key>a</Key></Object></Other>",
    ],
)
def test_a_batch_that_is_not_understood_owes_a_full_pass(body: bytes) -> None:
    assert parse_line(a_batch(body)).unclear


def test_a_batch_that_the_server_refused_owes_nothing() -> None:
    assert not parse_line(a_batch(b"", s="403", us="403")).unclear
    assert parse_line(a_batch(b"", s="502", us="502, 403")).unclear


def test_a_form_upload_owes_a_full_pass() -> None:
    assert parse_line(a_line("/photos", "POST", c="mut")).unclear
    assert not parse_line(a_line("/photos", "POST", c="mut", s="403", us="403")).unclear


def test_a_key_that_is_not_text_owes_a_full_pass() -> None:
    assert parse_line(a_line("/photos/%FF%FE")).unclear


def test_beginning_an_upload_changes_no_key() -> None:
    assert not parse_line(a_line("/photos/k?uploads", "POST", c="mut")).keys
    assert parse_line(a_line("/photos/k?uploadId=1", "POST")).keys == {"k"}


def test_parts_change_no_key_but_tell_where_they_were_copied_from() -> None:
    change = parse_line(a_line("/photos/k?partNumber=1&uploadId=2", c="part", cs="/other/x"))
    assert (change.keys, change.foreign_source) == (frozenset(), "other")


def test_a_copy_from_the_same_bucket_is_not_foreign() -> None:
    assert parse_line(a_line("/photos/k", cs="%2Fphotos%2Fx")).foreign_source == ""


def test_a_path_that_a_server_may_tidy_up_is_dirty_in_both_spellings() -> None:
    assert parse_line(a_line("/photos/a//b/../c")).keys == {"a//b/../c", "a/c"}
    assert parse_line(a_line("/photos/folder/")).keys == {"folder/"}


@pytest.mark.parametrize("line", [b"{", b"\xff\xfe", b'{"v":"x"}', b"[]", b'"text"', b"null"])
def test_what_is_no_line_is_told(line: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_line(line)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "dirty.log"
    made.touch()
    return made


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


_opened: list[DirtyLog] = []


@pytest.fixture(autouse=True)
def closed_again() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


async def following(path: Path) -> tuple[DirtyLog, Dirty]:
    log = DirtyLog(path)
    _opened.append(log)
    return log, await log.follow([PLACE])


async def test_only_what_comes_later_counts(path: Path) -> None:
    append(path, a_line("/photos/before"))
    log, dirty = await following(path)
    append(path, a_line("/photos/after"))
    await log.read()
    assert dirty.take() == {"after"}


async def test_copies_out_of_a_bucket_are_told_and_change_nothing_in_it(path: Path) -> None:
    log, dirty = await following(path)
    append(path, a_line("/music/m", b="music", cs="/photos/p"))
    append(path, a_line("/radio/r", v="elsewhere.example.com", b="radio", cs="/photos/p"))
    await log.read()
    assert (dirty.keys, dirty.foreign_targets) == (set(), {"music"})


async def test_two_migrations_share_the_log(path: Path) -> None:
    log, dirty = await following(path)
    other = await log.follow([("s3.example.com", "music")])
    append(path, a_line("/photos/p"), a_line("/music/m", b="music"))
    await log.read()
    assert (dirty.keys, other.keys) == ({"p"}, {"m"})


async def test_a_line_that_is_half_written_waits_for_its_end(path: Path) -> None:
    log, dirty = await following(path)
    line = a_line("/photos/half")
    append(path, line[:20])
    await log.read()
    append(path, line[20:])
    await log.read()
    assert (dirty.keys, dirty.owed) == ({"half"}, "")


async def test_a_line_longer_than_a_chunk_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dirtylog, "CHUNK_BYTES", 7)
    log, dirty = await following(path)
    append(path, a_line("/photos/a"), a_line("/photos/b"))
    await log.read()
    assert (dirty.keys, dirty.owed) == ({"a", "b"}, "")


async def test_a_line_without_end_owes_a_full_pass(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dirtylog, "MAX_LINE_BYTES", 50)
    monkeypatch.setattr(dirtylog, "CHUNK_BYTES", 20)
    log, dirty = await following(path)
    append(path, b"x" * 200)
    await log.read()
    assert dirty.owed


async def test_a_spoilt_line_owes_a_full_pass_and_the_next_is_read(path: Path) -> None:
    log, dirty = await following(path)
    append(path, b'{"t":"1\n', a_line("/photos/next"))
    await log.read()
    assert dirty.owed
    assert dirty.keys == {"next"}


async def test_a_rotated_log_owes_a_full_pass_and_both_files_are_read(path: Path) -> None:
    log, dirty = await following(path)
    old = path.with_suffix(".1")
    path.rename(old)
    append(path, a_line("/photos/new"))
    append(old, a_line("/photos/old"))
    await log.read()
    assert dirty.owed
    assert dirty.take() == {"new", "old"}
    append(old, a_line("/photos/late"))
    await log.read()
    assert dirty.keys == {"late"}


async def test_a_cut_log_owes_a_full_pass_and_is_read_from_its_start(path: Path) -> None:
    log, dirty = await following(path)
    append(path, a_line("/photos/first"), a_line("/photos/second"))
    await log.read()
    os.truncate(path, 0)
    append(path, a_line("/photos/third"))
    await log.read()
    assert dirty.owed
    assert "third" in dirty.keys


async def test_a_log_that_is_not_there_yet_owes_a_full_pass(tmp_path: Path) -> None:
    log, dirty = await following(tmp_path / "dirty.log")
    assert dirty.owed
    dirty.settle()
    append(tmp_path / "dirty.log", a_line("/photos/k"))
    await log.read()
    assert dirty.keys == {"k"}


async def test_too_many_keys_become_a_full_pass(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dirtylog, "MAX_DIRTY_KEYS", 10)
    log, dirty = await following(path)
    append(path, *(a_line(f"/photos/{number}") for number in range(11)))
    await log.read()
    assert dirty.owed
    assert not dirty.keys


async def test_the_files_are_closed_when_nobody_reads(path: Path) -> None:
    log, dirty = await following(path)
    log.leave(dirty)
    names = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert path not in names


async def test_changes_are_found_by_the_flag_they_began_under(path: Path) -> None:
    append(path, a_line("/photos/a", k="one"), a_line("/photos/b", k="two"), b"spoilt\n")
    log = DirtyLog(path)
    assert [change.keys for change in await log.changes_under({"two"})] == [{"b"}]


async def test_keys_that_were_not_copied_come_back(path: Path) -> None:
    _, dirty = await following(path)
    dirty.put_back(["a", "b"])
    assert dirty.take() == {"a", "b"}
    assert dirty.take() == set()

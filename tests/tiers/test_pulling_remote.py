"""Pull from real servers: SFTP and S3."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.tiers import pull_process, pulling
from holdfast.tiers.model import Skip
from holdfast.tiers.pull_process import Choice
from holdfast.tiers.pulling import pull
from tests.servers.s3 import S3Server, nanio_server
from tests.servers.sftp import SftpServer, sftp_server
from tests.tiers.trees import (
    Tree,
    a_database,
    a_tree,
    an_s3_place,
    an_sftp_place,
    at,
    make_bucket,
    put,
    told,
)

pytestmark = pytest.mark.real

KIB = 1024
LIMIT_SECONDS = 60.0
ODD_NAMES = [b"new\nline", b'it\'s "odd"', b"-rf", b"bad\xdfbyte", b"$(id);`id`", b" a ", b"#b"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SftpServer]:
    async with sftp_server(tmp_path / "server") as made:
        yield made


@pytest.fixture
async def tree(server: SftpServer, sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Tree]:
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_tree(database, tmp_path, an_sftp_place(server, "t")) as made,
    ):
        yield made


async def test_files_links_and_odd_names_come_from_sftp(tree: Tree, server: SftpServer) -> None:
    store = server.files / "t"
    put(store, {name + b"/" + name: name for name in ODD_NAMES})
    put(store, {b"l.rclonelink": b"a/b", b"deep/er/f": b"1"})
    os.utime(store / "deep/er/f", (10**9, 10**9))
    outcome, _ = await tree.pulled()
    assert outcome.files == len(ODD_NAMES) + 2
    for name in ODD_NAMES:
        assert at(tree.root, name + b"/" + name).read_bytes() == name
    assert (tree.root / "l").readlink() == Path("a/b")
    assert (tree.root / "deep/er/f").stat().st_mtime == 10**9
    again, lines = await tree.pulled()
    assert (again.files, again.present_files, lines) == (0, outcome.files, [])


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        ("object not found", Skip.MISSING_ON_STORE),
        ("failed to open: 404 Not Found", Skip.MISSING_ON_STORE),
        ("open /t/a: permission denied", Skip.NOT_PERMITTED),
        ("dial tcp 127.0.0.1:40404: connect: connection refused", None),
        ("open a/404: read tcp 10.0.0.1:22: i/o timeout", None),
        ("multi-thread copy: EOF at 404040", None),
    ],
)
def test_no_other_try_helps_where_a_file_is_gone_or_forbidden(
    problem: str, reason: Skip | None
) -> None:
    assert pull_process.lasting(problem) is reason


def everything_said_by_processes() -> str:
    words = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words.append((entry / "cmdline").read_bytes().decode("utf-8", "replace"))
            except OSError:
                continue
    return "\n".join(words)


async def test_a_store_that_goes_away_leaves_nothing_half(tree: Tree, server: SftpServer) -> None:
    put(server.files / "t", {b"a-small": b"1", b"big": b"x" * 4000 * KIB})
    run = tree.run(bandwidth="200K")
    task = asyncio.create_task(pull(run, [b""]))
    async with asyncio.timeout(LIMIT_SECONDS):
        while not ({b"a-small", b"partial"} <= set(map(end_of, tree.here()))):
            await asyncio.sleep(0.01)
    said = everything_said_by_processes()
    await server.child.stop(grace_seconds=0)
    with pytest.raises(RcloneFailed) as failure:
        await asyncio.wait_for(task, LIMIT_SECONDS)
    assert failure.value.retryable
    assert "127.0.0.1" not in f"{failure.value} {failure.value.details}"  # rclone's words
    assert tree.here() == [b"a-small"]
    assert await tree.stamped() == {b"a-small"}
    assert [line["path"] for line in told(run)] == ["a-small"]
    obscured = tree.place.remote.obscured["pass"]
    log = tree.logs[-1].read_text()
    for secret in (server.password, obscured):
        assert secret not in said + log + str(failure.value)


def end_of(name: bytes) -> bytes:
    """The file's name, or of one that is not whole its end."""
    return name.rpartition(b"." if name.endswith(b".partial") else b"/")[2]


@pytest.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[S3Server]:
    async with nanio_server(tmp_path / "s3") as made:
        objects = {f"a/{n}": b"1" for n in range(6)} | {"b[1]/x.tmp": b"12", "b[1]/y": b"3"}
        objects["l.rclonelink"] = b"a/0"
        objects[".holdfast-quarantine/j/x"] = objects[".holdfast-pull/j/x"] = b"not ours"
        await make_bucket(made, objects)
        yield made


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[Choice]:
    """How rclone was told what to fetch."""
    seen: list[Choice] = []

    async def fetch(*given: Any, **named: Any) -> pull_process.Ended:
        seen.append(given[3])
        return await pull_process.fetch(*given, **named)

    monkeypatch.setattr(pulling, "fetch", fetch)
    monkeypatch.setattr(pulling, "LEAST_LISTED", 2)
    return seen


async def test_a_bucket_is_listed_when_most_of_it_is_missing(
    bucket: S3Server, sqlite_template: Path, tmp_path: Path, choices: list[Choice]
) -> None:
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_tree(database, tmp_path, an_s3_place(bucket)) as tree,
    ):
        await tree.pulled(b"b[1]", b"a/0")
        assert tree.here() == [b"a", b"a/0", b"b[1]", b"b[1]/x.tmp", b"b[1]/y"]
        assert choices[-1].listed
        await tree.pulled(b"a", filters=("- 5", "- *.tmp"))
        assert sorted(tree.here())[1:6] == [b"a/%d" % n for n in range(5)]
        assert choices[-1].listed
        (tree.root / "b[1]/y").unlink()
        outcome, _ = await tree.pulled(filters=("!", "- *.tmp"))
        assert outcome.files == 3
        assert not [name for name in tree.here() if name.startswith(b".holdfast")]
        assert choices[-1].listed
        assert (tree.root / "l").readlink() == Path("a/0")
        (tree.root / "a/3").unlink()
        await tree.pulled()
        assert not choices[-1].listed
        assert (tree.root / "a/3").read_bytes() == b"1"

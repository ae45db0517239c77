"""Verify: a tree is compared with its stores by content, and nothing is changed."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.errors import Unavailable
from holdfast.tiers import present, verifying
from holdfast.tiers.model import FileState, Proof, Skip
from holdfast.tiers.present import list_present
from holdfast.tiers.running import Run
from holdfast.tiers.tables import TierFileRow
from holdfast.tiers.verifying import verify
from tests.servers.s3 import S3Server, nanio_server
from tests.tiers.trees import (
    Tree,
    a_database,
    a_local_place,
    a_tree,
    an_s3_place,
    make_bucket,
    put,
    told,
)

pytestmark = pytest.mark.real


@pytest.fixture
async def tree(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Tree]:
    place = a_local_place(tmp_path / "store")
    async with (
        a_database(sqlite_template, tmp_path) as database,
        a_tree(database, tmp_path, place) as made,
    ):
        yield made


def a_run(tree: Tree, *more: Path, **options: Any) -> Run:
    """A run that compares with these folders too."""
    run = tree.run(proof=Proof.COMPARE, **options)
    others = [replace(a_local_place(each), name=each.name) for each in more]
    return replace(run, places=(*run.places, *others))


async def test_each_kind_of_difference_is_told(tree: Tree, tmp_path: Path) -> None:
    put(tmp_path / "store", {b"a/same": b"12", b"cut": b"1", b"edited": b"new", b"gone": b"123"})
    put(tree.root, {b"a/same": b"12", b"cut": b"123", b"edited": b"old", b"mine": b"1234"})
    put(tree.root, {b"x.tmp": b"1", b".holdfast-quarantine/job/f": b"1"})
    os.mkfifo(tree.root / "pipe")
    run = a_run(tree, filters=("- *.tmp",))
    before = {name: (tree.root / os.fsdecode(name)).lstat() for name in tree.here()}
    outcome = await verify(run, [b""])
    assert (outcome.files, outcome.size_bytes) == (1, 2)
    assert (outcome.missing_files, outcome.missing_bytes) == (1, 3)
    assert outcome.skipped == {
        Skip.OTHER_SIZE: (1, 3),
        Skip.OTHER_CONTENT: (1, 3),
        Skip.MISSING_ON_STORE: (1, 4),
        Skip.NOT_A_FILE: (1, 0),
        Skip.EXCLUDED: (1, 1),
    }
    assert {line["path"]: (line["what"], line["reason"]) for line in told(run)} == {
        "x.tmp": ("not compared", str(Skip.EXCLUDED)),
        "pipe": ("not compared", str(Skip.NOT_A_FILE)),
        "cut": ("differs", f"{Skip.OTHER_SIZE}: 3 bytes here, 1 there"),
        "edited": ("differs", str(Skip.OTHER_CONTENT)),
        "gone": ("only on the store", ""),
        "mine": ("only here", f"{Skip.MISSING_ON_STORE}: disk"),
    }
    after = {name: (tree.root / os.fsdecode(name)).lstat() for name in tree.here()}
    assert after == before


async def test_both_stores_must_have_it(tree: Tree, tmp_path: Path) -> None:
    put(tmp_path / "store", {b"a": b"1", b"b": b"2", b"c": b"3"})
    put(tmp_path / "second", {b"a": b"1", b"b": b"x"})
    put(tree.root, {b"a": b"1", b"b": b"2", b"c": b"3"})
    run = a_run(tree, tmp_path / "second")
    outcome = await verify(run, [b""])
    assert outcome.files == 1
    assert {line["path"]: line["reason"] for line in told(run)} == {
        "b": str(Skip.OTHER_CONTENT),
        "c": f"{Skip.MISSING_ON_STORE}: second",
    }


async def test_only_the_asked_paths_are_compared(tree: Tree, tmp_path: Path) -> None:
    put(tmp_path / "store", {b"a/f": b"1", b"b": b"1", b"c": b"1"})
    put(tree.root, {b"a/f": b"1", b"b": b"1"})
    outcome = await verify(a_run(tree), [b"a", b"b"])
    assert (outcome.files, outcome.missing_files) == (2, 0)


@pytest.fixture
async def bucket(tmp_path: Path) -> AsyncIterator[S3Server]:
    async with nanio_server(tmp_path / "s3") as server:
        await make_bucket(server, {"f": b"content", "l.rclonelink": b"f", "m.rclonelink": b"f"})
        yield server


async def test_hashes_of_a_bucket_cost_no_reading(tree: Tree, bucket: S3Server) -> None:
    put(tree.root, {b"f": b"content"})
    (tree.root / "l").symlink_to("f")
    (tree.root / "m").symlink_to("g")
    run = replace(tree.run(), places=(an_s3_place(bucket),))
    outcome = await verify(run, [b""])
    assert outcome.files == 2
    assert outcome.skipped == {Skip.OTHER_CONTENT: (1, 1)}


async def test_what_was_frozen_and_is_nowhere_is_told(tree: Tree, tmp_path: Path) -> None:
    put(tmp_path / "store", {b"a/kept": b"1", b"a!b": b"1"})
    put(tree.root, {b"a/back": b"12"})
    run = a_run(tree)
    states = {
        b"a/kept": FileState.FROZEN,
        b"a/back": FileState.FROZEN,
        b"a/lost\n//7": FileState.FROZEN,
        b"a/waits": FileState.QUARANTINED,
        b"a/came": FileState.RESTORED,
        b"a!b": FileState.FROZEN,
        b"a!c": FileState.FROZEN,
        b"other": FileState.FROZEN,
    }
    async with run.ctx.write() as work:
        for number, (path, state) in enumerate(states.items()):
            row = TierFileRow(
                tier_id=run.tier.id,
                job_id="j",
                path=path,
                state=state,
                size_bytes=number,
                device=1,
                inode=number,
                mtime_ns=1,
                proof="{}",
            )
            work.session.add(row)
    outcome = await verify(run, [b"a", b"a!c"])
    assert outcome.skipped[Skip.LOST] == (3, 2 + 3 + 6)
    found = {line["path"]: line["reason"] for line in told(run) if line["what"] == "on no store"}
    assert found == {
        "a/lost␊//7": str(Skip.LOST),
        "a/waits": f"{Skip.LOST}: it waits in quarantine, an undo brings it back",
        "a!c": str(Skip.LOST),
    }


async def test_what_cannot_be_looked_at_is_neither_missing_nor_different(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "store", {b"a/f": b"1", b"gone": b"1", b"kept": b"1"})
    put(tree.root, {b"kept": b"1"})
    run = a_run(tree)

    async def refused(*given: Any, **options: Any) -> int:
        await list_present(*given, **options)
        return 1

    def hidden(path: bytes) -> os.stat_result:
        if path.endswith(b"/a/f"):
            raise PermissionError(13, "Permission denied")
        return Path(os.fsdecode(path)).lstat()

    monkeypatch.setattr(verifying, "list_present", refused)
    monkeypatch.setattr("holdfast.tiers.present.lstat", hidden)
    outcome = await verify(run, [b""])
    assert (outcome.files, outcome.missing_files) == (1, 1)
    assert outcome.skipped == {Skip.NOT_PERMITTED: (2, 1)}
    lines = {line["path"]: line["what"] for line in told(run)}
    assert lines == {"a/f": "not compared", "gone": "only on the store"}


async def test_a_file_that_no_store_can_prove_is_not_said_to_differ(
    tree: Tree, tmp_path: Path
) -> None:
    put(tmp_path / "store", {b"f": b"1"})
    put(tree.root, {b"f": b"1"})
    (tree.root / "l").symlink_to("f")
    put(tmp_path / "store", {b"l.rclonelink": b"f"})
    run = a_run(tree)
    await verify(run, [b""])
    assert [(line["path"], line["what"]) for line in told(run)] == [("l", "not compared")]


async def test_a_list_of_the_tree_that_is_not_whole_is_no_list(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "find"
    program.write_text('#!/bin/sh\necho "find: $3: No space left on device" >&2; exit 1\n')
    program.chmod(0o755)
    monkeypatch.setattr(present, "find_program", lambda _: str(program))
    monkeypatch.setattr(present, "_expression", lambda raw, _: ["-fprintf", str(raw)])
    with pytest.raises(Unavailable, match="could not be kept"):
        await list_present(bytes(tree.root), b"", tmp_path / "here", tell=lambda _: None)

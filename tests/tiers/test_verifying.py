"""Verify: a tree is compared with its stores by content, and nothing is changed."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.tiers.model import Proof, Skip
from holdfast.tiers.running import Run
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

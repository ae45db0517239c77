"""A copy is checked, whoever lies."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from holdfast.kernel.errors import NotFound
from holdfast.kernel.stores.content import Measured
from holdfast.kernel.stores.memory import MemoryStore
from holdfast.kernel.stores.model import DamagedOnTheWay, Entry, HashKind
from holdfast.kernel.stores.transfer import copy, hash_of


async def content(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


class Rotten(MemoryStore):
    """Says what it was given, and gives something else."""

    @asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().open(path, offset=offset):
            yield content(b"rotten")


async def test_content_that_is_not_what_its_store_says_is_not_kept() -> None:
    source, target = Rotten(), MemoryStore()
    await source.write("file", content(b"sound!"))
    with pytest.raises(DamagedOnTheWay):
        await copy(source, "file", target, "file")
    with pytest.raises(NotFound):
        await target.stat("file")


async def test_a_hash_that_the_store_does_not_know_is_read_from_its_content() -> None:
    store = Rotten()
    await store.write("file", content(b"sound!"))
    expected = hashlib.md5(b"rotten", usedforsecurity=False).hexdigest()
    assert await hash_of(store, "file", HashKind.MD5) == expected


@pytest.mark.parametrize("wrong", [{"size_bytes": 4}, {"hashes": {HashKind.MD5: "0" * 32}}])
async def test_a_store_that_holds_something_else_is_found_out(wrong: dict[str, object]) -> None:
    measured = Measured(content(b"he", b"llo"), [HashKind.MD5])
    assert [chunk async for chunk in measured] == [b"he", b"llo"]
    right = Entry(path="file", size_bytes=5, hashes=measured.hashes)
    measured.compare(right, "store")
    with pytest.raises(DamagedOnTheWay):
        measured.compare(replace(right, **wrong), "store")  # type: ignore[arg-type]

"""What is done with any two stores, whatever they can do: the short way when there is one."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator

from holdfast.kernel.stores.content import Measured
from holdfast.kernel.stores.model import DamagedOnTheWay, Entry, HashKind, Store

PACE_SECONDS = 0.1
"""A limited stream may run ahead of its limit by so much."""


async def copy(
    source: Store, path: str, target: Store, to: str, *, bytes_per_second: int | None = None
) -> Entry:
    """Copy a file, and check it: by what both stores know, else by what passed through here."""
    among = source.can.copies_among
    if among and among == target.can.copies_among:
        return await target.copy_from(source, path, to, bytes_per_second=bytes_per_second)
    known = await source.stat(path)
    async with source.open(path) as content:
        measured = Measured(content, set(known.hashes))
        paced = _paced(measured, bytes_per_second) if bytes_per_second else aiter(measured)
        stored = await target.write(to, paced, size_bytes=known.size_bytes)
    if any(measured.hashes[kind] != digest for kind, digest in known.hashes.items()):
        await target.delete(to)
        raise DamagedOnTheWay(
            f"{path!r} came out of {source.name} other than it is said to be",
            hint="it may have changed meanwhile: try again",
        )
    return stored


async def hash_of(store: Store, path: str, kind: HashKind) -> str:
    """A hash of a file: what its store knows or can find out, else by reading all of it here."""
    if kind in store.can.hashes and (known := (await store.stat(path)).hashes.get(kind)):
        return known
    if kind in store.can.hashes_on_server and (made := await store.hash_on_server(path, kind)):
        return made
    digest = hashlib.new(kind, usedforsecurity=False)
    async with store.open(path) as content:
        async for chunk in content:
            digest.update(chunk)
    return digest.hexdigest()


async def _paced(content: Measured, bytes_per_second: int) -> AsyncIterator[bytes]:
    begun = time.monotonic()
    async for chunk in content:
        yield chunk
        ahead = content.size_bytes / bytes_per_second - (time.monotonic() - begun)
        if ahead > PACE_SECONDS:
            await asyncio.sleep(ahead)

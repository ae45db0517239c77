"""Hashes of local files, read without warming them and while nobody may write."""

import hashlib
import os
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import partial

from holdfast.kernel.stores.model import HashKind
from holdfast.tiers import holding
from holdfast.tiers.holding import READING, Stays, told
from holdfast.tiers.model import Candidate, Skip
from holdfast.tiers.running import Stop, in_threads

CHUNK_BYTES = 1024 * 1024
THREADS = max(1, min(4, os.cpu_count() or 1))

Hashes = Mapping[HashKind, str]
Wanted = tuple[Candidate, Collection[HashKind]]


async def hash_files(root: bytes, wanted: Sequence[Wanted]) -> list[Hashes | Stays]:
    """The hashes of files as they were found, or why one could not be read so; in their order.

    Raises ``Unavailable`` when the root is not there.
    """
    waiting = deque(enumerate(wanted))
    found: dict[int, Hashes | Stays] = {}
    threads = min(THREADS, len(wanted))
    await in_threads([partial(_work, root, waiting, found)] * threads)
    return [found[number] for number in range(len(wanted))]


def _work(
    root: bytes,
    waiting: deque[tuple[int, Wanted]],
    found: dict[int, Hashes | Stays],
    stop: Stop,
) -> None:
    with holding.opened_root(root) as opened:
        while not stop:
            try:
                number, (file, kinds) = waiting.popleft()
            except IndexError:
                return
            try:
                found[number] = hash_file(opened, file, kinds, stop)
            except Stays as stays:
                found[number] = stays


def hash_file(root: int, file: Candidate, kinds: Collection[HashKind], stop: Stop) -> Hashes:
    """The hashes of one file below ``root``, as it was found; raises `Stays`.

    Nobody has it open for writing while it is read; who wants to does not wait for us.
    """
    holding.wait_until_old(file.ctime_ns)
    with holding.leased(root, file.path, READING) as descriptor, told():
        if not holding.is_as(os.fstat(descriptor), file):
            raise Stays(Skip.CHANGED)
        hashes = _read(descriptor, file.size_bytes, kinds, stop)
        if not holding.is_as(os.fstat(descriptor), file):
            raise Stays(Skip.CHANGED)
    return hashes


def _read(descriptor: int, size_bytes: int, kinds: Collection[HashKind], stop: Stop) -> Hashes:
    digests = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    buffer = bytearray(min(CHUNK_BYTES, size_bytes + 1))
    offset = 0
    while count := os.readv(descriptor, [buffer]):
        chunk = memoryview(buffer)[:count]
        for digest in digests.values():
            digest.update(chunk)
        os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_DONTNEED)
        offset += count
        if stop or not holding.is_leased(descriptor, READING):
            raise Stays(Skip.IN_USE)
    if offset != size_bytes:
        raise Stays(Skip.CHANGED)
    return {kind: digest.hexdigest() for kind, digest in digests.items()}

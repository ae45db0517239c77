"""A freeze that finds nothing changed since the last one, beside that last one.

Dry runs over a bucket that has all of a tree: the first reads each file for its hash, the second
knows them all. In seconds, from the scan to the plan.
"""

import asyncio
import os
import time
from pathlib import Path

from benchmarks.result import Result, compared, tell
from holdfast.kernel.db import Database
from holdfast.tiers.planning import plan_freeze
from tests.servers.s3 import nanio_server
from tests.tiers.trees import Tree, a_tree, an_s3_place, make_bucket, put

FILES, FOLDERS, FILE_BYTES = 4_000, 20, 256 * 1024
ROUNDS = 5
REACH = 0.3
AGE_DAYS = 30


async def run(directory: Path) -> list[Result]:
    """Each round with a tier of its own: nothing is known of it."""
    files = {f"folder-{number % FOLDERS:02d}/{number:05d}": number for number in range(FILES)}
    content = {name: os.urandom(32) * (FILE_BYTES // 32) for name in files}
    first, second = [], []
    async with nanio_server(directory / "server") as server:
        await make_bucket(server, content)
        tell(f"{FILES} objects are there")
        for number in range(ROUNDS):
            place = directory / f"round-{number}"
            place.mkdir()
            database = Database(f"sqlite+aiosqlite:///{place / 'holdfast.db'}")
            await database.upgrade()
            try:
                async with a_tree(database, place, an_s3_place(server)) as tree:
                    await asyncio.to_thread(_fill, tree.root, content)
                    first.append(await _planned(tree))
                    second.append(await _planned(tree))
            finally:
                await database.close()
            tell(f"round {number}: first {first[-1]:.2f} s, second {second[-1]:.2f} s")
    what = f"a second freeze of {FILES} files, nothing changed, beside the first"
    return [compared(what, second, first, reach=REACH, unit="s")]


def _fill(root: Path, content: dict[str, bytes]) -> None:
    put(root, {name.encode(): data for name, data in content.items()})
    cold = time.time() - 2 * AGE_DAYS * 86_400
    for name in content:
        os.utime(root / name, (cold, cold))


async def _planned(tree: Tree) -> float:
    started = time.monotonic()
    plan = await plan_freeze(tree.run(freezable=True, age_days=AGE_DAYS), [b""])
    seconds = time.monotonic() - started
    if plan.files != FILES:
        raise RuntimeError(f"{plan.files} files were planned")
    return seconds

"""A whole migration, verification included, against ``rclone copy`` of the same bucket."""

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.nanio_disk import write_objects
from benchmarks.result import Result, compared, tell
from benchmarks.stage import move
from holdfast.demo.fleet import NEW, OLD, Fleet, running_fleet

SMALL_OBJECTS, SMALL_BYTES = 2000, 4096
LARGE_OBJECTS, LARGE_BYTES = 3, 64 * 1024 * 1024
ROUNDS = 5
REACH = 1.0


async def run(directory: Path) -> list[Result]:
    """Each round copies a bucket of its own twice, in turns: Holdfast first, rclone first."""
    ours, bare = [], []
    async with running_fleet(directory) as fleet, fleet.api() as api:
        for number in range(ROUNDS):
            bucket = f"round-{number}"
            await asyncio.to_thread(fill, fleet, bucket)
            if number % 2:
                bare.append(await rclone_copy(fleet, bucket))
            ours.append((await move(api, bucket))[0])
            if not number % 2:
                bare.append(await rclone_copy(fleet, bucket))
            tell(f"round {number}: Holdfast {ours[-1]:.2f} s, rclone copy {bare[-1]:.2f} s")
            clean_up(fleet, bucket)
    what = f"migration of {SMALL_OBJECTS} small and {LARGE_OBJECTS} large objects"
    return [compared(f"{what}, no load", ours, bare, reach=REACH, unit="s")]


def fill(fleet: Fleet, bucket: str) -> None:
    """The objects of a bucket on the old pool."""
    place = fleet.directory / OLD / bucket
    small = (f"folder-{n % 20:02d}/{n:05d}" for n in sorted(range(SMALL_OBJECTS), key=_folder))
    write_objects(place, small, bytes(SMALL_BYTES))
    write_objects(place, (f"large/{n}" for n in range(LARGE_OBJECTS)), bytes(LARGE_BYTES))


def _folder(number: int) -> tuple[int, int]:
    return number % 20, number


def clean_up(fleet: Fleet, bucket: str) -> None:
    """Room for the next round."""
    for pool in (OLD, NEW):
        for name in (bucket, f"bare-{bucket}"):
            shutil.rmtree(fleet.directory / pool / name, ignore_errors=True)


async def rclone_copy(fleet: Fleet, bucket: str) -> float:
    """Seconds of ``rclone copy`` with its defaults, to a bucket that is not there."""
    environment = {"HOME": str(fleet.directory), "PATH": "/usr/bin:/bin"}
    for remote, pool in (("OLD", OLD), ("NEW", NEW)):
        environment |= {
            f"RCLONE_CONFIG_{remote}_TYPE": "s3",
            f"RCLONE_CONFIG_{remote}_PROVIDER": "Other",
            f"RCLONE_CONFIG_{remote}_ENDPOINT": fleet.pool_url(pool),
            f"RCLONE_CONFIG_{remote}_ACCESS_KEY_ID": fleet.access_key,
            f"RCLONE_CONFIG_{remote}_SECRET_ACCESS_KEY": fleet.secret_key,
        }
    words = [str(Path(sys.executable).parent / "rclone"), "copy", f"OLD:{bucket}"]
    started = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        *words, f"NEW:bare-{bucket}", env=environment, stderr=subprocess.PIPE
    )
    _, said = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"rclone: {said.decode(errors='replace')[-1000:]}")
    return time.monotonic() - started

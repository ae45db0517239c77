"""Small disks that can be filled."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

MIB = 1024 * 1024


@contextlib.contextmanager
def small_disk(folder: Path, *, size_mib: int) -> Iterator[None]:
    """A file system of its own; skips the test where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_mib}m,nr_inodes=2000"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"a disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Callable[[], None]:
    """Take every byte and every file name; gives what makes room again."""
    ballast = folder / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError), (ballast / "bytes").open("wb", buffering=0) as file:
        while file.write(b"x" * MIB):
            pass
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (ballast / str(number)).touch()

    def make_room() -> None:
        for path in ballast.iterdir():
            path.unlink()
        ballast.rmdir()

    return make_room

"""Durable steps on disk: write, link, sync, lock, a port that stays ours."""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.ports import free_port

_POLL_SECONDS = 0.02


def make_dir(path: Path) -> None:
    """Make a folder and its parents, open to nginx's workers whatever the umask is."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)


def write_new(path: Path, text: str) -> None:
    """Write a file of its own inode; not yet durable."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o644)


def replace_file(path: Path, text: str) -> None:
    """Replace a file so that a reader, and the disk after a crash, has the old text or the new."""
    new = path.with_name(f".{path.name}.new")
    write_new(new, text)
    sync_file(new)
    new.replace(path)
    sync_dir(path.parent)


def replace_link(link: Path, target: str) -> None:
    """Point a symlink elsewhere by one rename, durable when this returns."""
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
    sync_dir(link.parent)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on disk."""
    _fsync(path, os.O_RDONLY)


def sync_dir(path: Path) -> None:
    """Wait until the folder's names are on disk."""
    _fsync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file_system(path: Path) -> None:
    """One sync of the whole file system, instead of thousands of small ones."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise Unavailable(f"cannot sync {path}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@asynccontextmanager
async def change_lock(nginx_dir: Path, *, timeout_seconds: float = 60.0) -> AsyncIterator[None]:
    """Hold the one right to change the files, among all processes of this machine.

    Raises `Unavailable` (try again) when another change takes longer than ``timeout_seconds``.
    """
    make_dir(nginx_dir)
    descriptor = os.open(nginx_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise Unavailable(
                    "another change of the nginx configuration is still going on",
                    hint="try again in a moment",
                )
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def control_port(nginx_dir: Path) -> int:
    """The loopback port on which this nginx answers us: chosen once, then kept in control.json."""
    path = nginx_dir / "control.json"
    with contextlib.suppress(FileNotFoundError):
        return int(json.loads(path.read_text())["port"])
    make_dir(nginx_dir)
    port = free_port()
    replace_file(path, json.dumps({"port": port}) + "\n")
    return port

"""A pull of small files, and one with nothing to do, against bare ``rclone copy``."""

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.result import Result, compared, tell
from holdfast.kernel.db import Database
from tests.servers.sftp import SftpServer, sftp_server
from tests.tiers.trees import Tree, a_tree, an_sftp_place

FILES, FOLDERS, FILE_BYTES = 10_000, 20, 1024
ROUNDS = 5
IDLE_ROUNDS = 9
REACH = 1.1
REACH_IDLE = 1.3
FOLDER = "many"
RCLONE = Path(sys.executable).parent / "rclone"


async def run(directory: Path) -> list[Result]:
    """Both copy the same folder of an SFTP server, in turns; the one that begins changes."""
    database = Database(f"sqlite+aiosqlite:///{directory / 'holdfast.db'}")
    await database.upgrade()
    try:
        async with sftp_server(directory / "server", looks_again="1h") as server:
            place = an_sftp_place(server, FOLDER)
            await asyncio.to_thread(_fill, server.files / FOLDER)
            async with a_tree(database, directory, place) as tree:
                await _bare(server, directory / "warm")
                return [await _everything(tree, server), await _nothing(tree, server)]
    finally:
        await database.close()


async def _everything(tree: Tree, server: SftpServer) -> Result:
    ours, bare = [], []
    for number in range(ROUNDS):
        target = tree.root.parent / "bare"
        for turn in range(2):
            if (number + turn) % 2:
                bare.append(await _bare(server, target))
            else:
                ours.append(await _ours(tree, FILES))
        tell(f"round {number}: Holdfast {ours[-1]:.2f} s, rclone copy {bare[-1]:.2f} s")
        if number < ROUNDS - 1:
            await asyncio.to_thread(_empty, tree.root)
            await asyncio.to_thread(shutil.rmtree, target)
    return compared(f"pull of {FILES} small files", ours, bare, reach=REACH, unit="s")


async def _nothing(tree: Tree, server: SftpServer) -> Result:
    ours, bare = [], []
    for number in range(IDLE_ROUNDS):
        for turn in range(2):
            if (number + turn) % 2:
                bare.append(await _bare(server, tree.root.parent / "bare"))
            else:
                ours.append(await _ours(tree, 0))
        tell(f"round {number}: Holdfast {ours[-1]:.3f} s, rclone copy {bare[-1]:.3f} s")
    what = f"pull with nothing to do, {FILES} files"
    return compared(what, ours, bare, reach=REACH_IDLE, unit="s")


def _fill(folder: Path) -> None:
    content = bytes(FILE_BYTES)
    for number in range(FILES):
        path = folder / f"folder-{number % FOLDERS:02d}" / f"{number:05d}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path)


async def _ours(tree: Tree, expected: int) -> float:
    started = time.monotonic()
    outcome, _ = await tree.pulled()
    seconds = time.monotonic() - started
    if outcome.files != expected or outcome.listed_files != FILES:
        raise RuntimeError(f"{outcome.files} files were pulled, {outcome.listed_files} listed")
    return seconds


def _obscured(secret: str) -> str:
    words = [str(RCLONE), "obscure", "-"]
    done = subprocess.run(words, input=secret, text=True, capture_output=True, check=True)
    return done.stdout.strip()


async def _bare(server: SftpServer, target: Path) -> float:
    """Seconds of ``rclone copy`` with its defaults."""
    environment = {"HOME": str(target.parent), "PATH": "/usr/bin:/bin"}
    told = {"TYPE": "sftp", **{name.upper(): value for name, value in server.options.items()}}
    told["PASS"] = await asyncio.to_thread(_obscured, server.password)
    environment |= {f"RCLONE_CONFIG_BARE_{name}": value for name, value in told.items()}
    words = [str(RCLONE), "copy", f"BARE:files/{FOLDER}", str(target)]
    started = time.monotonic()
    child = await asyncio.create_subprocess_exec(*words, env=environment, stderr=subprocess.PIPE)
    _, said = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"rclone: {said.decode(errors='replace')[-1000:]}")
    return time.monotonic() - started

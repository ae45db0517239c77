"""A tier from its store to its undo, by the commands, with a real server and a real SFTP host."""

import contextlib
import json
import os
from asyncio import sleep, timeout, to_thread
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.holdfast import Machine
from tests.servers.sftp import SftpServer, sftp_server

pytestmark = pytest.mark.real
LONG_AGO = 1_500_000_000
LARGE_BYTES = 6 * 1024 * 1024
LIMIT_SECONDS = 60.0
CONTENT = {
    b"2019/one.fq": b"one" * 1000,
    b"2019/two words.fq": b"two" * 500,
    b"2019/-dash'\"quote": b"q",
    b"2019/\xdfbytes": b"bytes",
    b"2020/three.fq": b"three" * 100,
    b"notes.txt": b"notes",
}


@dataclass
class Site:
    """A machine whose server runs, and an SFTP host with all of a tree."""

    machine: Machine
    host: SftpServer
    root: Path

    async def ok(self, *words: str | bytes, stdin: str = "") -> Any:
        """The result of a command that must succeed."""
        given = [os.fsdecode(word) for word in words]
        done = await to_thread(self.machine.run, *given, "--json", stdin=stdin)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout else None

    async def make_tier(self, *options: str) -> None:
        """The store, and a tier of which all may leave at once."""
        told = (f"{name}={self.host.options[name]}" for name in ("host", "port", "user"))
        sets = [word for pair in told for word in ("--set", pair)]
        await self.ok(
            *("store", "create", "archive", "--kind", "sftp", "--root", "files", *sets),
            *("--secret", "pass"),
            stdin=self.host.password,
        )
        await self.ok("store", "check", "archive")
        made = await self.ok(
            *("tier", "create", "photos", str(self.root), "--store", "archive", "--freezable"),
            *("--age-days", "30", "--grace-hours", "0", "--max-files-percent", "100"),
            *("--max-bytes-percent", "100", *options),
        )
        assert made["path"] == str(self.root)

    async def until_half_way(self) -> None:
        """Wait until a file is being fetched."""
        async with timeout(LIMIT_SECONDS):
            while not list(self.root.glob(".holdfast-pull/**/large*.partial")):
                await sleep(0.02)

    def here(self) -> set[bytes]:
        """Files in the tree, those in quarantine aside."""
        found = {path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()}
        return {bytes(path) for path in found if not path.parts[0].startswith(".holdfast")}

    def age(self) -> None:
        """Let everything in the tree be old."""
        for path in self.here():
            os.utime(at(self.root, path), (LONG_AGO, LONG_AGO))


def at(folder: Path, path: bytes) -> Path:
    """A file of any name."""
    return folder / os.fsdecode(path)


@contextlib.asynccontextmanager
async def a_site(directory: Path) -> AsyncIterator[Site]:
    """A tree of which nothing is here yet; the server is to be started."""
    root = directory / "tree"
    root.mkdir()
    async with sftp_server(directory / "sftp") as host:
        for path, content in CONTENT.items():
            at(host.files, path).parent.mkdir(parents=True, exist_ok=True)
            at(host.files, path).write_bytes(content)
        machine = Machine(directory / "machine")
        machine.directory.mkdir()
        yield Site(machine, host, root)


async def test_a_tree_is_pulled_frozen_and_brought_back_by_the_commands(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        with site.machine.serving():
            await site.make_tier()
            await _pull_all(site)
            await _freeze_and_undo(site)
        assert site.host.password not in (site.machine.directory / "out").read_text()
        stored = {path: at(site.host.files, path).read_bytes() for path in CONTENT}
        assert stored == CONTENT


async def _pull_all(site: Site) -> None:
    root = str(site.root)
    missing = await site.ok("tier", "ls", root, "--depth", "0")
    assert {row["missing"] for row in missing} == {True}
    assert len(missing) == len(CONTENT)
    dry = await site.ok("tier", "pull", root, "--dry-run", "--wait")
    assert (dry["outcome"]["files"], site.here()) == (len(CONTENT), set())
    pulled = await site.ok("tier", "pull", root, "--wait")
    assert (pulled["state"], pulled["outcome"]["files"]) == ("done", len(CONTENT))
    assert site.here() == set(CONTENT)
    again = await site.ok("tier", "pull", bytes(site.root) + b"/2019/\xdfbytes", "--wait")
    assert again["outcome"]["files"] == 0


async def _freeze_and_undo(site: Site) -> None:
    site.age()
    root = str(site.root)
    (site.root / "notes.txt").write_text("edited")
    would = await site.ok("tier", "freeze", root, "--dry-run", "--wait")
    assert would["outcome"]["files"] == len(CONTENT) - 1
    assert site.here() == set(CONTENT)

    frozen = await site.ok("tier", "freeze", root, "--wait")
    assert frozen["files"]["quarantined"]["files"] == len(CONTENT) - 1
    assert site.here() == {b"notes.txt"}
    assert (site.root / "notes.txt").read_text() == "edited"
    listed = await site.ok("tier", "ls", str(site.root / "2019"))
    assert {(row["frozen"], row["missing"]) for row in listed} == {(True, True)}
    refused = await to_thread(site.machine.run, "tier", "delete", "photos", "--yes")
    assert (refused.returncode, "quarantine" in refused.stderr) == (1, True)

    undone = await site.ok("tier", "undo", frozen["job_id"], "--wait")
    assert undone["state"] == "done"
    assert site.here() == set(CONTENT)
    details = await site.ok("tier", "details", frozen["job_id"])
    assert {row["path"] for row in details} >= {"2019/one.fq", "2019/\u201bDFbytes"}
    runs = await site.ok("tier", "runs", "--tier", "photos")
    assert [run["action"] for run in runs][:2] == ["undo", "freeze"]


async def test_a_pull_outlives_a_kill_and_a_cancel_leaves_no_half_file(tmp_path: Path) -> None:
    async with a_site(tmp_path) as site:
        at(site.host.files, b"large").write_bytes(bytes(LARGE_BYTES))
        with site.machine.serving() as process:
            await site.make_tier("--bandwidth", "2M")
            pull = await site.ok("tier", "pull", str(site.root), "--detach")
            await site.until_half_way()
            process.kill()
            process.wait()
        with site.machine.serving():
            done = await site.ok("tier", "pull", str(site.root), "--wait")
            assert (done["job_id"], done["state"]) == (pull["job_id"], "done")
            assert site.here() == {*CONTENT, b"large"}
            assert (site.root / "large").stat().st_size == LARGE_BYTES

            (site.root / "large").unlink()
            pull = await site.ok("tier", "pull", str(site.root / "large"), "--detach")
            await site.until_half_way()
            await site.ok("job", "cancel", pull["job_id"])
            async with timeout(LIMIT_SECONDS):
                while (await site.ok("job", "show", pull["job_id"]))["state"] != "cancelled":
                    await sleep(0.1)
            assert site.here() == set(CONTENT)

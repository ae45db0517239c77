"""Runs the demo: fill a bucket, keep clients busy, move it live, print what the clients saw.

Then a folder lets go of what nobody reads, and gets it back out of the bucket that moved.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from holdfast.demo.fleet import BUCKET, NEW, OLD, Fleet, running_fleet
from holdfast.demo.history import Fault
from holdfast.demo.tier import NAME, TierStory, tell_story
from holdfast.demo.traffic import READS, WRITES, Load, Tally, Traffic
from holdfast.demo.wire import Wire
from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.client import S3Client

OBJECTS = 3000
CONNECTIONS = 16
WARM_UP_SECONDS = 3.0
COOL_DOWN_SECONDS = 3.0
LONGEST_MOVE_SECONDS = 600.0
TERMINAL = {"done", "error", "cancelled"}
out = Console()


@dataclass(slots=True)
class Outcome:
    """How the move went."""

    migration: dict[str, Any]
    tally: Tally
    move_seconds: float

    @property
    def good(self) -> bool:
        """Moved, and not one client saw a fault."""
        return self.migration["phase"] == "done" and self.tally.clean


def main() -> int:
    """Run the demo. ``DEMO_SECONDS`` makes it end by itself; 0 when nothing was lost."""
    try:
        return asyncio.run(_until_signalled())
    except KeyboardInterrupt:
        return 130
    except AppError as error:
        out.print(f"[red]{error.message}[/red] {error.hint}")
        return error.exit_code


async def _until_signalled() -> int:
    task = asyncio.current_task()
    assert task
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        with tempfile.TemporaryDirectory(prefix="holdfast-demo-") as directory:
            return await _run(Path(directory))
    except asyncio.CancelledError:
        out.print("\nStopped; every process of the demo has ended.")
        return 130


async def _run(directory: Path) -> int:
    seconds = float(os.environ.get("DEMO_SECONDS", "0"))
    started = time.monotonic()
    out.print("Starting two pools of S3 servers, nginx and Holdfast ...")
    async with running_fleet(directory) as fleet:
        _print_addresses(fleet, await console_link(fleet))
        expected = await _fill(fleet)
        outcome = await _move_under_load(fleet, expected, started + seconds)
        _print_outcome(outcome)
        story = await asyncio.to_thread(tell_story, fleet)
        _print_story(story)
        if not seconds:
            out.print("\nEverything stays up to try it. Ctrl-C ends all of it.")
            await asyncio.Event().wait()
    return 0 if outcome.good and story.good else 1


async def console_link(fleet: Fleet) -> str:
    """Where an admin of this fleet sets a password, once, and is then logged in."""
    async with fleet.api() as api:
        answer = await api.post("/api/users/admin/link")
        answer.raise_for_status()
        link: str = answer.json()["link"]
        return link


def _print_addresses(fleet: Fleet, link: str) -> None:
    lines = {
        "console": link,
        "API": f"{fleet.api_url}/api/docs",
        "token": fleet.token,
        "S3 endpoint": fleet.s3_url,
        "S3 keys": f"{fleet.access_key} / {fleet.secret_key}",
    }
    for name, value in lines.items():
        out.print(f" {name:<12} {value}", soft_wrap=True, highlight=False)


async def _fill(fleet: Fleet) -> dict[str, str]:
    """A bucket of a few thousand objects, written through the gateway; keys with their ETags."""
    etags: dict[str, str] = {}
    async with S3Client(fleet.s3_url, fleet.access_key, fleet.secret_key) as s3:
        await s3.create_bucket(BUCKET)
        places = asyncio.Semaphore(CONNECTIONS)

        async def put(number: int) -> None:
            key = f"album-{number % 20:02d}/{number:05d}.jpg"
            async with places:
                body = os.urandom(500 + number % 4000)
                etags[key] = await s3.put(BUCKET, key, body, headers={"content-type": "image/jpeg"})

        async with asyncio.TaskGroup() as group:
            for number in range(OBJECTS):
                group.create_task(put(number))
    out.print(f"Bucket {BUCKET!r} has {OBJECTS} objects on pool {OLD!r}.")
    return etags


async def _move_under_load(fleet: Fleet, expected: dict[str, str], end: float) -> Outcome:
    async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:
        traffic = Traffic(wire, BUCKET, Load())
        clients = asyncio.create_task(traffic.run())
        try:
            await asyncio.sleep(WARM_UP_SECONDS)
            began = time.monotonic()
            migration = await _move(fleet)
            took = time.monotonic() - began
            await asyncio.sleep(max(COOL_DOWN_SECONDS, end - time.monotonic()))
            traffic.stop()
            await clients
        finally:
            clients.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await clients
        await traffic.audit(expected)
    return Outcome(migration, traffic.tally, took)


async def _move(fleet: Fleet) -> dict[str, Any]:
    """Move the bucket to the new pool, and tell each phase; gives the finished migration."""
    async with fleet.api() as api:
        pools = {pool["name"]: pool["id"] for pool in (await api.get("/api/pools")).json()}
        body = {"bucket": BUCKET, "src_pool_id": pools[OLD], "dst_pool_id": pools[NEW]}
        answer = await api.post("/api/migrations", json=body)
        answer.raise_for_status()
        migration: dict[str, Any] = answer.json()
        out.print(f"Moving {BUCKET!r} from {OLD!r} to {NEW!r} while clients go on ...")
        phase = ""
        async with asyncio.timeout(LONGEST_MOVE_SECONDS):
            while migration["phase"] not in TERMINAL:
                await asyncio.sleep(0.2)
                migration = (await api.get(f"/api/migrations/{migration['id']}")).json()
                if migration["phase"] != phase:
                    phase = migration["phase"]
                    out.print(f"  {phase}: {migration['objects_done']} objects copied")
        return migration


def _print_outcome(outcome: Outcome) -> None:
    tally = outcome.tally
    table = Table(title="What the clients saw")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("requests", str(tally.total))
    for fault in Fault:
        table.add_row(str(fault), str(tally.faults[fault]))
    table.add_row("longest read", f"{tally.longest(*READS):.2f} s")
    quick = [kind for kind in WRITES if kind != "slow put"]
    table.add_row("longest write", f"{tally.longest(*quick):.2f} s")
    table.add_row("the move took", f"{outcome.move_seconds:.1f} s")
    out.print(table)
    for examples in tally.examples.values():
        for example in examples:
            out.print(f"[red]{example}[/red]")
    if outcome.migration["phase"] != "done":
        out.print(
            f"[red]The migration ended in {outcome.migration['phase']}: "
            f"{outcome.migration['error_msg']}[/red]"
        )
    out.print("Nothing was lost." if outcome.good else "[red]Something was lost.[/red]")


def _print_story(story: TierStory) -> None:
    out.print(
        f"Tier {NAME!r}: {story.pulled} files pulled out of bucket {BUCKET!r}; a year passes."
    )
    out.print(f"  frozen: {story.frozen} files that nobody read, each proven by its hash first")
    for why, files in story.kept.items():
        out.print(f"  stays: {files}, edited under its old date ({why})")
    out.print(f"  pulled again: {story.back} of {story.frozen} are what they were, byte for byte")
    if not story.good:
        out.print("[red]The tier did not keep its files.[/red]")

"""Asking a tier for a pull or a freeze: the call alone, on a real server."""

import asyncio
import time
from pathlib import Path

import httpx

from benchmarks.result import Result, counted, tell
from tests.servers.holdfast import API_KEY, Machine

CALLS = 500
REACH_MS = 50.0


async def run(directory: Path) -> list[Result]:
    """Each call makes a job, which is cancelled before the next; the last ones join one of all."""
    for name in ("machine", "tree", "store"):
        (directory / name).mkdir()
    return await asyncio.to_thread(_measure, directory)


def _measure(directory: Path) -> list[Result]:
    machine = Machine(directory / "machine")
    headers = {"Authorization": f"Bearer {API_KEY}"}
    with (
        machine.serving("--no-worker"),
        httpx.Client(base_url=machine.url, headers=headers, timeout=60) as client,
    ):
        store = {"name": "store", "kind": "local", "root": str(directory / "store")}
        made = client.post("/api/stores", json=store).raise_for_status().json()
        tree = {"path": str(directory / "tree"), "store_id": made["id"], "freezable": True}
        client.post("/api/tiers", json={"name": "tree", **tree}).raise_for_status()
        root = directory / "tree"
        found = [_asked(client, "pull", root), _asked(client, "freeze", root)]
        client.post("/api/tiers/pull", json={"paths": [str(root)]}).raise_for_status()
        return [*found, _asked(client, "pull", root, joins=True)]


def _asked(client: httpx.Client, action: str, tree: Path, *, joins: bool = False) -> Result:
    took = []
    for number in range(CALLS):
        body = {"paths": [f"{tree}/folder/{number}"]}
        began = time.perf_counter()
        answer = client.post(f"/api/tiers/{action}", json=body).raise_for_status().json()
        took.append((time.perf_counter() - began) * 1000)
        if answer["joined"] is not joins:
            raise RuntimeError(f"joined: {answer['joined']}")
        if not joins:
            client.post(f"/api/jobs/{answer['job_id']}/cancel").raise_for_status()
    took.sort()
    what = f"{action} that joins another" if joins else action
    tell(f"{what}: median {took[CALLS // 2]:.1f} ms")
    p99 = took[CALLS * 99 // 100]
    return counted(f"POST of a {what}, p99 of {CALLS}", p99, at_most=REACH_MS, unit="ms")

"""Stores and tiers of the site that pictures and tests show."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import httpx

from holdfast.demo.fleet import wait_until
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.ports import free_port

TIER, STORE, AWAY = "lab-data", "archive", "offsite"
DAY_SECONDS = 86_400
FOLDERS = (
    ("raw/2019", 12, 90_000, 900),
    ("raw/2020", 16, 60_000, 500),
    ("raw/2025", 8, 45_000, 20),
    ("results/plots", 20, 5_000, 200),
    ("results/tables", 6, 25_000, 40),
    ("home/marta", 8, 20_000, 2),
    ("home/jan", 4, 35_000, 400),
    ("reference", 3, 120_000, 1000),
)
"""Folder, files, bytes of each, days since they were last used."""


async def tiers_of(api: httpx.AsyncClient, directory: Path) -> dict[str, str]:
    """Two stores, one of them away, and a tier that was used. Gives names of what is there."""
    tree, archive = directory / "lab/data", directory / "lab/archive"
    await asyncio.to_thread(_fill, tree, archive)
    store = {"name": STORE, "kind": "local", "root": str(archive)}
    store_id = (await _call(api, "/api/stores", store | {"description": "the tape room"}))["id"]
    login = {"host": "127.0.0.1", "port": free_port(), "user": "lab", "pass": "a word of the demo"}
    away = {"name": AWAY, "kind": "sftp", "root": "/backup/lab", "options": login}
    away_id = (await _call(api, "/api/stores", away))["id"]
    await _call(api, f"/api/stores/{store_id}/check")
    await api.post(f"/api/stores/{away_id}/check")  # which fails, as it should
    body = {"name": TIER, "path": str(tree), "store_id": store_id, "freezable": True}
    body |= {"description": "everything that the sequencers write", "filters": ["- *.tmp"]}
    body |= {"space_high_percent": 99.9, "space_low_percent": 99, "auto_freeze_cron": "0 3 * * 1"}
    body["rules"] = [
        {"pattern": "/reference/**", "policy": "pin"},
        {"pattern": "/home/**", "policy": "freeze_after", "age_days": 365},
    ]
    tier = (await _call(api, "/api/tiers", body))["id"]
    everything = {"paths": [str(tree)]}
    await _run(api, f"/api/tiers/{tier}/report")
    dry_run = await _run(api, "/api/tiers/freeze", everything | {"dry_run": True})
    freeze = await _run(api, "/api/tiers/freeze", {"paths": [str(tree / "raw/2019")]})
    stopped = await _run(api, "/api/tiers/freeze", everything)
    return {
        "store": str(store_id),
        "sftp_store": str(away_id),
        "tier": str(tier),
        "dry_run": dry_run,
        "freeze": freeze,
        "stopped": stopped,
    }


def _fill(tree: Path, archive: Path) -> None:
    for folder, count, size_bytes, days in FOLDERS:
        used = time.time() - days * DAY_SECONDS
        for number in range(count):
            for root in (tree, archive):
                path = root / folder / f"sample-{number:03d}.dat"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes([number]) * size_bytes)
                os.utime(path, (used, used))
    (tree / "notes.txt").write_text("not on the store yet\n")
    (archive / "only-there.bin").write_bytes(bytes(70_000))
    (archive / "raw/2025/sample-003.dat").write_bytes(b"cut off")


async def _call(api: httpx.AsyncClient, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    answer = await api.post(path, json=body)
    if answer.is_error:
        raise Unavailable(f"POST {path} answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()


async def _run(api: httpx.AsyncClient, path: str, body: object = None) -> str:
    """Ask for a run, and wait until it has ended."""
    job: str = (await _call(api, path, body))["job_id"]

    async def has_ended() -> bool:
        return (await api.get(f"/api/tiers/runs/{job}")).json()["ended_at"] is not None

    await wait_until(has_ended, f"the run of {path}")
    return job

"""The demo's tier: a folder that lets go of what nobody reads, and gets it back as it was."""

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.client.http import HoldfastClient
from holdfast.client.tiers import Run, Tiers
from holdfast.demo.fleet import BUCKET, Fleet

NAME = "album"
PREFIX = "album-00"
YEAR_SECONDS = 366 * 86_400
LONGEST_RUN_SECONDS = 120.0
OPTIONS = {
    "freezable": True,
    "grace_hours": 0,
    "undo_hours": 0,
    "max_files_percent": 100,
    "max_bytes_percent": 100,
}
"""What was pulled may leave at once, and all of it: so that there is something to see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierStory:
    """What the tier did with its files."""

    pulled: int
    frozen: int
    kept: dict[str, int]
    """Files that stayed, by the reason."""
    back: int
    """Files of the last pull that are, byte for byte, what they were."""

    @property
    def good(self) -> bool:
        """All came in; what was edited stayed, all the rest left and came back."""
        stayed = sum(self.kept.values())
        return stayed == 1 and self.pulled == self.frozen + stayed and self.back == self.frozen


def tell_story(fleet: Fleet) -> TierStory:
    """Pull a folder, let it grow old, edit one file, freeze, and pull again."""
    root = fleet.directory / NAME
    root.mkdir()
    with HoldfastClient(fleet.api_url, fleet.token) as client:
        tiers = Tiers(client)
        _make(client, fleet, root)
        pulled = _ended(tiers, tiers.pull(str(root)).job_id)
        before = dict(_contents(root))
        edited = _grow_old(root)
        frozen = _ended(tiers, tiers.freeze(str(root)).job_id)
        left = before.keys() - dict(_contents(root)).keys() - {edited}
        _ended(tiers, tiers.pull(str(root)).job_id)
        after = dict(_contents(root))
    return TierStory(
        pulled=pulled.done.files,
        frozen=frozen.done.files,
        kept={why: left.files for why, left in frozen.skipped.items()},
        back=sum(after.get(path) == before[path] for path in left),
    )


def _make(client: HoldfastClient, fleet: Fleet, root: Path) -> None:
    """A store that is the gateway itself, and a tier of it."""
    options = {
        "endpoint": fleet.s3_url,
        "access_key_id": fleet.access_key,
        "secret_access_key": fleet.secret_key,
    }
    store = {"name": "gateway", "kind": "s3", "root": f"{BUCKET}/{PREFIX}", "options": options}
    store_id = client.call("POST", "/api/stores", body=store)["id"]
    tier = {"name": NAME, "path": str(root), "store_id": store_id, **OPTIONS}
    client.call("POST", "/api/tiers", body=tier)


def _ended(tiers: Tiers, job_id: str) -> Run:
    return tiers.wait(job_id, timeout_seconds=LONGEST_RUN_SECONDS)


def _contents(root: Path) -> Iterator[tuple[Path, str]]:
    """Each file with the hash of its content."""
    for path in root.rglob("*"):
        if path.is_file():
            yield path, hashlib.sha256(path.read_bytes()).hexdigest()


def _grow_old(root: Path) -> Path:
    """Nobody has read these files for a year; one was edited since, and kept its size and date."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    files[0].write_bytes(os.urandom(files[0].stat().st_size))
    year_ago = time.time() - YEAR_SECONDS
    for path in files:
        os.utime(path, (year_ago, year_ago))
    return files[0]

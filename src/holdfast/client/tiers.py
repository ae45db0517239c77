"""Tiers over the API, with types: for programs that bring files in and let them go.

Paths are absolute and in the text form of the API: a plain name is itself.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.client.http import HoldfastClient
from holdfast.kernel.errors import TimedOut

POLL_SECONDS = 0.5
LARGEST_PAGE = 10_000
"""The server looks at all of a folder for each page."""
ENDS = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A folder that keeps only what is read. ``options``: all else, by the API's names."""

    id: int
    name: str
    path: str
    store_id: int
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The job that does what was asked. ``joined``: it was under way already."""

    job_id: str
    joined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Files and their bytes."""

    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: so many of ``total`` (None: nobody knows), and what it says of it."""

    done: int
    total: int | None
    unit: str
    """What is counted: ``files`` or ``bytes``."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What was asked of a tier, and how it went."""

    job_id: str
    tier_id: int
    action: str
    state: str | None
    """Of the job; None: it ended so long ago that it was forgotten."""
    error: str | None
    done: Counted
    """What was brought, taken or compared; of a dry run, what would be. Zero until it ended."""
    skipped: Mapping[str, Counted]
    """What was left, by reason."""
    outcome: Mapping[str, Any]
    """All that is told of it: see the reference of tiers."""
    progress: Progress | None
    """How far it is; None: nothing is told yet."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens."""
        return self.state is None or self.state in ENDS


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a tier. ``local``: None when its folder cannot be read there."""

    path: str
    """Relative to the root of its tier."""
    size_bytes: int
    local: bool | None
    remote: bool
    frozen: bool
    differing: bool | None
    """None: it may be another one on either side, it was changed at other times."""
    missing: bool
    """On the store and not here: a pull brings it."""
    lost: bool
    """It was frozen, and is neither here nor on any store of its tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What became of one file of a run. ``reason``: why it was left; empty: it was not."""

    path: str
    size_bytes: int
    what: str
    reason: str


class Tiers:
    """The calls of tiers. Each raises the error that the server raised."""

    def __init__(self, client: HoldfastClient) -> None:
        self._client = client

    def list(self) -> Sequence[Tier]:
        """Every tier, by name."""
        return [_tier(row) for row in self._client.pages("/api/tiers")]

    def show(self, tier_id: int) -> Tier:
        """One tier."""
        return _tier(self._client.get(f"/api/tiers/{tier_id}"))

    def create(
        self, name: str, path: str, store_id: int, *, dry_run: bool = False, **options: object
    ) -> Tier:
        """Make a tier; ``options``: by the API's names. ``dry_run``: only check them."""
        body = {"name": name, "path": path, "store_id": store_id, **options}
        query = {"dry_run": dry_run}
        return _tier(self._client.call("POST", "/api/tiers", query=query, body=body))

    def update(self, tier_id: int, *, dry_run: bool = False, **changes: object) -> Tier:
        """Change a tier; what is not given stays."""
        query = {"dry_run": dry_run}
        return _tier(
            self._client.call("PUT", f"/api/tiers/{tier_id}", query=query, body=dict(changes))
        )

    def delete(self, tier_id: int) -> None:
        """Forget a tier; its files and its store stay."""
        self._client.call("DELETE", f"/api/tiers/{tier_id}")

    def pull(self, *paths: str, dry_run: bool = False, notify: Sequence[str] = ()) -> Started:
        """Bring files and folders of one tier in. ``notify``: who is told of the end."""
        return self._ask("pull", paths, {"dry_run": dry_run, "notify": list(notify)})

    def freeze(
        self,
        *paths: str,
        dry_run: bool = False,
        confirm: bool = False,
        notify: Sequence[str] = (),
    ) -> Started:
        """Let go of what nobody reads and the store provably has.

        ``confirm``: go on beyond the limits of the tier.
        """
        more = {"dry_run": dry_run, "confirm": confirm, "notify": list(notify)}
        return self._ask("freeze", paths, more)

    def undo(self, job_id: str, *, notify: Sequence[str] = ()) -> Started:
        """Bring back what a freeze took, while its undo window lasts."""
        return self._begin(f"/api/tiers/jobs/{job_id}/undo", {"notify": list(notify)})

    def verify(self, tier_id: int, *paths: str, notify: Sequence[str] = ()) -> Started:
        """Compare a tier, or paths of it, with its store."""
        body = {"paths": [*paths], "notify": list(notify)}
        return self._begin(f"/api/tiers/{tier_id}/verify", body)

    def report(
        self, tier_id: int, path: str | None = None, *, notify: Sequence[str] = ()
    ) -> Started:
        """Tell what a tier, or a folder of it, holds, and what freezing would save.

        What it tells is the run's ``outcome``.
        """
        body = {"path": path, "notify": list(notify)}
        return self._begin(f"/api/tiers/{tier_id}/report", body)

    def runs(self, *, tier_id: int | None = None, action: str | None = None) -> Iterator[Run]:
        """What was asked of tiers, newest first; it is read as it is taken."""
        asked = {"tier": tier_id, "action": action}
        query = {name: value for name, value in asked.items() if value is not None}
        return map(_run, self._client.pages("/api/tiers/runs", query=query))

    def run(self, job_id: str) -> Run:
        """How a run goes, or went."""
        return _run(self._client.get(f"/api/tiers/runs/{job_id}"))

    def wait(self, job_id: str, *, timeout_seconds: float | None = None) -> Run:
        """The run at its end, however it ended. Raises ``TimedOut``: it goes on."""
        end = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while not (found := self.run(job_id)).has_ended:
            if end is not None and time.monotonic() >= end:
                raise TimedOut(f"job {job_id} has not ended", hint="it goes on: wait again")
            time.sleep(POLL_SECONDS)
        return found

    def files(self, path: str, *, depth: int = 1) -> Iterator[File]:
        """Files below a folder, so many folders deep; 0: all, however many, as they come."""
        if not depth:
            return map(_file, self._client.lines("/api/tiers/files", query={"path": path}))
        query = {"path": path, "depth": depth, "limit": LARGEST_PAGE}
        return map(_file, self._client.pages("/api/tiers/list", query=query))

    def tree(self, path: str, *, depth: int = 1) -> Mapping[str, Any]:
        """Folders below a folder with their counts, by the API's names; 0: as deep as it goes."""
        query = {"path": path, "depth": depth}
        found: Mapping[str, Any] = self._client.call("GET", "/api/tiers/tree", query=query)
        return found

    def details(self, job_id: str, *, reason: str = "") -> Iterator[Detail]:
        """What became of each file of a run; ``reason``: only those left for it."""
        query = {"reason": reason, "limit": LARGEST_PAGE}
        rows = self._client.pages(f"/api/tiers/runs/{job_id}/details", query=query)
        return map(_detail, rows)

    def _ask(self, verb: str, paths: Sequence[str], more: Mapping[str, Any]) -> Started:
        return self._begin(f"/api/tiers/{verb}", {"paths": [*paths], **more})

    def _begin(self, path: str, body: Mapping[str, Any]) -> Started:
        told = self._client.call("POST", path, body=dict(body))
        return Started(job_id=told["job_id"], joined=told["joined"])


def _tier(row: Mapping[str, Any]) -> Tier:
    own = {name: row[name] for name in ("id", "name", "path", "store_id")}
    return Tier(**own, options={name: v for name, v in row.items() if name not in own})


def _run(told: Mapping[str, Any]) -> Run:
    outcome = told["outcome"]
    return Run(
        job_id=told["job_id"],
        tier_id=told["tier_id"],
        action=told["action"],
        state=told["state"],
        error=told["error"],
        done=Counted(files=outcome.get("files", 0), size_bytes=outcome.get("bytes", 0)),
        skipped={why: _counted(left) for why, left in outcome.get("skipped", {}).items()},
        outcome=outcome,
        progress=_progress(told),
    )


def _progress(told: Mapping[str, Any]) -> Progress | None:
    if told["progress_done"] is None:
        return None
    return Progress(
        **{name: told[f"progress_{name}"] for name in ("done", "total", "unit", "text")}
    )


def _counted(told: Mapping[str, int]) -> Counted:
    return Counted(files=told["files"], size_bytes=told["bytes"])


def _file(row: Mapping[str, Any]) -> File:
    flags = ("local", "remote", "frozen", "differing", "missing", "lost")
    named = {name: row[name] for name in flags}
    return File(path=row["path"], size_bytes=row["bytes"], **named)


def _detail(row: Mapping[str, Any]) -> Detail:
    told = {name: row[name] for name in ("path", "what", "reason")}
    return Detail(size_bytes=row["bytes"], **told)

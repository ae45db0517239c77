"""Wait for what a call started, with its progress on stderr; an interruption leaves it running."""

import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from holdfast.commands.output import say
from holdfast.kernel.errors import AppError, TimedOut
from holdfast.kernel.web.console.formats import size

if TYPE_CHECKING:
    from holdfast.client.http import HoldfastClient

POLL_SECONDS = 0.5
JOB_ENDS = {"done", "failed", "cancelled"}
RUN_ENDS = {*JOB_ENDS, None}
"""None: its job was forgotten."""
MIGRATION_ENDS = {"done", "error", "cancelled"}


class DidNotSucceed(AppError):
    """What was waited for ended, but not well."""

    code = "did_not_succeed"


def follow_job(client: "HoldfastClient", answer: dict[str, Any], timeout: float | None) -> Any:  # noqa: ANN401 - any JSON
    """The job at its end. Raises ``DidNotSucceed`` and ``TimedOut``."""
    path = f"/api/jobs/{answer.get('job_id') or answer['id']}"
    job = _follow(client, path, "state", JOB_ENDS, timeout)
    return _done(job, job["id"])


def _done(ended: dict[str, Any], job_id: str) -> dict[str, Any]:
    if ended["state"] in {"failed", "cancelled"}:
        raise DidNotSucceed(
            f"job {job_id} {ended['state']}: {ended.get('error') or 'no reason given'}",
            hint=f"holdfast job log {job_id}",
        )
    return ended


def follow_migration(
    client: "HoldfastClient", answer: dict[str, Any], timeout: float | None
) -> Any:  # noqa: ANN401 - any JSON
    """The migration at its end. Raises ``DidNotSucceed`` and ``TimedOut``."""
    number = answer.get("migration_id") or answer["id"]
    migration = _follow(client, f"/api/migrations/{number}", "phase", MIGRATION_ENDS, timeout)
    if migration["phase"] != "done":
        raise DidNotSucceed(
            f"migration {number} {migration['phase']}: "
            f"{migration.get('error_msg') or 'no reason given'}",
            hint=f"holdfast migration log {number}",
        )
    return migration


def follow_run(client: "HoldfastClient", answer: dict[str, Any], timeout: float | None) -> Any:  # noqa: ANN401 - any JSON
    """The run of a tier at its end. Raises ``DidNotSucceed`` and ``TimedOut``.

    Of jobs nothing is asked: a token may be for tiers alone.
    """
    run = _follow(client, f"/api/tiers/runs/{answer['job_id']}", "state", RUN_ENDS, timeout)
    return _done(run, run["job_id"])


FOLLOWERS: dict[str, Callable[["HoldfastClient", dict[str, Any], float | None], Any]] = {
    "job": follow_job,
    "migration": follow_migration,
    "run": follow_run,
}


def follow_log(client: "HoldfastClient", job_id: str, write: Callable[[str], None]) -> None:
    """Hand on a job's log as it grows, until the job has ended and all of it was read."""
    offset = 0
    while True:
        ended = client.get(f"/api/jobs/{job_id}")["state"] in JOB_ENDS
        chunk = client.get(f"/api/jobs/{job_id}/log", offset=offset)
        write(chunk["text"])
        grew, offset = chunk["next_offset"] > offset, chunk["next_offset"]
        if ended and not grew:
            return
        if not grew:
            time.sleep(POLL_SECONDS)


def _follow(
    client: "HoldfastClient",
    path: str,
    state: str,
    ends: Collection[str | None],
    timeout: float | None,
) -> dict[str, Any]:
    began, told = time.monotonic(), ""
    while True:
        found: dict[str, Any] = client.get(path)
        words = _progress(found, state)
        if words != told:
            say(words)
            told = words
        if found[state] in ends:
            return found
        if timeout is not None and time.monotonic() - began > timeout:
            raise TimedOut(
                f"still {found[state]} after {timeout:g} s",
                hint="it goes on; wait, or cancel",
            )
        time.sleep(POLL_SECONDS)


def _progress(found: dict[str, Any], state: str) -> str:
    words = str(found[state])
    for done, total, unit in (
        ("objects_done", "objects_total", "objects"),
        ("progress_done", "progress_total", found.get("progress_unit") or ""),
    ):
        if found.get(total) and unit == "bytes":
            words += f" {size(found.get(done) or 0)} of {size(found[total])}"
        elif found.get(total):
            words += f" {found.get(done) or 0}/{found[total]} {unit}".rstrip()
    return f"{words} {found.get('progress_text') or ''}".rstrip()

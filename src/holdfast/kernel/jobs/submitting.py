"""Putting a job in: one row, in the transaction of whoever wants it done."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.jobs.model import DEFAULT_PRIORITY, lock_path
from holdfast.kernel.jobs.registry import kind_named
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.work import Work


def submit(
    work: Work,
    kind: str,
    args: Mapping[str, Any],
    *,
    locks: Sequence[str] = (),
    priority: int = DEFAULT_PRIORITY,
    title: str = "",
    schedule: str | None = None,
    created_by: str | None = None,
) -> str:
    """Queue a job in this transaction and give back its id.

    ``args``: JSON values, never secrets. ``locks``: paths (``pools/a/bucket``); of jobs with
    overlapping paths one runs at a time, in their order. Lower ``priority`` goes first. Raises
    ``Invalid`` for an unknown kind.
    """
    job_id = uuid.uuid4().hex
    row = JobRow(
        id=job_id,
        kind=kind_named(kind).name,
        title=title or kind,
        args=json.dumps(dict(args)),
        locks=json.dumps(sorted({lock_path(lock) for lock in locks})),
        priority=priority,
        created_by=created_by or work.actor.name,
        created_at=now(),
        schedule=schedule,
    )
    work.session.add(row)
    work.emit("job", "submitted", {"id": job_id, "kind": kind, "title": row.title})
    return job_id

"""Runs of tiers: what was asked, how it went, and what became of each file."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import NotFound
from holdfast.kernel.jobs.tables import JobRow
from holdfast.tiers import queries
from holdfast.tiers.files import details_path
from holdfast.tiers.model import FileState
from holdfast.tiers.tables import TierRunRow

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """A run, its job (None: forgotten), and of a freeze the files by state with their bytes."""

    row: TierRunRow
    job: JobRow | None
    files: dict[FileState, tuple[int, int]]


async def list_runs(
    session: AsyncSession,
    *,
    limit: int,
    offset: int = 0,
    tier_id: int | None = None,
    action: str | None = None,
    sort: str = queries.NEWEST_FIRST,
) -> tuple[list[Run], int]:
    """Runs, newest first, and how many in all; without the states of their files.

    Raises ``Invalid`` for another ``sort`` than one of `queries.RUN_SORTS`, or one with a dash.
    """
    rows, total = await queries.run_page(
        session, limit=limit, offset=offset, tier_id=tier_id, action=action, sort=sort
    )
    return [Run(row, job, {}) for row, job in rows], total


async def show_run(session: AsyncSession, job_id: str) -> Run:
    """One run. Raises ``NotFound``."""
    found = await _known(session, job_id)
    states = await queries.files_by_state(session, job_id=job_id)
    return Run(*found, {state: (count, size) for _, state, count, size in states})


async def _known(session: AsyncSession, job_id: str) -> tuple[TierRunRow, JobRow | None]:
    found = await queries.run_of(session, job_id)
    if found is None:
        raise NotFound(f"no job {job_id!r} of a tier", hint="see: holdfast tier runs")
    return found


async def details(
    session: AsyncSession,
    data_dir: Path,
    job_id: str,
    *,
    limit: int,
    offset: int = 0,
    reason: str = "",
) -> tuple[list[dict[str, Any]], int]:
    """What became of the files of a run, one by one, and how many there are.

    ``reason``: only those left for it. Raises ``NotFound``.
    """
    row, _ = await _known(session, job_id)
    path = details_path(data_dir, row.job_id)
    lines, total = await asyncio.to_thread(_lines, path, limit, offset, reason)
    return [json.loads(line) for line in lines], total


def _lines(path: Path, limit: int, offset: int, reason: str) -> tuple[Sequence[bytes], int]:
    try:
        with path.open("rb") as file:
            if reason:
                wanted = json.dumps(reason, ensure_ascii=False).encode()[1:-1]
                whole = (line for line in file if wanted in line and line.endswith(b"\n"))
                chosen = (line for line in whole if _is_for(line, reason))
                return _part(chosen, limit, offset)
            page = list(itertools.islice(file, offset, offset + limit))
            if page and not page[-1].endswith(b"\n"):  # it is being written
                page.pop()
            file.seek(0)
            blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
            return page, sum(block.count(b"\n") for block in blocks)
    except FileNotFoundError:
        return [], 0


def _is_for(line: bytes, reason: str) -> bool:
    told = str(json.loads(line).get("reason"))
    return told == reason or told.startswith(f"{reason}: ")


def _part(lines: Iterable[bytes], limit: int, offset: int) -> tuple[list[bytes], int]:
    page: list[bytes] = []
    total = 0
    for line in lines:
        if offset <= total < offset + limit:
            page.append(line)
        total += 1
    return page, total

"""What was asked of tiers: all of it, and one run with what became of each file."""

import json
from typing import Any

from fastapi import Request, Response

from holdfast.kernel.clock import now
from holdfast.kernel.jobs.model import UNFINISHED, JobState
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page
from holdfast.kernel.web.deps import ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.tiers import page_queries
from holdfast.tiers.model import Action, Asked, FileState
from holdfast.tiers.names import from_text, to_text
from holdfast.tiers.pages import words
from holdfast.tiers.queries import NEWEST_FIRST, RUN_SORTS, WAITING_FILES
from holdfast.tiers.service import keeping, reading
from holdfast.tiers.service.reading import Run
from holdfast.tiers.tables import TierRow

router = Router(include_in_schema=False, prefix="/web/tiers/runs")
LINES = 100
SHOWN = (
    "files",
    "bytes",
    "over_limit",
    "restore_seconds",
    "missing_files",
    "missing_bytes",
    "restored_files",
    "present_files",
    "present_bytes",
    "estimate_seconds",
    "needed_bytes",
    "free_bytes",
)
"""Of an outcome, what is told in figures."""
SORTS = (NEWEST_FIRST, *RUN_SORTS)


@router.get("")
async def list_runs(request: Request, session: ReadDep) -> Response:
    """Runs of all tiers, or of one, newest first."""
    asked = listing(request, sorts=SORTS, filters=("action", "state", "tier"))
    tier = asked.others.get("tier", "")
    number = int(tier) if tier.isascii() and tier.isdigit() and len(tier) < 10 else None  # noqa: PLR2004 - fits a row's id
    runs, total = await page_queries.run_lines(session, asked, tier_id=number)
    names = await page_queries.names_of_tiers(session)
    states = [(state.value, state.value) for state in JobState]
    tiers = [(str(tier_id), name) for tier_id, name in names.items()]
    return await page(
        request,
        "tiers/runs.html.j2",
        list=asked,
        runs=runs,
        total=total,
        names=names,
        tier_name=names.get(number) if number else None,
        place=words.short_place,
        choices=[
            ("tier", "Tier", tiers),
            ("action", "What", words.choices()),
            ("state", "State", states),
        ],
    )


@router.get("/{job_id}")
async def show_run(
    request: Request, job_id: str, session: ReadDep, services: ServicesDep
) -> Response:
    """How a run went, and what became of each file."""
    run = await reading.show_run(session, job_id)
    tier = await keeping.get_tier(session, run.row.tier_id)
    shown = listing(request, sorts=("",), filters=("reason",), rows=LINES)
    lines, total = await reading.details(
        session,
        services.settings.data_dir,
        job_id,
        limit=shown.rows,
        offset=shown.offset,
        reason=shown.others.get("reason", ""),
    )
    asked = words.asked_of(run.row.asked)
    return await page(
        request,
        "tiers/run.html.j2",
        run=run.row,
        job=run.job,
        tier=tier,
        asked=asked,
        title=words.run_title(asked, tier.name),
        paths=[_absolute(tier, path) for path in asked.paths],
        took=_took(run),
        under_way=run.job is not None and run.job.state in UNFINISHED,
        outcome=_outcome(asked, run),
        files=_states(run),
        waiting=sum(run.files.get(state, (0, 0))[0] for state in WAITING_FILES),
        list=shown,
        lines=lines,
        total=total,
        **_verbs(asked),
    )


def _verbs(asked: Asked) -> dict[str, Any]:
    done = {
        Action.PULL: "Pulled",
        Action.FREEZE: "Frozen",
        Action.UNDO: "Brought back",
        Action.VERIFY: "The same on both sides",
        Action.REPORT: "Seen",
    }[asked.action]
    would = {Action.PULL: "Would be pulled", Action.FREEZE: "Would be frozen"}
    return {"done_words": would[asked.action] if asked.dry_run else done}


def _outcome(asked: Asked, run: Run) -> dict[str, Any]:
    """What a page shows of an outcome; a report has a page of its own."""
    told: dict[str, Any] = json.loads(run.row.outcome)
    skipped = told.get("skipped") or {}
    ordered = sorted(skipped.items(), key=lambda one: (-one[1]["bytes"], one[0]))
    return {
        "skipped": [] if asked.action is Action.REPORT else ordered,
        **{name: told.get(name) for name in SHOWN},
    }


def _states(run: Run) -> list[tuple[FileState, int, int]]:
    return [(state, *run.files[state]) for state in FileState if state in run.files]


def _took(run: Run) -> float | None:
    started = run.job.started_at if run.job else run.row.created_at
    if started is None:
        return None
    return ((run.row.ended_at or now()) - started).total_seconds()


def _absolute(tier: TierRow, path: str) -> str:
    inner = from_text(path) if path else b""
    return to_text(tier.root + b"/" + inner if inner else tier.root)

"""What is told of the end of a run: to those who asked for it, or to the admin when nobody did."""

import json
from collections.abc import Iterator
from typing import Any

from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import EndedJob
from holdfast.kernel.notify import outbox
from holdfast.kernel.notify.outbox import News
from holdfast.kernel.work import Work
from holdfast.tiers.drawing import beside, files_words, left_words
from holdfast.tiers.model import Action, Asked
from holdfast.tiers.names import to_text
from holdfast.tiers.tables import TierRow, TierRunRow

MOST_PATHS = 20
_BY_ITSELF = ("system", "schedule:")
_ENDED = {
    JobState.DONE: "is done",
    JobState.FAILED: "has failed",
    JobState.CANCELLED: "was cancelled",
}


async def tell_of_the_end(work: Work, run: TierRunRow, ended: EndedJob) -> None:
    """Have those told who asked for it; of a failure that nobody asked for, the site's admin."""
    wanted = run.notify.strip("[]")
    alone = ended.created_by.startswith(_BY_ITSELF) and ended.state is JobState.FAILED
    if not wanted and not alone:
        return
    tier = await work.session.get(TierRow, run.tier_id)
    name, root = (tier.name, to_text(tier.root)) if tier else ("", "")
    news = news_of(run, name, ended, root=root)
    outbox.put(work, news, addresses=run.notify if wanted else outbox.ADMIN)


def news_of(run: TierRunRow, tier: str, ended: EndedJob, *, root: str = "") -> News:
    """What is said of a run; ``root``: the tier's folder, in text form."""
    asked, outcome = Asked.from_json(run.asked), json.loads(run.outcome)
    what = f"{run.action} (dry run)" if asked.dry_run else run.action
    lines = [f"The {what} of the tier {tier} {_ENDED[ended.state]}."]
    lines += [*([ended.error] if ended.error else []), ""]
    lines += [*_paths(asked, root), "", *_counts(asked, outcome), ""]
    if run.action == Action.FREEZE and not asked.dry_run and outcome.get("files"):
        lines.append(f"Take it back, while its undo window lasts: holdfast tier undo {run.job_id}")
    if run.action == Action.REPORT:
        lines.append(f"All of it: holdfast tier run {run.job_id}")
    else:
        lines.append(f"What became of each file: holdfast tier details {run.job_id}")
    return News(
        job_id=run.job_id,
        subject=f"Holdfast: {what} of {_place(tier, asked)}: {ended.state}",
        text="\n".join(lines),
        page=f"/web/tiers/runs/{run.job_id}",
        bad=ended.state is not JobState.DONE,
    )


def _place(tier: str, asked: Asked) -> str:
    paths = [f"{tier}/{path}" if path else tier for path in asked.paths]
    return f"{paths[0]} and {len(paths) - 1} more" if len(paths) > 1 else "".join(paths) or tier


def _paths(asked: Asked, root: str) -> Iterator[str]:
    yield "Asked for:"
    for path in asked.paths[:MOST_PATHS]:
        yield f"  {root}/{path}" if path else f"  {root or '/'}"
    if len(asked.paths) > MOST_PATHS:
        yield f"  and {len(asked.paths) - MOST_PATHS} more"


def _counts(asked: Asked, outcome: dict[str, Any]) -> Iterator[str]:
    if asked.dry_run:
        yield "It was a dry run: nothing was changed. Without it:"
    if "files" in outcome and "bytes" in outcome:
        yield _amount(outcome)
    for reason, left in outcome.get("skipped", {}).items():
        yield f"{left_words(asked.action, reason)}: {_amount(left)}: {reason}"
    yield from beside(outcome, dry_run=asked.dry_run)
    if outcome.get("over_limit"):
        yield f"This is beyond the limits of the tier: it would take {outcome['over_limit']}"


def _amount(counted: dict[str, int]) -> str:
    return f"{files_words(counted['files'])}, {_size(counted['bytes'])}"


def _size(size_bytes: int) -> str:
    value, unit = float(size_bytes), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:  # noqa: PLR2004 - of the next unit
            break
        value, unit = value / 1024, larger
    return f"{size_bytes} bytes" if unit == "bytes" else f"{value:.1f} {unit} ({size_bytes} bytes)"

"""How a pull went: its figures, what it may take, what became of each file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.tiers.arrivals import DETAILS
from holdfast.tiers.merge import Count
from holdfast.tiers.model import Action
from holdfast.tiers.present import at_home
from holdfast.tiers.pull_plan import FETCH, read_wanted
from holdfast.tiers.running import Outcome, Run, Tally
from holdfast.tiers.tables import TierRunRow

EARLIER_RUNS = 10
STAYED = "stayed.jsonl"
RESTORED = "restored.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOutcome(Outcome):
    """What a pull brought in; of a dry run, what it would."""

    listed_files: int = 0
    """On the store, below the asked paths."""
    listed_bytes: int = 0
    present_files: int = 0
    """Here already, and not seen to differ."""
    present_bytes: int = 0
    folders_made: int = 0
    """Empty ones; what files lie in is made with them."""
    restored_files: int = 0
    """Moved back out of the tier's quarantine; they are not in ``files``."""
    seconds: float = 0.0
    """How long bytes were on their way."""
    estimate_seconds: float | None = None
    """How long it may take at the rate of earlier pulls of the tier; None: there were none."""
    free_bytes: int = 0
    """On the tier's disk, before."""
    needed_bytes: int = 0
    """What the files to fetch take there."""


@dataclass(slots=True)
class Done:
    """What the tries of a run did together."""

    fetched: Count
    restored: int = 0


async def estimate_seconds(session: AsyncSession, tier_id: int, size_bytes: int) -> float | None:
    """How long so many bytes may take, by the latest pulls of a tier; None: there were none."""
    if not size_bytes:
        return 0.0
    query = (
        select(TierRunRow.outcome)
        .where(
            TierRunRow.tier_id == tier_id,
            TierRunRow.action == Action.PULL,
            TierRunRow.ended_at.is_not(None),
        )
        .order_by(TierRunRow.ended_at.desc())
        .limit(EARLIER_RUNS)
    )
    earlier = [json.loads(told) for told in await session.scalars(query)]
    measured = [told for told in earlier if told.get("seconds") and told.get("bytes")]
    fetched = sum(told["bytes"] for told in measured)
    seconds = sum(told["seconds"] for told in measured)
    return round(size_bytes * seconds / fetched, 1) if fetched else None


def plans(work: Path) -> list[Path]:
    """The folders of a run's plans, the latest last."""
    return sorted(work.glob("plan-*"), key=lambda folder: int(folder.name.partition("-")[2]))


def write_report(run: Run, *, dry_run: bool) -> Done:
    """Tell what became of each file, of all tries; and count what was fetched."""
    done = Done(Count())
    folders = plans(run.work)
    whole = run.report.with_suffix(".part")
    with whole.open("w", encoding="utf-8") as report:
        for folder in folders:
            for line in _lines(folder / RESTORED):
                done.restored += json.loads(line)["what"] == "restored"
                report.write(line)
            if dry_run:
                tally = Tally(report)
                for one in read_wanted(folder / FETCH) if (folder / FETCH).exists() else ():
                    tally.done(at_home(one.path), one.size_bytes, "would be pulled")
                done.fetched += Count(tally.files, tally.size_bytes)
            for line in _lines(folder / DETAILS):
                done.fetched += Count(1, json.loads(line)["bytes"])
                report.write(line)
        report.writelines(_lines(folders[-1] / STAYED))
    whole.rename(run.report)
    return done


def _lines(path: Path) -> Iterator[str]:
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            yield from (line for line in lines if line.endswith("\n"))

"""How a pull went: its figures, what it may take, what became of each file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.bandwidth import bytes_per_second
from holdfast.tiers.arrivals import DETAILS
from holdfast.tiers.merge import Count
from holdfast.tiers.model import Action, Tier
from holdfast.tiers.present import at_home
from holdfast.tiers.pull_plan import FETCH, read_wanted
from holdfast.tiers.running import Outcome, Run, Tally
from holdfast.tiers.tables import TierRow, TierRunRow

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
    """How long it may take, by earlier pulls or the bandwidth; None: nobody can say."""
    free_bytes: int = 0
    """On the tier's disk, before."""
    needed_bytes: int = 0
    """What the files to fetch take there."""


@dataclass(slots=True)
class Done:
    """What the tries of a run did together."""

    fetched: Count
    restored: int = 0


async def estimate_seconds(session: AsyncSession, tier: Tier, size_bytes: int) -> float | None:
    """How long so many bytes may take, by the latest pulls of the tier, else from its store.

    With neither, by the bandwidth that a pull may take; None: nobody can say.
    """
    if not size_bytes:
        return 0.0
    of_store = select(TierRow.id).where(TierRow.store_id == tier.store_id)
    rate = await _rate(session, TierRunRow.tier_id == tier.id)
    rate = rate or await _rate(session, TierRunRow.tier_id.in_(of_store))
    rate = rate or bytes_per_second(tier.options.bandwidth)
    return round(size_bytes / rate, 1) if rate else None


async def _rate(session: AsyncSession, chosen: ColumnElement[bool]) -> float | None:
    """Bytes a second of the latest pulls of some tiers."""
    query = (
        select(TierRunRow.outcome)
        .where(chosen, TierRunRow.action == Action.PULL, TierRunRow.ended_at.is_not(None))
        .order_by(TierRunRow.ended_at.desc())
        .limit(EARLIER_RUNS)
    )
    earlier = [json.loads(told) for told in await session.scalars(query)]
    measured = [told for told in earlier if told.get("seconds") and told.get("bytes")]
    seconds = sum(told["seconds"] for told in measured)
    return sum(told["bytes"] for told in measured) / seconds if seconds else None


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

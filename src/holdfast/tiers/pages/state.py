"""How tiers stand: what runs, what failed, what waits, how full their disks are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.services import Services
from holdfast.tiers import page_queries
from holdfast.tiers.model import Action, FileState, TierOptions
from holdfast.tiers.page_queries import RunLine
from holdfast.tiers.queries import WAITING_FILES
from holdfast.tiers.service.rooms import rooms_of, used_percent
from holdfast.tiers.service.roots import Room
from holdfast.tiers.tables import TierRow
from holdfast.tiers.totals import totals

NOTHING = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A tier as its pages show it."""

    row: TierRow
    options: TierOptions
    runs: Sequence[RunLine] = ()
    """The newest of each action, newest first."""
    journal: Mapping[FileState, tuple[int, int]] = field(default_factory=dict)
    room: Room | None = None

    @property
    def last(self) -> RunLine | None:
        """What was asked last."""
        return self.runs[0] if self.runs else None

    @property
    def report(self) -> RunLine | None:
        """The last report that tells what the whole tier holds."""
        told = (r for r in self.runs if r.action is Action.REPORT and r.is_whole and r.totals)
        return next(told, None)

    @property
    def under_way(self) -> RunLine | None:
        """What runs or waits now."""
        return next((run for run in self.runs if run.is_under_way), None)

    @property
    def queue(self) -> Sequence[RunLine]:
        """All that runs or waits now, in its order."""
        return [run for run in reversed(self.runs) if run.is_under_way]

    @property
    def stopped(self) -> RunLine | None:
        """The last freeze, if it stopped at the tier's limit and took nothing."""
        real = (r for r in self.runs if r.action is Action.FREEZE and not r.is_dry)
        last = next(real, None)
        return last if last and last.stopped_at else None

    @property
    def failed(self) -> RunLine | None:
        """The last run, if it failed for another reason."""
        last = self.last
        return last if last and last.state is JobState.FAILED and not last.stopped_at else None

    @property
    def waiting(self) -> tuple[int, int]:
        """Files and bytes in quarantine."""
        found = [self.journal.get(state, NOTHING) for state in WAITING_FILES]
        return sum(files for files, _ in found), sum(size for _, size in found)

    @property
    def frozen(self) -> tuple[int, int]:
        """Files and bytes that left, all freezes together."""
        return self.journal.get(FileState.FROZEN, NOTHING)

    @property
    def full(self) -> float | None:
        """How full the disk is, if that is above the tier's high mark."""
        high = self.options.space_high_percent
        used = used_percent(self.room) if self.room else 0.0
        return used if high is not None and used >= high else None

    @property
    def state(self) -> tuple[str, str]:
        """Tone and word."""
        if self.under_way:
            return "run", str(self.under_way.action)
        if self.failed:
            return "bad", "failed"
        if self.stopped:
            return "warn", "stopped at its limit"
        if self.full is not None:
            return "warn", "disk is full"
        return ("ok", "fine") if self.last else ("idle", "not used yet")


async def standings(
    services: Services,
    session: AsyncSession,
    rows: Sequence[TierRow],
    *,
    states: Sequence[FileState] = tuple(FileState),
) -> list[Standing]:
    """How these tiers stand; ``states``: those of the journal that somebody looks at."""
    numbers = [row.id for row in rows]
    runs = await page_queries.latest_runs(session, numbers)
    journals = await totals(session, numbers, states) if states else {}
    rooms = await rooms_of(services).of(row.root for row in rows)
    return [
        Standing(
            row=row,
            options=TierOptions.from_json(row.options),
            runs=runs.get(row.id, ()),
            journal=journals.get(row.id, {}),
            room=rooms[row.root],
        )
        for row in rows
    ]

"""The jobs of tiers: pull, freeze, undo, verify, report, and empty the quarantine.

Each is one step: what it does is kept in the journal or in the plans of its work folder, and the
next run of the step goes on from there.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, NotFound
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.registry import EndedJob, job, on_job_end, step
from holdfast.kernel.stores.place import Place, open_place
from holdfast.kernel.work import Work
from holdfast.tiers import (
    emptying,
    freezing,
    journal,
    planning,
    pulling,
    reporting,
    undoing,
    verifying,
)
from holdfast.tiers.files import clear_work_dir, details_path, forget_what_is_told_again, work_dir
from holdfast.tiers.model import EMPTY, Action, Asked, Tier
from holdfast.tiers.mounts import check_mounted
from holdfast.tiers.names import from_text
from holdfast.tiers.plan_file import FreezePlan, read_plan
from holdfast.tiers.pull_outcome import estimate_seconds
from holdfast.tiers.running import Outcome, Run, tallying
from holdfast.tiers.tables import TierRow, TierRunRow
from holdfast.tiers.telling import tell_of_the_end

PULL = "tiers.pull"
FREEZE = "tiers.freeze"
UNDO = "tiers.undo"
VERIFY = "tiers.verify"
REPORT = "tiers.report"
KINDS = {
    Action.PULL: PULL,
    Action.FREEZE: FREEZE,
    Action.UNDO: UNDO,
    Action.VERIFY: VERIFY,
    Action.REPORT: REPORT,
}


@job(PULL)
async def pull(ctx: JobContext, *, tier_id: int, asked: Mapping[str, Any] | None = None) -> None:
    """Bring files in that a tier's store has and its folder has not."""
    await pull_files(ctx, tier_id, asked_of(Action.PULL, asked))


@step("tiers.pull", attempts=4, backoff_seconds=2.0, max_backoff_seconds=60.0)
async def pull_files(ctx: JobContext, tier_id: int, asked: Asked) -> None:
    """All of a pull."""
    async with running(ctx, tier_id, asked) as run:
        outcome = await pulling.pull(run, paths_of(asked), dry_run=asked.dry_run)
        await keep(run, outcome)


@job(FREEZE)
async def freeze(ctx: JobContext, *, tier_id: int, asked: Mapping[str, Any] | None = None) -> None:
    """Take unread files out of a tier that its store provably has."""
    await freeze_files(ctx, tier_id, asked_of(Action.FREEZE, asked))


@step("tiers.freeze", attempts=4, backoff_seconds=2.0, max_backoff_seconds=60.0)
async def freeze_files(ctx: JobContext, tier_id: int, asked: Asked) -> None:
    """All of a freeze."""
    async with running(ctx, tier_id, asked) as run:
        await _begin_report(run, dry_run=asked.dry_run)
        plan = await planning.plan_freeze(
            run, paths_of(asked), until_bytes=asked.until_bytes, by_name=asked.dry_run
        )
        if asked.dry_run:
            await asyncio.to_thread(_tell_plan, run, plan)
            would = Outcome(files=plan.files, size_bytes=plan.size_bytes, skipped=plan.skipped)
            await keep_frozen(run, would, over_limit=plan.over_limit)
            return
        if plan.over_limit and not asked.confirm:
            await keep_told(run, {"over_limit": plan.over_limit})
            raise Conflict(
                f"this freeze would take {plan.over_limit}",
                hint="look at a dry run, then confirm it: --confirm",
            )
        done = emptying.together(await freezing.freeze(run, plan), plan.skipped)
        await keep_frozen(run, done, over_limit=plan.over_limit)


async def _begin_report(run: Run, *, dry_run: bool) -> None:
    """Of a run that begins again, nothing is told twice."""
    if dry_run:
        await asyncio.to_thread(run.report.unlink, missing_ok=True)
    else:
        unsettled = await journal.unsettled(run)
        await asyncio.to_thread(forget_what_is_told_again, run.report, unsettled)


def _tell_plan(run: Run, plan: FreezePlan) -> None:
    with tallying(run.report) as tally:
        for file, _ in read_plan(plan.path):
            tally.tell(file.path, file.size_bytes, "would be frozen", "")


async def keep_frozen(run: Run, outcome: Outcome, *, over_limit: str | None) -> None:
    """Put how a freeze went in the run's row, and how long it takes to bring its files back."""
    async with run.ctx.read() as session:
        seconds = await estimate_seconds(session, run.tier, outcome.size_bytes)
    told = {**outcome_json(outcome), "restore_seconds": seconds, "over_limit": over_limit}
    await keep_told(run, told)
    tell(run, outcome)


@job(UNDO)
async def undo(ctx: JobContext, *, tier_id: int, asked: Mapping[str, Any] | None = None) -> None:
    """Bring back what a freeze took, out of the tier's quarantine."""
    await undo_freeze(ctx, tier_id, asked_of(Action.UNDO, asked))


@step("tiers.undo", attempts=4, backoff_seconds=2.0)
async def undo_freeze(ctx: JobContext, tier_id: int, asked: Asked) -> None:
    """All of an undo."""
    async with running(ctx, tier_id, asked) as run:
        await keep(run, await undoing.undo(run, asked.undoes))


@job(VERIFY)
async def verify(ctx: JobContext, *, tier_id: int, asked: Mapping[str, Any] | None = None) -> None:
    """Compare a tier with its store; changes nothing."""
    await verify_files(ctx, tier_id, asked_of(Action.VERIFY, asked))


@step("tiers.verify", attempts=4, backoff_seconds=2.0, max_backoff_seconds=60.0)
async def verify_files(ctx: JobContext, tier_id: int, asked: Asked) -> None:
    """All of a comparison."""
    async with running(ctx, tier_id, asked) as run:
        await keep(run, await verifying.verify(run, paths_of(asked)))


@job(REPORT)
async def report(ctx: JobContext, *, tier_id: int, asked: Mapping[str, Any] | None = None) -> None:
    """Tell what a tier holds by age, folder and owner, and what freezing would save."""
    await report_tier(ctx, tier_id, asked_of(Action.REPORT, asked))


@step("tiers.report", attempts=2)
async def report_tier(ctx: JobContext, tier_id: int, asked: Asked) -> None:
    """All of a report."""
    async with running(ctx, tier_id, asked) as run:
        (below,) = paths_of(asked)
        await keep_told(run, await reporting.report(run, below=below))


@job(EMPTY)
async def empty(ctx: JobContext, *, tier_id: int) -> None:
    """Remove what was frozen once its undo window has ended, after asking the store once more."""
    await empty_quarantine(ctx, tier_id)


@step("tiers.empty", attempts=4, backoff_seconds=2.0, max_backoff_seconds=60.0)
async def empty_quarantine(ctx: JobContext, tier_id: int) -> None:
    """All of it."""
    async with running(ctx, tier_id, None) as run:
        tell(run, await emptying.empty_due(run))


def asked_of(action: Action, asked: Mapping[str, Any] | None) -> Asked:
    """What a job was asked; a schedule asks for the whole tier."""
    return Asked.from_json(json.dumps({"action": action, "paths": [""], **(asked or {})}))


def paths_of(asked: Asked) -> list[bytes]:
    """The paths of a run, relative to the tier's root."""
    return [from_text(path) for path in asked.paths]


@asynccontextmanager
async def running(ctx: JobContext, tier_id: int, asked: Asked | None) -> AsyncIterator[Run]:
    """A job at work on its tier; its listings are forgotten when the block ends well."""
    tier = await begin(ctx, tier_id, asked)
    await _look_where_mounted(ctx, tier)
    data_dir, job_id = ctx.services.settings.data_dir, ctx.job_id
    yield Run(
        ctx=ctx,
        tier=tier,
        places=await places_of(ctx, tier),
        work=await asyncio.to_thread(work_dir, data_dir, job_id),
        report=await asyncio.to_thread(details_path, data_dir, job_id),
    )
    await asyncio.to_thread(clear_work_dir, data_dir, job_id)


async def begin(ctx: JobContext, tier_id: int, asked: Asked | None) -> Tier:
    """The tier; the run of a job that a schedule began gets its row. Raises ``NotFound``."""
    async with ctx.write() as work:
        row = await work.session.get(TierRow, tier_id)
        if row is None:
            raise NotFound(f"there is no tier {tier_id}")
        known = await work.session.get(TierRunRow, ctx.job_id)
        if known is not None:
            known.ended_at = None  # it was retried
        elif asked is not None:
            run = TierRunRow(
                job_id=ctx.job_id,
                tier_id=tier_id,
                action=asked.action,
                asked=asked.to_json(),
                dry_run=asked.dry_run,
                created_at=ctx.now(),
            )
            work.session.add(run)
        return row.tier()


async def _look_where_mounted(ctx: JobContext, tier: Tier) -> None:
    """Keep where; raises ``Unavailable`` when it is not any more."""
    found = await asyncio.to_thread(check_mounted, tier)
    if found and found != tier.mounted_at:
        async with ctx.write() as work:
            row = await work.session.get(TierRow, tier.id)
            if row is not None and row.root == tier.root:
                row.mounted_at = found


async def places_of(ctx: JobContext, tier: Tier) -> tuple[Place, ...]:
    """The folders of the tier's stores, the first where pulls come from."""
    wanted = [(tier.store_id, tier.prefix)]
    if tier.second_store_id is not None:
        wanted.append((tier.second_store_id, tier.second_prefix))
    async with ctx.read() as session:
        return tuple([await open_place(session, ctx.services, *one) for one in wanted])


async def keep(run: Run, outcome: Outcome) -> None:
    """Put how it went in the run's row, and in the job's log."""
    await keep_told(run, outcome_json(outcome))
    tell(run, outcome)


async def keep_told(run: Run, told: Mapping[str, Any]) -> None:
    """Put how it went in the run's row."""
    async with run.ctx.write() as work:
        row = await work.session.get(TierRunRow, run.ctx.job_id)
        if row is not None:
            row.outcome = json.dumps(told)


def tell(run: Run, outcome: Outcome) -> None:
    """Put how it went in the job's log."""
    run.ctx.log(f"{outcome.files} files of {outcome.size_bytes} bytes")
    for reason, (files, size_bytes) in outcome.skipped.items():
        run.ctx.log(f"left: {files} files of {size_bytes} bytes: {reason}")


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """How it went, as kept and told."""
    told = asdict(outcome)
    skipped = told.pop("skipped")
    size_bytes = told.pop("size_bytes")
    by_reason = {str(why): {"files": n, "bytes": size} for why, (n, size) in skipped.items()}
    return {"files": told.pop("files"), "bytes": size_bytes, "skipped": by_reason, **told}


@on_job_end(*KINDS.values())
async def note_the_end(work: Work, ended: EndedJob) -> None:
    """A run ends when its job does, however that ended, and who asked for it is told."""
    run = await work.session.get(TierRunRow, ended.id)
    if run is None:
        return
    run.ended_at = now()
    told = {"id": run.tier_id, "job_id": run.job_id, "action": run.action, "state": ended.state}
    work.emit("tier", "ended", told)
    await tell_of_the_end(work, run, ended)

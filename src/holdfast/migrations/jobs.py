"""The job that drives a migration: one step, which goes on from the flags on disk."""

import json

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.flags import pool_alias
from holdfast.gateway.service.credentials import s3_access
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.routing import entries, is_here
from holdfast.kernel.errors import NotFound, Unavailable
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.registry import EndedJob, job, on_job_end, step
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.work import Work
from holdfast.migrations.driver import Driver
from holdfast.migrations.files import FOLDER
from holdfast.migrations.model import Mode, Options, Stage, is_over
from holdfast.migrations.move import Entrance, Move, Side
from holdfast.migrations.recorder import CANCELLED, Recorder
from holdfast.migrations.tables import MigrationRow

MOVE = "migrations.move"
ELSEWHERE = "this worker does not have the nginx files that the database publishes"
GRACE_SECONDS = 30 * 86_400.0
"""A cancel is never forced: it is carried out in order, or it comes too late."""


@job(MOVE, cancel_grace_seconds=GRACE_SECONDS)
async def move_bucket(ctx: JobContext, *, migration_id: int, abandon: str = "") -> None:
    """Move a bucket. ``abandon``: end an earlier job's migration, with this reason."""
    ended = await drive(ctx, migration_id, abandon)
    if ended == Stage.CANCELLED:
        ctx.give_way()


@step("migrations.drive", attempts=6, backoff_seconds=1.0, max_backoff_seconds=30.0)
async def drive(ctx: JobContext, migration_id: int, abandon: str) -> str:
    """Drive it from where it stands to its end; gives the stage in which it ended."""
    async with ctx.read() as session:
        row = await session.get(MigrationRow, migration_id)
        if row is None:
            raise NotFound("Migration not found")
        if is_over(Stage(row.stage)):
            return row.stage
        if not await is_here(session, ctx.services.get(Gateway)):
            raise Unavailable(ELSEWHERE, hint="a worker beside nginx takes it")
        move = await load_move(ctx, session, row)
    recorder = Recorder(ctx, move, abandon=abandon)
    async with recorder.writing():
        await ctx.services.get(Driver).run(move, recorder)
    return recorder.ended or Stage.ERROR


async def load_move(ctx: JobContext, session: AsyncSession, row: MigrationRow) -> Move:
    """A migration's row as the engine takes it."""
    gateway = ctx.services.get(Gateway)
    now = await entries(session)  # IP rules may have changed since it began
    return Move(
        migration_id=row.id,
        bucket=row.bucket,
        mode=Mode(row.mode),
        source=await side_of(session, gateway, row.src_pool_id),
        destination=await side_of(session, gateway, row.dst_pool_id),
        entrances=tuple(
            Entrance(**{**vhost, "guarded": vhost["name"] in now and now[vhost["name"]].guarded})
            for vhost in json.loads(row.vhosts)
        ),
        options=Options.from_json(row.options),
        reached=Stage(row.stage),
        folder=ctx.services.settings.data_dir / FOLDER,
    )


async def side_of(session: AsyncSession, gateway: Gateway, pool_id: int) -> Side:
    """How a migration reaches a pool. Raises ``BadRequest`` when it has no enabled member."""
    pool = await get_pool(session, pool_id)
    access = await s3_access(session, gateway, pool)
    return Side(
        pool_id=pool.id,
        name=pool.name,
        alias=pool_alias(pool.name),
        endpoint=access.endpoint,
        access_key=access.access_key,
        secret_key=access.secret_key,
        region=access.region,
    )


@on_job_end(MOVE)
async def leave_nothing_half_done(work: Work, ended: EndedJob) -> None:
    """A job that ended without ending its migration is followed by one that does."""
    row = await work.session.get(MigrationRow, ended.args["migration_id"])
    if row is None or is_over(Stage(row.stage)):
        return
    if ended.error and ELSEWHERE in ended.error:
        row.error_msg = f"waiting: {ELSEWHERE}"
        row.job_id = _submit(work, row, str(ended.args.get("abandon") or ""))
        return
    if ended.args.get("abandon"):
        row.error_msg = f"it could not be ended: {ended.error}"
        return
    reason = CANCELLED if row.cancel_requested else f"the job {ended.state}: {ended.error or ''}"
    row.job_id = _submit(work, row, reason)


def _submit(work: Work, row: MigrationRow, abandon: str) -> str:
    args = {"migration_id": row.id} | ({"abandon": abandon} if abandon else {})
    title = f"{'end' if abandon else 'move'} {row.bucket}"
    return submit(work, MOVE, args, locks=[f"buckets/{row.bucket}"], title=title)

"""Starts and cancels migrations."""

import asyncio
import dataclasses
import json
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_access
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.routing import ensure_bucket_route, entrances, vhosts_serving
from holdfast.kernel.bandwidth import bytes_per_second
from holdfast.kernel.clock import now
from holdfast.kernel.config import Settings
from holdfast.kernel.errors import (
    AppError,
    BadRequest,
    Conflict,
    Invalid,
    NotFound,
    TooMany,
    Unavailable,
)
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.jobs.model import FINAL
from holdfast.kernel.nginx.validate import bucket_name
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.work import Actor, Work
from holdfast.migrations import files, tables
from holdfast.migrations.jobs import MOVE
from holdfast.migrations.model import (
    WAIVERS,
    Options,
    Stage,
    is_over,
    may_cancel,
)
from holdfast.migrations.preflight import check_waivers
from holdfast.migrations.service.destination import (
    check_destination,
    first_page,
    is_ours,
    refused_by,
)
from holdfast.migrations.service.staying import check_ways, staying_behind
from holdfast.migrations.service.wish import LOOK_SECONDS, Wish, client_for
from holdfast.migrations.tables import MigrationRow


def default_options(settings: Settings) -> Options:
    """What a migration does when nothing else is asked for."""
    return Options(
        bandwidth_bytes_per_second=bytes_per_second(settings.migration_bandwidth_limit),
        transfers=settings.migration_transfers,
        checkers=settings.migration_checkers,
        max_copy_passes=settings.migration_max_copy_passes,
        max_hold_seconds=settings.migration_max_hold_seconds,
        probation_seconds=settings.migration_probation_seconds,
    )


async def create(services: Services, actor: Actor, wish: Wish) -> MigrationRow:
    """Start moving a bucket, once the source was seen to have it and the destination not.

    Raises ``BadRequest``, ``Conflict``, ``TooMany``, and ``Unavailable`` when the source does not
    answer.
    """
    check_waivers(wish.options.waived, WAIVERS)
    check_hold(wish.options, services.settings)
    async with services.database.read() as session:
        await check_wish(session, services, wish)
        await check_ways(session, wish)
    await check_source(services, wish)
    await check_destination(services, wish)
    async with services.database.write(actor) as work:
        return await put_in(work, services, wish)


def check_hold(options: Options, settings: Settings) -> None:
    """Nginx lets no write wait much longer than the setting says. Raises ``Invalid``."""
    longest = settings.migration_max_hold_seconds
    if options.max_hold_seconds > longest:
        raise Invalid(
            f"max_hold_seconds: {options.max_hold_seconds:g} is more than the setting "
            f"migration_max_hold_seconds, {longest:g}",
            hint="raise the setting, restart the server, and holdfast config rebuild",
        )


async def put_in(
    work: Work, services: Services, wish: Wish, *, first_vhost_id: int | None = None
) -> MigrationRow:
    """Row, routes and job, in this transaction. ``first_vhost_id``: where it was asked for.

    Raises as `check_wish` does, also when that vhost does not serve the bucket from the source.
    """
    session = work.session
    await check_wish(session, services, wish)
    await check_ways(session, wish)
    vhosts = await entrances(session, wish.bucket, wish.source_id)
    if first_vhost_id not in {None, *(vhost.vhost_id for vhost in vhosts)}:
        raise await _nobody_serves(session, wish)
    options = wish.options
    if await is_ours(session, wish):
        options = dataclasses.replace(options, admitted=True)
    staying = await staying_behind(session, wish)
    moment = now()
    row = MigrationRow(
        vhost_id=first_vhost_id or vhosts[0].vhost_id,
        bucket=wish.bucket,
        src_pool_id=wish.source_id,
        dst_pool_id=wish.destination_id,
        mode=wish.mode.value,
        vhosts=json.dumps([vhost.as_json() for vhost in vhosts]),
        options=options.to_json(),
        cascade_warnings="\n".join(staying) or None,
        created_at=moment,
    )
    await _add(session, services.settings, row)
    await ensure_bucket_route(
        work,
        services.get(Gateway),
        vhost_ids=[vhost.vhost_id for vhost in vhosts],
        bucket=wish.bucket,
        pool_id=wish.source_id,
        migration_id=row.id,
    )
    row.job_id = jobs.submit(
        work,
        MOVE,
        {"migration_id": row.id},
        locks=[f"buckets/{wish.bucket}"],
        title=f"move {wish.bucket}",
    )
    after = {
        "bucket": row.bucket,
        "src_pool_id": row.src_pool_id,
        "dst_pool_id": row.dst_pool_id,
        "mode": row.mode,
        "vhosts": [vhost.name for vhost in vhosts],
    }
    work.audit("create_migration", "migration", row.id, after=after)
    work.emit("migration", "created", {"id": row.id, "bucket": row.bucket, "phase": row.phase})
    return row


async def _add(session: AsyncSession, settings: Settings, row: MigrationRow) -> None:
    """Never under a number that has a record on disk: its row may be gone with a pool."""
    taken = await asyncio.to_thread(files.highest_number, settings.data_dir)
    is_behind = await tables.highest_number(session) < taken
    if is_behind:
        row.id = taken + 1
    session.add(row)
    await session.flush()
    if is_behind:
        await tables.advance_numbers(session)


async def adopt(work: Work, migration_id: int) -> None:
    """Give an unfinished migration a job when none of its own is left."""
    row = await work.session.get(MigrationRow, migration_id, with_for_update=True)
    if row is None or is_over(Stage(row.stage)):
        return
    try:
        job = await jobs.show_job(work.session, row.job_id or "")
    except NotFound:
        pass
    else:
        if job.state not in FINAL:
            return
    args = {"migration_id": row.id}
    row.job_id = jobs.submit(
        work, MOVE, args, locks=[f"buckets/{row.bucket}"], title=f"move {row.bucket}"
    )


async def check_wish(session: AsyncSession, services: Services, wish: Wish) -> None:
    """What the rows tell. Raises ``Invalid``, ``BadRequest``, ``Conflict``, ``TooMany``."""
    bucket_name(wish.bucket)
    if wish.source_id == wish.destination_id:
        raise BadRequest(
            "Source and destination pools must be different. Choose another destination pool.",
            hint="holdfast pool list",
        )
    for role, pool_id in (("Source", wish.source_id), ("Destination", wish.destination_id)):
        await _check_pool(session, services, role, pool_id)
    active = await tables.active_migrations(session)
    same = [row.id for row in active if row.bucket == wish.bucket]
    if same:
        raise Conflict(
            f"Bucket '{wish.bucket}' is being moved already, by migration {same[0]}",
            hint=f"wait for it, or cancel it: holdfast migration cancel {same[0]}",
        )
    limit = services.settings.migration_max_parallel
    if len(active) >= limit:
        raise TooMany(
            f"Max parallel migrations reached ({limit}). Wait for one to end.",
            hint="or raise the setting migration_max_parallel",
        )
    if not await entrances(session, wish.bucket, wish.source_id):
        raise await _nobody_serves(session, wish)


async def _check_pool(session: AsyncSession, services: Services, role: str, pool_id: int) -> None:
    try:
        pool = await get_pool(session, pool_id)
    except NotFound:
        raise BadRequest(f"{role} pool {pool_id} not found", hint="holdfast pool list") from None
    if pool.type != "nanio":
        raise BadRequest(
            f"{role} pool '{pool.name}' is of type '{pool.type}'. "
            "Migrations can only be performed between nanio pools."
        )
    try:
        await s3_access(session, services.get(Gateway), pool)
    except BadRequest as error:
        raise BadRequest(
            f"{role} pool '{pool.name}' has no enabled members", hint=error.hint
        ) from None


async def _nobody_serves(session: AsyncSession, wish: Wish) -> BadRequest:
    if await vhosts_serving(session, wish.bucket, wish.destination_id):
        return BadRequest(
            f"Source pool mismatch: bucket '{wish.bucket}' is served by the destination already",
            hint="holdfast bucket list",
        )
    return BadRequest(
        f"No nginx route found for bucket '{wish.bucket}' on pool {wish.source_id}. "
        "Cannot determine vhost for this bucket.",
        hint="give the bucket an enabled route to the source pool, or an enabled vhost whose "
        "default pool it is",
    )


async def check_source(services: Services, wish: Wish) -> None:
    """Ask the source whether the bucket is there.

    Raises ``BadRequest``, ``Unavailable``, and ``Conflict`` when it refuses us for good.
    """
    async with services.database.read() as session:
        pool = await get_pool(session, wish.source_id)
        client = await client_for(session, services, wish.source_id)
    try:
        async with asyncio.timeout(LOOK_SECONDS), client as s3:
            page = await first_page(s3, wish.bucket)
    except (AppError, TimeoutError) as error:
        if isinstance(error, S3Error) and not error.retryable:
            raise Conflict(refused_by(pool.name, wish.bucket, error), hint=error.hint) from error
        reason = error.message if isinstance(error, AppError) else "no answer in time"
        raise Unavailable(
            f"Source pool '{pool.name}' cannot be asked: {reason}", hint="is its server running?"
        ) from error
    if page is None:
        raise BadRequest(f"Bucket '{wish.bucket}' does not exist on pool '{pool.name}'")
    if not page.objects:
        raise BadRequest(
            f"Bucket '{wish.bucket}' is empty on pool '{pool.name}': there is nothing to move",
            hint="point its route to the other pool",
        )


async def cancel(work: Work, migration_id: int) -> MigrationRow:
    """Ask for its end, with the source serving.

    Raises ``NotFound``, ``BadRequest``, ``Conflict``.
    """
    row = await work.session.get(MigrationRow, migration_id, with_for_update=True)
    if row is None:
        raise NotFound("Migration not found", hint="holdfast migration list")
    stage = Stage(row.stage)
    if is_over(stage):
        raise BadRequest(f"Migration is already in terminal state: {row.phase}")
    if not may_cancel(stage):
        raise Conflict(
            f"Bucket '{row.bucket}' is on the destination already: it is too late to cancel",
            hint="when it is done, move it back with a new migration",
        )
    if not row.cancel_requested:
        row.cancel_requested = True
        work.audit("cancel_migration", "migration", row.id, before={"phase": row.phase})
        if row.job_id:
            await jobs.cancel(work, row.job_id)
    return row


def with_limits(options: Options, asked: dict[str, Any]) -> Options:
    """The defaults, but for what was asked for."""
    return dataclasses.replace(options, **{k: v for k, v in asked.items() if v is not None})

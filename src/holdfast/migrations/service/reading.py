"""What a person may know of migrations."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.orphans import Purge, purge_copy
from holdfast.gateway.service.routing import entrances, served_copies
from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, BadRequest, NotFound, Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.work import Actor
from holdfast.migrations import tables
from holdfast.migrations.service.wish import LOOK_SECONDS, client_for
from holdfast.migrations.tables import MigrationLogRow, MigrationRow

QUIET_SECONDS = 10
"""A move that copies tells so every second."""


@dataclass(frozen=True, slots=True)
class Stale:
    """An unfinished migration that cannot get on."""

    row: MigrationRow
    reason: str


async def show(session: AsyncSession, migration_id: int) -> MigrationRow:
    """One migration. Raises ``NotFound``."""
    row = await session.get(MigrationRow, migration_id)
    if row is None:
        raise NotFound("Migration not found", hint="holdfast migration list")
    return row


async def lines(
    session: AsyncSession, migration_id: int, *, limit: int
) -> Sequence[MigrationLogRow]:
    """Its newest log lines, newest first. Raises ``NotFound``."""
    await show(session, migration_id)
    return await tables.log_lines(session, migration_id, limit=limit)


async def left_behind(session: AsyncSession) -> list[MigrationRow]:
    """The newest migration of each copy that was left somewhere and that no vhost serves.

    What an unfinished move goes on with is left out.
    """
    copies: dict[tuple[str, int], MigrationRow] = {}
    for row in await tables.ended_with_leftovers(session):
        assert row.orphaned_source_pool_id is not None
        copies.setdefault((row.bucket, row.orphaned_source_pool_id), row)
    if not copies:  # to know what is served takes all routes
        return []
    in_use = await served_copies(session, copies)
    for row in await tables.active_migrations(session):
        in_use |= {(row.bucket, row.src_pool_id), (row.bucket, row.dst_pool_id)}
    return [row for copy, row in copies.items() if copy not in in_use]


async def source_buckets(services: Services, pool_id: int) -> list[str]:
    """Buckets of a pool that some vhost serves from it: those that can be moved away.

    Raises ``BadRequest``, and ``Unavailable`` when the pool does not answer in time.
    """
    async with services.database.read() as session:
        client = await _client(session, services, pool_id)
    try:
        async with asyncio.timeout(LOOK_SECONDS), client:
            names = await client.list_buckets()
    except TimeoutError:
        raise Unavailable(
            f"Pool {pool_id} does not tell its buckets: no answer within {LOOK_SECONDS:.0f} s",
            hint="is its server running?",
        ) from None
    async with services.database.read() as session:
        return [name for name in sorted(names) if await entrances(session, name, pool_id)]


async def _client(session: AsyncSession, services: Services, pool_id: int) -> S3Client:
    try:
        return await client_for(session, services, pool_id)
    except NotFound:
        raise BadRequest(f"Pool {pool_id} not found", hint="holdfast pool list") from None


async def stale(services: Services) -> list[Stale]:
    """Unfinished migrations whose pools have no members, or whose bucket is gone."""
    async with services.database.read() as session:
        rows = await tables.active_migrations(session)
        clients = [await _ends(session, services, row) for row in rows]
    found = []
    for row, (client, reason) in zip(rows, clients, strict=True):
        words = reason or await _bucket_reason(client, row.bucket)
        if words:
            found.append(Stale(row, words))
    return found


async def _ends(
    session: AsyncSession, services: Services, row: MigrationRow
) -> tuple[S3Client | None, str]:
    try:
        client = await client_for(session, services, row.src_pool_id)
    except AppError:
        return None, "src_no_members"
    try:
        await client_for(session, services, row.dst_pool_id)
    except AppError:
        return None, "dst_no_members"
    return client, ""


async def _bucket_reason(client: S3Client | None, bucket: str) -> str:
    if client is None:
        return ""
    try:
        async with asyncio.timeout(LOOK_SECONDS), client:
            return "" if await client.head_bucket(bucket) else "src_bucket_missing"
    except (AppError, TimeoutError):
        return ""  # nobody knows: a server that is down is not stale


async def purge_source(
    services: Services, actor: Actor, migration_id: int, *, confirm: str, dry_run: bool
) -> Purge:
    """Delete the copy that a migration left behind. Never a live one.

    Raises ``NotFound``, ``BadRequest``, ``Invalid`` without the confirmation, ``Conflict`` when it
    is live.
    """
    async with services.database.read() as session:
        row = await show(session, migration_id)
    if row.orphaned_source_pool_id is None:
        raise BadRequest(
            f"Migration {migration_id} left no copy to purge (it is {row.phase})",
            hint="see: holdfast migration orphaned",
        )
    purge = await purge_copy(
        services,
        actor,
        row.orphaned_source_pool_id,
        row.bucket,
        confirm=confirm,
        dry_run=dry_run,
        action="purge_orphan",
    )
    if not dry_run and not purge.errors:
        async with services.database.write(actor) as work:
            await tables.forget_leftovers(work.session, row.bucket, row.orphaned_source_pool_id)
            work.emit("migration", "purged", {"id": row.id, "bucket": row.bucket})
    return purge


async def throughput(
    session: AsyncSession, row: MigrationRow, *, most: int = 300
) -> tuple[list[float], list[float]]:
    """Moments (seconds since 1970) and the bytes a second that were copied then."""
    seconds: list[float] = []
    rates: list[float] = []
    for moment, data in await tables.progress_told(session, row, most=most):
        rate = json.loads(data).get("bytes_per_second")
        if isinstance(rate, int | float):
            seconds.append(round(moment.timestamp(), 1))
            rates.append(round(rate))
    return seconds, rates


async def rates_now(session: AsyncSession) -> dict[int, float]:
    """Bytes a second that each unfinished migration copies, as it told last; 0 when it is quiet."""
    rates = {row.id: 0.0 for row in await tables.active_migrations(session)}
    for data in await tables.newest_progress(session, now() - timedelta(seconds=QUIET_SECONDS)):
        told = json.loads(data)
        if told["id"] in rates:
            rates[told["id"]] = told.get("bytes_per_second") or 0.0
    return rates

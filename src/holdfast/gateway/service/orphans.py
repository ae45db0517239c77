"""Data that no client reaches any more: found, and purged on request, never a live copy."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.service.discovery import default_pool, status_now
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.errors import BadRequest, Conflict, Invalid
from holdfast.kernel.nginx.validate import bucket_name
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.model import BucketTotals
from holdfast.kernel.work import Actor

MOST_ERRORS = 20


class Confirmation(BaseModel):
    """What is about to be deleted, typed: the body of every call that purges."""

    confirm: str = Field("", max_length=255)


@dataclass(frozen=True, slots=True)
class Orphan:
    """What is left of a bucket on a pool that no longer answers for it."""

    bucket: str
    totals: BucketTotals


@dataclass(slots=True)
class Purge:
    """What a purge did, or, in a dry run, would do."""

    bucket: str
    total: int = 0
    deleted: int = 0
    errors: list[str] = field(default_factory=list)
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """As every call that purges answers."""
        return {"ok": not self.errors, **asdict(self)}


async def orphans_of_vhost(services: Services, vhost_id: int) -> tuple[list[Orphan], int]:
    """Buckets that are routed elsewhere and still have objects on the default pool."""
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        vhost = await get_vhost(session, vhost_id)
        pool = await default_pool(session, vhost)
        known = await bucket_queries.bucket_routes(session, vhost_id=vhost_id)
        client = await s3_for_pool(gateway, session, pool)
    elsewhere = {
        route.bucket
        for route in known
        if route.enabled and route.pool_id != pool.id and not route.migration_id
    }
    async with client:
        names = sorted(elsewhere & set(await client.list_buckets()))
        found = [Orphan(name, await client.totals(name)) for name in names]
    return [orphan for orphan in found if orphan.totals.objects], len(names)


async def purge_orphan(
    services: Services, actor: Actor, vhost_id: int, bucket: str, *, confirm: str, dry_run: bool
) -> Purge:
    """Delete what a routed bucket left on the vhost's default pool."""
    async with services.database.read() as session:
        vhost = await get_vhost(session, vhost_id)
        pool = await default_pool(session, vhost)
        row = await bucket_queries.seen_bucket(session, vhost_id, bucket)
        known = await bucket_queries.bucket_routes(session, vhost_id=vhost_id, bucket=bucket)
        status = status_now(row, known[0] if known else None) if row else "unknown"
        if status != "routed":
            raise BadRequest(
                f"Bucket '{bucket}' is {status}; only orphans of routed buckets can be purged",
                hint="promote or migrate it first",
            )
    return await purge_copy(
        services, actor, pool.id, bucket, confirm=confirm, dry_run=dry_run, action="purge_orphan"
    )


async def purge_copy(
    services: Services,
    actor: Actor,
    pool_id: int,
    bucket: str,
    *,
    confirm: str,
    dry_run: bool,
    action: str,
) -> Purge:
    """Delete every object of a bucket on a pool that does not answer for it.

    ``confirm`` must be the bucket's name. Before each page of deletes it is checked again that no
    vhost sends the bucket to this pool or to another pool that shows its data.
    Raises ``Invalid`` without the confirmation and ``Conflict`` when the copy is live.
    """
    bucket_name(bucket)
    if confirm != bucket and not dry_run:
        raise Invalid(
            f"Purging deletes every object of '{bucket}' on this pool",
            hint=f'confirm it by its name: {{"confirm": "{bucket}"}}',
        )
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        pool = await _nanio_pool(session, pool_id)
        await check_not_live(session, gateway, pool, bucket)
        client = await s3_for_pool(gateway, session, pool)
    async with client:
        totals = await client.totals(bucket)
        result = Purge(bucket, total=totals.objects, dry_run=dry_run)
        if dry_run:
            return result
        before = {"pool": pool.name, "objects": totals.objects, "bytes": totals.size_bytes}
        await _journal(services, actor, action, bucket, {**before, "state": "started"})

        async def still_dead() -> None:
            async with services.database.read() as session:
                await check_not_live(session, gateway, pool, bucket)

        try:
            await _delete_all(client, result, still_dead)
        finally:
            after = {**before, "state": "ended", "deleted": result.deleted}
            await _journal(services, actor, action, bucket, after)
    return result


async def check_not_live(
    session: AsyncSession, gateway: Gateway, pool: PoolRow, bucket: str
) -> None:
    """Raises ``Conflict`` when a pool that shows this one's data answers for the bucket."""
    same = await bucket_queries.pools_over(session, pool.id)
    live = sorted(p.name for p in await bucket_queries.live_pools(session, bucket) if p.id in same)
    if live:
        raise Conflict(
            f"The copy of '{bucket}' on '{pool.name}' is live: clients reach it through "
            f"{', '.join(live)}",
            hint="route the bucket elsewhere first",
        )
    prefixes = await bucket_queries.prefix_routes_into(session, same, bucket)
    if prefixes:
        raise Conflict(
            f"The copy of '{bucket}' on '{pool.name}' is live: route {prefixes[0][1]} of "
            f"{prefixes[0][0]} reaches into it",
            hint="delete that route first",
        )
    port = gateway.ports.migrations
    moves = [await port.active_for_bucket(session, bucket, one) for one in same] if port else []
    if any(moves):
        raise Conflict(f"'{bucket}' is being moved from or to '{pool.name}'", hint="wait for it")


async def _nanio_pool(session: AsyncSession, pool_id: int) -> PoolRow:
    pool = await session.get(PoolRow, pool_id)
    if pool is None or pool.type != "nanio":
        raise BadRequest(f"Pool {pool_id} is not a nanio pool", hint="holdfast pool list")
    return pool


async def _delete_all(
    client: S3Client, result: Purge, still_dead: Callable[[], Awaitable[None]]
) -> None:
    """Delete page by page, checking before each that the copy is still dead.

    A server may lose its place in a listing that shrinks, so it lists again until nothing goes.
    """
    failed: dict[str, str] = {}
    gone = -1
    while gone < result.deleted:
        gone = result.deleted
        async for page in client.list_objects(result.bucket, by_folder=True):
            await still_dead()
            keys = [listed.key for listed in page if listed.key not in failed]
            refused = await client.delete_many(result.bucket, keys) if keys else {}
            failed |= refused
            result.deleted += len(keys) - len(refused)
    result.errors = [f"{key}: {why}" for key, why in failed.items()][:MOST_ERRORS]


async def _journal(
    services: Services, actor: Actor, action: str, bucket: str, after: dict[str, object]
) -> None:
    async with services.database.write(actor) as work:
        work.audit(action, "bucket", bucket, after=after)
        work.emit("gateway", "bucket.purged", {"bucket": bucket, "state": after["state"]})

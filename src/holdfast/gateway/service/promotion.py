"""Gives a seen bucket a route of its own, ignores it, or takes its route away."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries
from holdfast.gateway.bucket_queries import BucketRoute
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import BucketStatus, RouteDraft
from holdfast.gateway.render_model import BUCKET_NAME
from holdfast.gateway.service import routes
from holdfast.gateway.service.credentials import s3_for_pool
from holdfast.gateway.service.discovery import default_pool, status_now
from holdfast.gateway.service.moves import Look
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import BucketRow, PoolRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, Invalid, NotFound, Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.work import Actor, Work


@dataclass(frozen=True, slots=True)
class Promotion:
    """A bucket's new route, and the migration that was started for it."""

    bucket: str
    pool: PoolRow
    output: str
    migration_id: int | None
    """None also in a dry run, which starts none."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for, with what is there now."""

    vhost: VhostRow
    source: PoolRow
    target: PoolRow
    bucket: str


async def promote(
    services: Services,
    actor: Actor,
    vhost_id: int,
    bucket: str,
    *,
    pool_id: int,
    migrate: bool,
    allow_orphan: bool,
    dry_run: bool = False,
) -> Promotion:
    """Route a bucket to a pool: moving its objects there, or leaving them behind knowingly.

    Raises ``BadRequest`` (its text names ``allow_orphan``) when objects would be left behind by
    mistake, ``Conflict`` when the bucket has a route or a move would overwrite what is there.
    """
    gateway = services.get(Gateway)
    _check_bucket(bucket)
    async with services.database.read() as session:
        wish = await _wish(session, vhost_id, bucket, pool_id, migrate=migrate)
        here = await s3_for_pool(gateway, session, wish.source)
        there = await s3_for_pool(gateway, session, wish.target)
    output = f"{bucket} is routed to {wish.target.name}"
    if migrate and gateway.ports.migrations is not None:
        await gateway.ports.migrations.check_destination(
            bucket=bucket, source_id=wish.source.id, destination_id=wish.target.id
        )
    leaves = wish.target.id != wish.source.id and not migrate
    look = Look(wish.source.name, bucket, here) if leaves and not allow_orphan else None
    if look and await look.has_something():
        raise BadRequest(
            f"Bucket '{bucket}' has objects or uploads on '{wish.source.name}'; routing it to "
            f"'{wish.target.name}' would hide them: send migrate or allow_orphan",
            hint="send migrate: true to move them, or allow_orphan: true to leave them",
        )
    if leaves:
        async with there:
            if dry_run and not await there.head_bucket(bucket):
                output += "; it would be created there"
            elif not dry_run and await there.create_bucket(bucket):
                output += "; it was created there"
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        return await _promote(work, gateway, wish, output, migrate=migrate, left=look)


async def ignore(work: Work, vhost_id: int, bucket: str) -> BucketRow:
    """Leave a bucket out of what needs attention. Raises ``NotFound`` and ``BadRequest``."""
    vhost = await get_vhost(work.session, vhost_id)
    row = await _seen(work.session, vhost_id, bucket)
    known = await bucket_queries.bucket_routes(work.session, vhost_id=vhost_id, bucket=bucket)
    before = status_now(row, known[0] if known else None)
    if before in {"routed", "migrating"}:
        raise BadRequest(f"Bucket '{bucket}' is {before}", hint="take its route away first")
    row.status = "ignored"
    after = {"status": row.status, "vhost": vhost.server_name}
    work.audit("ignore_bucket", "bucket", bucket, before={"status": before}, after=after)
    work.emit("gateway", "bucket.ignored", {"vhost_id": vhost_id, "bucket": bucket})
    return row


async def migrate_leftovers(
    services: Services, actor: Actor, vhost_id: int, bucket: str, *, dry_run: bool = False
) -> int | None:
    """Move what is left on the default pool to the pool that the bucket's route names.

    Only while that pool holds no object of the bucket: which of two copies is the right one cannot
    be told afterwards, and an object that is missing there may have been deleted. Gives the
    migration's id; none in a dry run.
    """
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        vhost = await get_vhost(session, vhost_id)
        source = await default_pool(session, vhost)
        await _check_not_deleted(session, vhost_id, bucket)
        route = await _route(session, vhost_id, bucket)
        if route.pool_id == source.id:
            raise BadRequest(f"Bucket '{bucket}' is already on '{source.name}'", hint="promote it")
        target = await session.get_one(PoolRow, route.pool_id)
        there = await s3_for_pool(gateway, session, target)
    look = Look(target.name, bucket, there)
    if await look.has_something():
        raise Conflict(
            f"Bucket '{bucket}' has objects or uploads on both '{source.name}' and '{target.name}'",
            hint="copy what is wanted by hand, then purge the orphan",
        )
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        route = await _route(work.session, vhost_id, bucket)
        back = {"pool_id": source.id}
        _ = await routes.update_route(work, gateway, vhost_id, route.route_id, back, left=look)
        await work.settle()  # a migration must find the flag at its source, and no write behind it
        migration_id = await _start(work, gateway, _Wish(vhost, source, target, bucket))
        work.audit("start_migration", "migration", migration_id, after={"bucket": bucket})
        return None if dry_run else migration_id


async def unroute(work: Work, gateway: Gateway, vhost_id: int, bucket: str) -> None:
    """Take a bucket's own route away; the default pool answers from then on."""
    vhost = await get_vhost(work.session, vhost_id)
    found = await bucket_queries.bucket_routes(work.session, vhost_id=vhost_id, bucket=bucket)
    if not found:
        raise NotFound(f"No route found for bucket '{bucket}'", hint="holdfast route list")
    if found[0].migration_id:
        raise Conflict(f"Bucket '{bucket}' is being moved", hint="wait for it, or cancel it")
    await routes.delete_route(work, gateway, vhost_id, found[0].route_id)
    row = await bucket_queries.seen_bucket(work.session, vhost_id, bucket)
    if row:
        row.status = "unrouted"
    gone = {"pool": found[0].pool_name, "vhost": vhost.server_name}
    work.audit("remove_bucket_route", "bucket", bucket, before=gone)


async def _wish(
    session: AsyncSession, vhost_id: int, bucket: str, pool_id: int, *, migrate: bool
) -> _Wish:
    vhost = await get_vhost(session, vhost_id)
    source = await default_pool(session, vhost)
    target = await session.get(PoolRow, pool_id)
    if target is None:
        raise BadRequest(f"Pool {pool_id} not found", hint="holdfast pool list")
    if target.type != "nanio" or source.type != "nanio":
        raise BadRequest("Buckets can only be promoted between nanio pools")
    if migrate and target.id == source.id:
        raise BadRequest(
            f"Cannot migrate to the default pool '{source.name}': the bucket is there already",
            hint="promote it without migrate",
        )
    await _check_not_deleted(session, vhost_id, bucket)
    if await bucket_queries.bucket_routes(session, vhost_id=vhost_id, bucket=bucket):
        raise Conflict(f"Route with prefix '/{bucket}/' already exists for this vhost")
    return _Wish(vhost, source, target, bucket)


async def _promote(
    work: Work, gateway: Gateway, wish: _Wish, output: str, *, migrate: bool, left: Look | None
) -> Promotion:
    bucket = wish.bucket
    first = wish.source if migrate else wish.target
    draft = RouteDraft(vhost_id=wish.vhost.id, path_prefix=f"/{bucket}/", pool_id=first.id)
    _ = await routes.create_route(work, gateway, draft, left=left)
    status: BucketStatus = "migrating" if migrate else "routed"
    row = await bucket_queries.seen_bucket(work.session, wish.vhost.id, bucket)
    if row is None:
        row = BucketRow(vhost_id=wish.vhost.id, name=bucket, status=status, discovered_at=now())
        work.session.add(row)
    row.status = status
    migration_id = await _start(work, gateway, wish) if migrate else None
    after: dict[str, object] = {"bucket": bucket, "pool": wish.target.name}
    after |= {"migration_id": migration_id, "vhost": wish.vhost.server_name}
    work.audit("promote_bucket", "route", f"/{bucket}/", after=after)
    return Promotion(bucket, wish.target, output, None if work.dry_run else migration_id)


async def _start(work: Work, gateway: Gateway, wish: _Wish) -> int:
    port = gateway.ports.migrations
    if port is None:
        raise Unavailable("This process has no migrations", hint="run holdfast serve")
    return await port.start(
        work, vhost=wish.vhost, bucket=wish.bucket, source=wish.source, destination=wish.target
    )


async def _route(session: AsyncSession, vhost_id: int, bucket: str) -> BucketRoute:
    found = await bucket_queries.bucket_routes(session, vhost_id=vhost_id, bucket=bucket)
    if not found:
        raise BadRequest(f"No route found for bucket '{bucket}'", hint="promote first")
    return found[0]


async def _seen(session: AsyncSession, vhost_id: int, bucket: str) -> BucketRow:
    row = await bucket_queries.seen_bucket(session, vhost_id, bucket)
    if row is None:
        raise NotFound(f"Bucket '{bucket}' not found", hint="discover first: holdfast bucket sync")
    return row


async def _check_not_deleted(session: AsyncSession, vhost_id: int, bucket: str) -> None:
    row = await bucket_queries.seen_bucket(session, vhost_id, bucket)
    if row and row.status == "deleted":
        raise BadRequest(f"Bucket '{bucket}' is deleted", hint="discover again if it is back")


def _check_bucket(bucket: str) -> None:
    if not BUCKET_NAME.fullmatch(bucket):
        raise Invalid(f"{bucket!r} is not a legal bucket name", hint="letters, digits and . _ -")

"""Bucket routes of vhosts whose default pool is an ``http`` pool over the data of a nanio pool."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries
from holdfast.gateway.bucket_queries import BucketRoute
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import RouteDraft
from holdfast.gateway.service import routes
from holdfast.gateway.service.discovery import default_pool
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import PoolRow, RouteRow, VhostRow
from holdfast.kernel.errors import BadRequest, Conflict, NotFound
from holdfast.kernel.work import Work


@dataclass(frozen=True, slots=True)
class HttpBuckets:
    """The bucket routes of such a vhost, and the routed buckets of the pool behind it."""

    vhost: VhostRow
    source: PoolRow
    routes: list[BucketRoute]
    linked: list[str]


async def http_buckets(session: AsyncSession, vhost_id: int) -> HttpBuckets:
    """What is routed. Raises ``BadRequest`` unless the default pool is http with a source pool."""
    vhost, _, source = await _parts(session, vhost_id)
    everywhere = await bucket_queries.bucket_routes(session)
    own = [route for route in everywhere if route.vhost_id == vhost_id]
    linked = {route.bucket for route in everywhere if route.pool_id == source.id}
    return HttpBuckets(vhost, source, own, sorted(linked))


async def add_http_bucket(work: Work, gateway: Gateway, vhost_id: int, bucket: str) -> RouteRow:
    """Route a bucket to the vhost's http pool. Raises ``Conflict`` when it has a route."""
    vhost, pool, _ = await _parts(work.session, vhost_id)
    if await bucket_queries.bucket_routes(work.session, vhost_id=vhost.id, bucket=bucket):
        raise Conflict(f"Route with prefix '/{bucket}/' already exists for this vhost")
    draft = RouteDraft(vhost_id=vhost.id, path_prefix=f"/{bucket}/", pool_id=pool.id)
    made = await routes.create_route(work, gateway, draft)
    work.audit("add_http_bucket_route", "route", made.row.id, after={"bucket": bucket})
    return made.row


async def remove_http_bucket(work: Work, gateway: Gateway, vhost_id: int, bucket: str) -> None:
    """Take such a route away. Raises ``NotFound``."""
    await _parts(work.session, vhost_id)
    found = await bucket_queries.bucket_routes(work.session, vhost_id=vhost_id, bucket=bucket)
    if not found:
        raise NotFound(f"No route found for bucket '{bucket}'", hint="holdfast route list")
    await routes.delete_route(work, gateway, vhost_id, found[0].route_id)
    work.audit("remove_http_bucket_route", "route", found[0].route_id, before={"bucket": bucket})


async def _parts(session: AsyncSession, vhost_id: int) -> tuple[VhostRow, PoolRow, PoolRow]:
    vhost = await get_vhost(session, vhost_id)
    pool = await default_pool(session, vhost)
    source = (
        await session.get(PoolRow, pool.source_nanio_pool_id) if pool.source_nanio_pool_id else None
    )
    if pool.type != "http" or source is None:
        raise BadRequest(
            "The vhost's default pool is not an http pool with a source_nanio_pool_id",
            hint="set source_nanio_pool_id on the http pool",
        )
    return vhost, pool, source

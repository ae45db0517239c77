"""Lists of buckets, of all vhosts and of one: ``/web/buckets``, ``/web/vhosts/{id}/buckets``."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_page_queries
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.bucket_page_queries import BUCKET_SORTS, STATUSES, BucketLine
from holdfast.gateway.service import discovery, orphans
from holdfast.gateway.service.bucket_sizes import Counted, Place, count_buckets
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import typed_name
from holdfast.kernel.web.console.listing import Listing, listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(include_in_schema=False)
WARNINGS_TOLD = 5


@router.get("/web/buckets")
async def list_all(request: Request, session: ReadDep, services: ServicesDep) -> Response:
    """Buckets of every vhost. ``?sizes=true``: count what is in those shown."""
    shown = await _shown(request, session, services)
    return await page(request, "gateway/buckets.html.j2", vhost=None, pool=None, **shown)


@router.post("/web/buckets/sync", dependencies=[OPERATOR])
async def sync_all(services: ServicesDep, actor: ActorDep) -> Response:
    """Ask the pools of every vhost for their buckets now."""
    done = await discovery.sync_all(services, actor)
    told = f"{done.found} bucket{'' if done.found == 1 else 's'} found in {done.vhosts} vhosts."
    return see_other("/web/buckets", told=told, warning=_few(done.warnings))


@router.get("/web/vhosts/{vhost_id}/buckets")
async def list_of_vhost(
    request: Request, vhost_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """Buckets seen through a vhost."""
    vhost = await get_vhost(session, vhost_id)
    pool = await session.get(PoolRow, vhost.default_pool_id) if vhost.default_pool_id else None
    shown = await _shown(request, session, services, vhost)
    return await page(request, "gateway/buckets.html.j2", vhost=vhost, pool=pool, **shown)


@router.post("/web/vhosts/{vhost_id}/sync-buckets", dependencies=[OPERATOR])
async def sync_one(services: ServicesDep, actor: ActorDep, vhost_id: PathId) -> Response:
    """Ask the pools of a vhost for their buckets now."""
    result = await discovery.sync_vhost(services, vhost_id, actor)
    back = f"/web/vhosts/{vhost_id}/buckets"
    if result.skipped or result.error:
        return see_other(back, warning=f"Nothing was found: {result.skipped or result.error}")
    told = f"{result.found} bucket{'' if result.found == 1 else 's'} found."
    return see_other(back, told=told, warning=_few(result.troubles()))


@router.get("/web/vhosts/{vhost_id}/orphans")
async def list_orphans(
    request: Request, vhost_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """Routed buckets that still have objects on the vhost's default pool."""
    vhost = await get_vhost(session, vhost_id)
    pool = await discovery.default_pool(session, vhost)
    await session.close()
    found, checked = await orphans.orphans_of_vhost(services, vhost_id)
    return await page(
        request,
        "gateway/orphans.html.j2",
        vhost=vhost,
        pool=pool,
        orphans=found,
        checked=checked,
    )


@router.post("/web/vhosts/{vhost_id}/orphans/{bucket}/purge", dependencies=[OPERATOR])
async def purge_orphan(
    request: Request, services: ServicesDep, actor: ActorDep, vhost_id: PathId, bucket: str
) -> Response:
    """Delete what a routed bucket left on the default pool, once its name was typed."""
    typed = await typed_name(request)
    done = await orphans.purge_orphan(
        services, actor, vhost_id, bucket, confirm=typed, dry_run=False
    )
    return see_other(f"/web/vhosts/{vhost_id}/orphans", **purge_words(done))


def purge_words(done: orphans.Purge) -> dict[str, str]:
    """What a purge did, for `see_other`."""
    told = f"{done.deleted:,} of {done.total:,} objects of {done.bucket} are deleted."
    return {"told": told, "warning": _few(done.errors)}


async def _shown(
    request: Request, session: AsyncSession, services: Services, vhost: VhostRow | None = None
) -> dict[str, Any]:
    asked = listing(request, sorts=tuple(BUCKET_SORTS), filters=("status", "sizes"))
    lines, total = await bucket_page_queries.bucket_lines(
        session, asked, vhost_id=vhost.id if vhost else None
    )
    await session.close()
    counted = await _sizes(services, asked, lines)
    return {
        "list": asked,
        "rows": lines,
        "total": total,
        "counted": counted,
        "statuses": [(status, status) for status in STATUSES],
    }


async def _sizes(
    services: Services, asked: Listing, lines: Sequence[BucketLine]
) -> dict[Place, Counted] | None:
    """How much is in the buckets shown; None when nobody asked."""
    if asked.others.get("sizes") != "true":
        return None
    live = [line for line in lines if line.pool_id and line.status != "deleted"]
    return await count_buckets(services, [(line.pool_id or 0, line.name) for line in live])


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - WARNINGS_TOLD
    return "; ".join(texts[:WARNINGS_TOLD]) + (f"; and {more} more" if more > 0 else "")

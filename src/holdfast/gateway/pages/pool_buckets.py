"""Buckets that lie on a pool, and who is sent to them: ``/web/pools/{pool_id}/buckets``."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request, Response

from holdfast.gateway.api.deps import PathId
from holdfast.gateway.pages.buckets import purge_words
from holdfast.gateway.service import orphans
from holdfast.gateway.service.bucket_sizes import count_buckets
from holdfast.gateway.service.pool_buckets import ORDER, PoolBucket, pool_buckets
from holdfast.gateway.service.pools import get_pool
from holdfast.kernel.errors import AppError, BadGateway, BadRequest
from holdfast.kernel.web.console.forms import typed_name
from holdfast.kernel.web.console.listing import Listing, listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/pools/{pool_id}/buckets", include_in_schema=False)
SORTS: dict[str, Callable[[PoolBucket], Any]] = {
    "status": lambda bucket: (ORDER.index(bucket.status), bucket.name),
    "name": lambda bucket: bucket.name,
}
WORDS = {
    "routed": "routed here",
    "via_default": "by default pool",
    "orphaned": "routed elsewhere",
    "unrouted": "no client",
}
TONES = {"routed": "ok", "via_default": "idle", "orphaned": "warn", "unrouted": "warn"}


@router.get("")
async def list_of_pool(
    request: Request, pool_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """What is on the pool's server now, those that need attention first."""
    pool = await get_pool(session, pool_id)
    await session.close()
    asked = listing(request, sorts=tuple(SORTS), filters=("status", "sizes"))
    problem: AppError | None = None
    buckets: Sequence[PoolBucket] = ()
    try:
        buckets = (await pool_buckets(services, pool_id)).buckets
    except (BadGateway, BadRequest) as error:
        problem = error
    fitting = _fitting(buckets, asked)
    rows = fitting[asked.offset : asked.offset + asked.rows]
    counted = None
    if asked.others.get("sizes") == "true":
        counted = await count_buckets(services, [(pool_id, bucket.name) for bucket in rows])
    return await page(
        request,
        "gateway/pool_buckets.html.j2",
        status=problem.http_status if problem else 200,
        pool=pool,
        problem=problem,
        list=asked,
        rows=rows,
        total=len(fitting),
        on_pool=len(buckets),
        counted=counted,
        words=WORDS,
        tones=TONES,
    )


@router.post("/{bucket}/purge", dependencies=[OPERATOR])
async def purge(
    request: Request, services: ServicesDep, actor: ActorDep, pool_id: PathId, bucket: str
) -> Response:
    """Delete a copy that no client reaches, once the bucket's name was typed."""
    typed = await typed_name(request)
    done = await orphans.purge_copy(
        services,
        actor,
        pool_id,
        bucket,
        confirm=typed,
        dry_run=False,
        action="pool_bucket_purge",
    )
    return see_other(f"/web/pools/{pool_id}/buckets", **purge_words(done))


def _fitting(buckets: Sequence[PoolBucket], asked: Listing) -> list[PoolBucket]:
    words, status = asked.q.lower(), asked.others.get("status")
    found = [
        bucket
        for bucket in buckets
        if words in bucket.name.lower() and status in {None, bucket.status}
    ]
    return sorted(found, key=SORTS[asked.sort], reverse=asked.descending)

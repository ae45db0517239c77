"""Bucket routes over an http pool: ``/web/vhosts/{vhost_id}/http-buckets``."""

from fastapi import Request, Response

from holdfast.gateway.api.deps import PathId
from holdfast.gateway.pages.edge import gateway_work
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import http_buckets
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ReadDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/vhosts/{vhost_id}/http-buckets", include_in_schema=False)


@router.get("")
async def list_http_buckets(request: Request, vhost_id: PathId, session: ReadDep) -> Response:
    """Buckets of the pool behind the http pool, and which of them this vhost shows."""
    found = await http_buckets.http_buckets(session, vhost_id)
    routed = {route.bucket: route for route in found.routes}
    asked = listing(request, sorts=("name",))
    names = [name for name in sorted({*found.linked, *routed}) if asked.q.lower() in name.lower()]
    if asked.descending:
        names.reverse()
    return await page(
        request,
        "gateway/http_buckets.html.j2",
        vhost=found.vhost,
        source=found.source,
        routed=routed,
        linked=set(found.linked),
        list=asked,
        rows=names[asked.offset : asked.offset + asked.rows],
        total=len(names),
    )


@router.post("/{bucket}/add", dependencies=[OPERATOR])
async def add(request: Request, vhost_id: PathId, bucket: str) -> Response:
    """Show a bucket through this vhost."""
    async with gateway_work(request) as (work, gateway):
        await http_buckets.add_http_bucket(work, gateway, vhost_id, bucket)
    told, back = f"{bucket} has a route here.", f"/web/vhosts/{vhost_id}/http-buckets"
    return see_other(back, told=told, warning=warning_of(work))


@router.post("/{bucket}/remove", dependencies=[OPERATOR])
async def remove(request: Request, vhost_id: PathId, bucket: str) -> Response:
    """Show it no more."""
    async with gateway_work(request) as (work, gateway):
        await http_buckets.remove_http_bucket(work, gateway, vhost_id, bucket)
    told, back = f"{bucket} has no route here any more.", f"/web/vhosts/{vhost_id}/http-buckets"
    return see_other(back, told=told, warning=warning_of(work))

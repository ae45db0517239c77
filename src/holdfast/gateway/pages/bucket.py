"""One bucket of a vhost: ``/web/vhosts/{vhost_id}/buckets/{bucket}``."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_page_queries, bucket_queries
from holdfast.gateway.api.buckets import PromoteIn
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.bucket_queries import BucketRoute
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import gateway_work
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import discovery, promotion
from holdfast.gateway.service.bucket_sizes import count_buckets
from holdfast.gateway.service.choosing import pool_options
from holdfast.gateway.service.vhosts import get_vhost
from holdfast.gateway.tables import BucketRow, PoolRow
from holdfast.kernel.audit import AuditRow
from holdfast.kernel.errors import AppError, BadRequest, NotFound
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/web/vhosts/{vhost_id}/buckets/{bucket}", include_in_schema=False)
MOVES_SHOWN = 10
CHANGES_SHOWN = 20
_DONE = {
    "promote_bucket": "routed",
    "remove_bucket_route": "route taken away",
    "ignore_bucket": "ignored",
    "purge_orphan": "objects purged",
    "pool_bucket_purge": "objects purged",
}
_TOLD = ("vhost", "pool", "state", "deleted", "migration_id")
MOVE, LEAVE = "migrate", "orphan"
"""The buttons of the box that asks what becomes of objects on the default pool."""


@router.get("")
async def show_bucket(
    request: Request, vhost_id: PathId, bucket: str, session: ReadDep, services: ServicesDep
) -> Response:
    """Where it goes, what lies where (``?count=true``: counted now), and its moves."""
    shown = await _shown(session, services, vhost_id, bucket)
    await session.close()
    counted = None
    if request.query_params.get("count") == "true":
        counted = await count_buckets(services, [(pool.id, bucket) for pool in shown["pools"]])
    return await page(request, "gateway/bucket.html.j2", bucket=bucket, counted=counted, **shown)


@router.api_route("/promote", methods=["GET", "POST"], dependencies=[OPERATOR])
async def promote(
    request: Request,
    vhost_id: PathId,
    bucket: str,
    session: ReadDep,
    services: ServicesDep,
    actor: ActorDep,
) -> Response:
    """Give a bucket a route of its own; asks when that would hide objects."""
    vhost = await get_vhost(session, vhost_id)
    source = await discovery.default_pool(session, vhost)
    form = Form(await _fields(session, source))
    await session.close()
    conflict: AppError | None = None
    if request.method == "POST" and (body := await form.read(request, PromoteIn)):
        try:
            done = await promotion.promote(
                services,
                actor,
                vhost_id,
                bucket,
                pool_id=body.pool_id,
                migrate=form.button == MOVE,
                allow_orphan=form.button == LEAVE,
            )
        except AppError as error:
            if _hides_objects(error):
                conflict, form.status = error, error.http_status
            else:
                form.refuse(error)
        else:
            if done.migration_id is not None:
                told = f"{bucket} has a route and moves to {done.pool.name}."
                return see_other(f"/web/migrations/{done.migration_id}", told=told)
            return see_other(_back(vhost_id, bucket), told=f"{done.output}.")
    return await page(
        request,
        "gateway/promote.html.j2",
        status=form.status,
        form=form,
        vhost=vhost,
        source=source,
        bucket=bucket,
        conflict=conflict,
        target=dict(form.fields[0].options).get(str(form.values.get("pool_id")), "the other pool"),
    )


@router.post("/ignore", dependencies=[OPERATOR])
async def ignore(request: Request, vhost_id: PathId, bucket: str) -> Response:
    """Leave it out of what needs attention."""
    async with gateway_work(request) as (work, _):
        await promotion.ignore(work, vhost_id, bucket)
    return see_other(f"/web/vhosts/{vhost_id}/buckets", told=f"{bucket} is ignored.")


@router.post("/unroute", dependencies=[OPERATOR])
async def unroute(request: Request, vhost_id: PathId, bucket: str) -> Response:
    """Take its own route away."""
    async with gateway_work(request) as (work, gateway):
        await promotion.unroute(work, gateway, vhost_id, bucket)
    told = f"{bucket} has no route of its own any more: the default pool answers."
    return see_other(_back(vhost_id, bucket), told=told, warning=warning_of(work))


@router.post("/migrate", dependencies=[OPERATOR])
async def migrate(
    services: ServicesDep, actor: ActorDep, vhost_id: PathId, bucket: str
) -> Response:
    """Move what is left on the default pool to the pool that its route names."""
    number = await promotion.migrate_leftovers(services, actor, vhost_id, bucket)
    return see_other(f"/web/migrations/{number}", told=f"{bucket} moves.")


def _back(vhost_id: int, bucket: str) -> str:
    return f"/web/vhosts/{vhost_id}/buckets/{quote(bucket)}"


def _hides_objects(error: AppError) -> bool:
    """Whether a promotion was refused because objects would be left behind by mistake."""
    return isinstance(error, BadRequest) and "allow_orphan" in error.hint


async def _shown(
    session: AsyncSession, services: Services, vhost_id: int, bucket: str
) -> dict[str, Any]:
    vhost = await get_vhost(session, vhost_id)
    routes = await bucket_queries.bucket_routes(session, bucket=bucket)
    row = await bucket_queries.seen_bucket(session, vhost_id, bucket)
    route = next((one for one in routes if one.vhost_id == vhost_id), None)
    if row is None and route is None:
        raise NotFound(
            f"No bucket {bucket!r} was seen in {vhost.server_name}",
            hint="sync the vhost's buckets to look for it now",
        )
    default = await session.get(PoolRow, vhost.default_pool_id) if vhost.default_pool_id else None
    pool_ids = {one.pool_id for one in routes} | ({default.id} if default else set())
    pools = await bucket_page_queries.pools_by_id(session, sorted(pool_ids))
    port = services.get(Gateway).ports.migrations
    moves = await port.moves_of(session, bucket, limit=MOVES_SHOWN) if port else ()
    named = await bucket_page_queries.pools_by_id(
        session, sorted({number for one in moves for number in (one.src_pool_id, one.dst_pool_id)})
    )
    is_routed = route is not None and (route.enabled or route.migration_id is not None)
    return {
        "vhost": vhost,
        "row": row,
        "route": route,
        "state": _state(row, route),
        "default": default,
        "answers": pools.get(route.pool_id) if route and is_routed else default,
        "pools": [pool for pool in pools.values() if pool.type == "nanio"],
        "others": [one for one in routes if one.vhost_id != vhost_id],
        "moves": moves,
        "names": {number: pool.name for number, pool in named.items()},
        "changes": [
            _change(one)
            for one in await bucket_page_queries.bucket_changes(
                session, bucket, limit=CHANGES_SHOWN
            )
        ],
    }


def _change(row: AuditRow) -> tuple[AuditRow, str, str]:
    """One change of the audit, what was done, and what it says of it."""
    told = json.loads(row.before_json or "{}") | json.loads(row.after_json or "{}")
    details = [f"{name} {told[name]}" for name in _TOLD if told.get(name) is not None]
    return row, _DONE.get(row.action, row.action.replace("_", " ")), ", ".join(details)


def _state(row: BucketRow | None, route: BucketRoute | None) -> str:
    if row is not None:
        return discovery.status_now(row, route)
    return "migrating" if route and route.migration_id else "routed"


async def _fields(session: AsyncSession, source: PoolRow) -> Sequence[Field]:
    options = [
        (number, f"{name} (it stays where it is)" if number == str(source.id) else name)
        for number, name in await pool_options(session, kind="nanio")
    ]
    return (
        Field(
            name="pool_id",
            label="Pool",
            kind="select" if options else "number",
            options=options,
            required=True,
            help="The pool that answers for this bucket from now on.",
            option="pool",
        ),
    )

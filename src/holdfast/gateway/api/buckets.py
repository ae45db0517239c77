"""Routes about the buckets of a vhost."""

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, Field

from holdfast.gateway.api.deps import BucketPath
from holdfast.gateway.context import Gateway
from holdfast.gateway.service import discovery, http_buckets, orphans, promotion
from holdfast.gateway.service.discovery import SeenBucket
from holdfast.kernel.clock import iso_time
from holdfast.kernel.web.deps import ActorDep, ReadDep, ServicesDep, WorkDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/vhosts/{vhost_id}", tags=["buckets"])
everywhere = Router(prefix="/api/buckets", tags=["buckets"])
RowId = Annotated[int, Path(ge=0, le=2**31 - 1)]
Confirm = Annotated[str, Query(description="the bucket's name, when the body does not give it")]
DryRun = Annotated[bool, Query(description="true: tell what would be done, do nothing")]


class PromoteIn(BaseModel):
    """Where a bucket shall go."""

    pool_id: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
    migrate: bool = False
    allow_orphan: bool = False


def bucket_out(seen: SeenBucket) -> dict[str, Any]:
    """A bucket of a vhost, in the contract's shape."""
    totals = seen.totals
    return {
        "name": seen.row.name,
        "status": seen.status,
        "pool_name": seen.route.pool_name if seen.route else None,
        "routed_pool_id": seen.route.pool_id if seen.route else None,
        "object_count": totals.objects if totals else None,
        "size_bytes": totals.size_bytes if totals else None,
        "migration_id": seen.route.migration_id if seen.route else None,
        "discovered_at": iso_time(seen.row.discovered_at),
    }


@router.get("/buckets")
async def list_buckets(
    vhost_id: RowId, services: ServicesDep, *, fetch_counts: bool = False
) -> dict[str, Any]:
    """Buckets seen through a vhost, by status and name."""
    vhost, seen = await discovery.vhost_buckets(services, vhost_id, with_counts=fetch_counts)
    return {
        "vhost_id": vhost.id,
        "buckets": [bucket_out(bucket) for bucket in seen],
        "last_synced_at": iso_time(vhost.buckets_synced_at),
    }


@everywhere.post("/sync")
async def sync_all(
    services: ServicesDep, actor: ActorDep, *, dry_run: DryRun = False
) -> dict[str, Any]:
    """Ask the pools of every vhost for their buckets now."""
    done = await discovery.sync_all(services, actor, dry_run=dry_run)
    answer: dict[str, Any] = {"buckets_found": done.found, "vhosts": done.vhosts}
    return answer | {"warnings": done.warnings} | ({"dry_run": True} if dry_run else {})


@router.post("/buckets/sync")
async def sync_buckets(
    vhost_id: RowId, services: ServicesDep, actor: ActorDep, *, dry_run: DryRun = False
) -> dict[str, Any]:
    """Ask the pools for their buckets now."""
    result = await discovery.sync_vhost(services, vhost_id, actor, dry_run=dry_run)
    if result.skipped:
        return {"vhost_id": vhost_id, "skipped": True, "reason": result.skipped}
    if result.error:
        return {"vhost_id": vhost_id, "error": result.error}
    answer: dict[str, Any] = {
        "vhost_id": vhost_id,
        "buckets_found": result.found,
        "synced_at": iso_time(result.synced_at),
    }
    if dry_run:
        answer["dry_run"] = True
    if result.unrouted:
        answer["auto_unrouted"] = result.unrouted
    if result.warnings:
        answer["warnings"] = result.warnings
    return answer


@router.get("/buckets/orphans")
async def list_orphans(vhost_id: RowId, services: ServicesDep) -> dict[str, Any]:
    """Routed buckets that still have objects on the default pool."""
    found, checked = await orphans.orphans_of_vhost(services, vhost_id)
    shown = [
        {"bucket": o.bucket, "objects": o.totals.objects, "size_bytes": o.totals.size_bytes}
        for o in found
    ]
    return {"vhost_id": vhost_id, "orphans": shown, "checked": checked}


@router.post("/buckets/{bucket}/promote")
async def promote(
    vhost_id: RowId,
    bucket: BucketPath,
    body: PromoteIn,
    services: ServicesDep,
    actor: ActorDep,
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Give a bucket a route of its own, and move its objects when asked to."""
    done = await promotion.promote(
        services,
        actor,
        vhost_id,
        bucket,
        pool_id=body.pool_id,
        migrate=body.migrate,
        allow_orphan=body.allow_orphan,
        dry_run=dry_run,
    )
    answer: dict[str, Any] = {
        "ok": True,
        "output": done.output,
        "bucket": bucket,
        "pool": done.pool.name,
        "route": f"/{bucket}/",
        "migration_started": done.migration_id is not None,
    }
    if done.migration_id is not None:
        answer["migration_id"] = done.migration_id
    return answer | ({"dry_run": True, "would_migrate": body.migrate} if dry_run else {})


@router.post("/buckets/{bucket}/ignore")
async def ignore(vhost_id: RowId, bucket: BucketPath, work: WorkDep) -> dict[str, Any]:
    """Leave a bucket out of what needs attention."""
    row = await promotion.ignore(work, vhost_id, bucket)
    return {"ok": True, "bucket": bucket, "status": row.status}


@router.post("/buckets/{bucket}/migrate")
async def migrate(
    vhost_id: RowId,
    bucket: BucketPath,
    services: ServicesDep,
    actor: ActorDep,
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Move what is left on the default pool to the routed pool."""
    migration_id = await promotion.migrate_leftovers(
        services, actor, vhost_id, bucket, dry_run=dry_run
    )
    answer = {"ok": True, "migration_id": migration_id, "bucket": bucket}
    return answer | ({"dry_run": True} if dry_run else {})


@router.post("/buckets/{bucket}/purge-orphan")
async def purge_orphan(
    vhost_id: RowId,
    bucket: BucketPath,
    services: ServicesDep,
    actor: ActorDep,
    body: orphans.Confirmation | None = None,
    confirm: Confirm = "",
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Delete what a routed bucket left on the default pool; never a live copy."""
    typed = body.confirm if body and body.confirm else confirm
    done = await orphans.purge_orphan(
        services, actor, vhost_id, bucket, confirm=typed, dry_run=dry_run
    )
    return done.as_json()


@router.delete("/buckets/{bucket}/route")
async def remove_route(
    vhost_id: RowId, bucket: BucketPath, work: WorkDep, services: ServicesDep
) -> dict[str, Any]:
    """Take a bucket's own route away."""
    await promotion.unroute(work, services.get(Gateway), vhost_id, bucket)
    return {"ok": True, "bucket": bucket, "route_removed": f"/{bucket}/"}


@router.get("/http-bucket-routes")
async def list_http_buckets(vhost_id: RowId, session: ReadDep) -> dict[str, Any]:
    """Bucket routes of a vhost over an http pool."""
    found = await http_buckets.http_buckets(session, vhost_id)
    routed = {route.bucket for route in found.routes}
    return {
        "vhost_id": vhost_id,
        "server_name": found.vhost.server_name,
        "source_nanio_pool_id": found.source.id,
        "source_nanio_pool_name": found.source.name,
        "routes": [
            {
                "id": route.route_id,
                "path_prefix": f"/{route.bucket}/",
                "pool_id": route.pool_id,
                "pool_name": route.pool_name,
                "bucket": route.bucket,
            }
            for route in found.routes
        ],
        "linked_nanio_buckets": [
            {"bucket": name, "has_route": name in routed} for name in found.linked
        ],
    }


@router.post("/http-bucket-routes/{bucket}", status_code=201)
async def add_http_bucket(
    vhost_id: RowId, bucket: BucketPath, work: WorkDep, services: ServicesDep
) -> dict[str, Any]:
    """Route a bucket to the vhost's http pool."""
    row = await http_buckets.add_http_bucket(work, services.get(Gateway), vhost_id, bucket)
    return {"ok": True, "bucket": bucket, "route": row.path_prefix, "pool_id": row.pool_id}


@router.delete("/http-bucket-routes/{bucket}")
async def remove_http_bucket(
    vhost_id: RowId, bucket: BucketPath, work: WorkDep, services: ServicesDep
) -> dict[str, Any]:
    """Take such a route away."""
    await http_buckets.remove_http_bucket(work, services.get(Gateway), vhost_id, bucket)
    return {"ok": True, "bucket": bucket, "route_removed": f"/{bucket}/"}

"""Routes about the buckets of a pool."""

from typing import Any

from holdfast.gateway.api.buckets import Confirm, DryRun, RowId
from holdfast.gateway.api.deps import BucketPath
from holdfast.gateway.service import orphans, pool_buckets
from holdfast.gateway.service.pool_buckets import PoolBucket
from holdfast.gateway.tables import VhostRow
from holdfast.kernel.web.deps import ActorDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/pools/{pool_id}/buckets", tags=["buckets"])


@router.get("/status")
async def status(pool_id: RowId, services: ServicesDep) -> dict[str, Any]:
    """Buckets of a pool and who is sent to them, those that need attention first."""
    found = await pool_buckets.pool_buckets(services, pool_id)
    return {
        "pool_id": pool_id,
        "pool_name": found.pool.name,
        "member_address": found.member_address,
        "buckets": [_bucket_out(bucket) for bucket in found.buckets],
        "all_vhosts": [_vhost_out(vhost) for vhost in found.vhosts],
    }


@router.get("/{bucket}/objects")
async def objects(pool_id: RowId, bucket: BucketPath, services: ServicesDep) -> dict[str, Any]:
    """The keys of a bucket on a pool, at most 10,000; truncated tells whether there are more."""
    keys, truncated = await pool_buckets.object_keys(services, pool_id, bucket)
    return {
        "pool_id": pool_id,
        "bucket": bucket,
        "objects": keys,
        "count": len(keys),
        "truncated": truncated,
    }


@router.post("/{bucket}/purge")
async def purge(
    pool_id: RowId,
    bucket: BucketPath,
    services: ServicesDep,
    actor: ActorDep,
    body: orphans.Confirmation | None = None,
    confirm: Confirm = "",
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Delete every object of a bucket on a pool that no longer answers for it."""
    typed = body.confirm if body and body.confirm else confirm
    done = await pool_buckets.purge(
        services, actor, pool_id, bucket, confirm=typed, dry_run=dry_run
    )
    return {"pool_id": pool_id, **done.as_json()}


def _bucket_out(bucket: PoolBucket) -> dict[str, Any]:
    return {
        "bucket": bucket.name,
        "status": bucket.status,
        "routed_in": [
            {"vhost_id": route.vhost_id, "server_name": route.server_name}
            for route in bucket.routed_in
        ],
        "default_vhosts": [_vhost_out(vhost) for vhost in bucket.default_vhosts],
    }


def _vhost_out(vhost: VhostRow) -> dict[str, Any]:
    return {"id": vhost.id, "server_name": vhost.server_name}

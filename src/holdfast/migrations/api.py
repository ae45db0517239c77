"""Routes of migrations."""

import json
from typing import Annotated, Any

from fastapi import Path, Query, Response
from pydantic import BeforeValidator

from holdfast.gateway.service.orphans import Confirmation
from holdfast.kernel.clock import iso_time, row_time
from holdfast.kernel.web.deps import (
    ActorDep,
    PageDep,
    ReadDep,
    ServicesDep,
    WorkDep,
    sort_query,
)
from holdfast.kernel.web.router import Router
from holdfast.migrations import tables
from holdfast.migrations.model import Options, Phase
from holdfast.migrations.schemas import MigrationIn, wish_of
from holdfast.migrations.service import planning, reading, starting
from holdfast.migrations.service.planning import Plan
from holdfast.migrations.tables import MigrationLogRow, MigrationRow

router = Router(prefix="/api/migrations", tags=["migrations"])
routers = [router]
RowId = Annotated[int, Path(ge=-(2**31), le=2**31 - 1)]
InPhase = Annotated[
    Phase | None,
    BeforeValidator(lambda value: value or None),
    Query(description="only those in this phase"),
]
DryRun = Annotated[bool, Query(description="true: tell what would happen, change nothing")]


def migration_out(row: MigrationRow) -> dict[str, Any]:
    """A migration in the contract's shape, and what is ours behind it."""
    options = Options.from_json(row.options)
    return {
        "id": row.id,
        "vhost_id": row.vhost_id,
        "bucket": row.bucket,
        "src_pool_id": row.src_pool_id,
        "dst_pool_id": row.dst_pool_id,
        "mode": row.mode,
        "phase": row.phase,
        "objects_total": row.objects_total,
        "objects_done": row.objects_done,
        "bytes_total": row.bytes_total,
        "bytes_done": row.bytes_done,
        "error_msg": row.error_msg,
        "started_at": iso_time(row.started_at),
        "finished_at": iso_time(row.finished_at),
        "created_at": row_time(row.created_at),
        "orphaned_source_pool_id": row.orphaned_source_pool_id,
        "orphaned_source_prefix": row.orphaned_source_prefix,
        "orphaned_at": iso_time(row.orphaned_at),
        "cascade_warnings": row.cascade_warnings,
        "stage": row.stage,
        "vhosts": [vhost["name"] for vhost in json.loads(row.vhosts)],
        "dirty_keys": row.dirty_keys,
        "holds": json.loads(row.holds),
        "verify": options.verify,
        "waived": sorted(options.waived),
        "cancel_requested": row.cancel_requested,
        "job_id": row.job_id,
    }


def line_out(row: MigrationLogRow) -> dict[str, Any]:
    """A line of a migration's log."""
    return {
        "id": row.id,
        "migration_id": row.migration_id,
        "phase": row.phase,
        "message": row.message,
        "created_at": row_time(row.created_at),
    }


def plan_out(plan: Plan) -> dict[str, Any]:
    """What a migration would do."""
    found = plan.found
    return {
        "dry_run": True,
        "objects": found.source.objects,
        "bytes": found.source.size_bytes,
        "objects_to_copy": found.to_copy.objects,
        "bytes_to_copy": found.to_copy.size_bytes,
        "objects_on_destination": found.destination.objects,
        "objects_to_delete": found.to_delete.objects,
        "estimated_seconds": plan.estimated_seconds,
        "vhosts": plan.vhosts,
        "conflicts": plan.conflicts,
        "warnings": plan.warnings,
        "would_delete": plan.would_delete,
        "would_overwrite": plan.would_overwrite,
        "clients_see": list(plan.clients_see),
    }


@router.post("", status_code=201)
async def create_migration(
    body: MigrationIn,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Move a bucket to another pool while clients use it."""
    wish = wish_of(body, services)
    if dry_run:
        response.status_code = 200
        return plan_out(await planning.plan(services, wish))
    return migration_out(await starting.create(services, actor, wish))


@router.get("")
async def list_migrations(
    session: ReadDep,
    page: PageDep,
    phase: InPhase = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    sort: Annotated[str, sort_query(tables.MIGRATION_SORTS)] = "-created",
) -> list[dict[str, Any]]:
    """Migrations, newest first."""
    rows, total = await tables.migration_page(
        session, phase=phase, limit=limit, offset=page.offset, sort=sort
    )
    page.total(total)
    return [migration_out(row) for row in rows]


@router.get("/source-buckets")
async def source_buckets(
    pool_id: Annotated[int, Query(ge=-(2**31), le=2**31 - 1)], services: ServicesDep
) -> dict[str, Any]:
    """Buckets that can be moved away from a pool."""
    return {"pool_id": pool_id, "buckets": await reading.source_buckets(services, pool_id)}


@router.get("/orphaned")
async def orphaned(session: ReadDep, page: PageDep) -> list[dict[str, Any]]:
    """Copies that migrations left: on the source, or, of one that did not end well, where it went.

    None that a vhost serves, and each once.
    """
    found = await reading.left_behind(session)
    page.total(len(found))
    return [
        {
            "migration_id": row.id,
            "bucket": row.bucket,
            "src_pool_id": row.src_pool_id,
            "dst_pool_id": row.dst_pool_id,
            "orphaned_source_pool_id": row.orphaned_source_pool_id,
            "orphaned_source_prefix": row.orphaned_source_prefix,
            "orphaned_at": iso_time(row.orphaned_at),
            "finished_at": iso_time(row.finished_at),
            "objects": row.objects_done,
            "bytes": row.bytes_done,
        }
        for row in found[page.offset : page.offset + page.limit]
    ]


@router.get("/stale")
async def stale(services: ServicesDep) -> list[dict[str, Any]]:
    """Unfinished migrations that cannot get on."""
    return [
        {
            "migration_id": found.row.id,
            "bucket": found.row.bucket,
            "src_pool_id": found.row.src_pool_id,
            "dst_pool_id": found.row.dst_pool_id,
            "phase": found.row.phase,
            "reason": found.reason,
            "created_at": row_time(found.row.created_at),
        }
        for found in await reading.stale(services)
    ]


@router.get("/{migration_id}")
async def get_migration(migration_id: RowId, session: ReadDep) -> dict[str, Any]:
    """One migration."""
    return migration_out(await reading.show(session, migration_id))


@router.get("/{migration_id}/log")
async def get_log(
    migration_id: RowId,
    session: ReadDep,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """The newest lines of its log, newest first."""
    found = await reading.lines(session, migration_id, limit=limit)
    return [line_out(row) for row in found]


@router.post("/{migration_id}/cancel")
async def cancel_migration(migration_id: RowId, work: WorkDep) -> dict[str, Any]:
    """End it, with the source serving; refused (409) once the destination serves."""
    await starting.cancel(work, migration_id)
    return {"ok": True, "migration_id": migration_id}


@router.post("/{migration_id}/purge-source")
async def purge_source(
    migration_id: RowId,
    body: Confirmation,
    services: ServicesDep,
    actor: ActorDep,
    *,
    dry_run: DryRun = False,
) -> dict[str, Any]:
    """Delete the copy that it left behind; never one that clients reach."""
    purge = await reading.purge_source(
        services, actor, migration_id, confirm=body.confirm, dry_run=dry_run
    )
    return purge.as_json()

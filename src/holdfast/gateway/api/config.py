"""Routes about configuration: status, drift, test, reload, rebuild, history, settings."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import BackgroundTasks, Path, Query
from pydantic import BaseModel, Field

from holdfast.gateway.api.deps import GatewayDep, GatewayRoute, GatewayWork, PathId
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import absorb, config, drift, preview, rollback, sync
from holdfast.gateway.service import rebuild as from_disk
from holdfast.gateway.startup import StartupDifferences
from holdfast.kernel.backup import check_backup, create_backup, kept_backup
from holdfast.kernel.clock import iso_time
from holdfast.kernel.config import shown_settings
from holdfast.kernel.errors import AppError, Invalid, Unavailable
from holdfast.kernel.restart import Restarter
from holdfast.kernel.settings_change import change_setting, waiting_settings
from holdfast.kernel.web.deps import ADMIN, PageDep, ReadDep, ServicesDep, WorkDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/config", tags=["config"], route_class=GatewayRoute)
Force = Annotated[bool, Query(description="true: also when the database has data")]
GenerationNumber = Annotated[int, Query(ge=1, le=2**31 - 1)]


class BackupIn(BaseModel):
    """What goes into a backup."""

    with_secrets: bool = False
    """The sealing secret, and the secrets of config.toml."""


class PathIn(BaseModel):
    """A file of the gateway, absolute or below the live generation."""

    path: str = Field(min_length=1, max_length=4096)


@router.get("/status")
async def status(services: ServicesDep) -> dict[str, Any]:
    """Every file with its drift, the last reload, and whether nginx runs with what is written."""
    found = await config.state(services)
    started = services.find(StartupDifferences)
    return {
        "files": [
            {
                "path": file.path,
                "sha256_disk": file.sha256_now,
                "sha256_db": file.sha256_written,
                "drifted": file.drifted,
                "last_synced_at": file.written_at.replace("+00:00", "Z"),
                "diff": file.diff,
            }
            for file in found.files
        ],
        "last_reload_ok": found.published.last_reload_ok,
        "last_reload_at": iso_time(found.published.last_reload_at),
        "reload_pending": found.published.reload_pending,
        "generation": found.generation,
        "loaded_generation": found.nginx.loaded_generation,
        "nginx_version": found.nginx.version,
        "nginx_running": found.nginx.running,
        "include_present": found.nginx.include_present,
        "problem": found.nginx.problem,
        "remedy": found.nginx.remedy,
        "startup_differences": started.texts if started else [],
    }


@router.get("/drift")
async def list_drift(session: ReadDep, gateway: GatewayDep) -> list[dict[str, Any]]:
    """What differs from what was written, each with a unified diff."""
    found = await drift.find(session, gateway)
    return [
        {"path": config.shown_path(gateway, item.path), "kind": item.kind, "diff": item.diff}
        for item in found
    ]


@router.post("/validate")
async def validate(gateway: GatewayDep) -> dict[str, Any]:
    """Let nginx test what is on disk."""
    try:
        ok, output = await config.validate(gateway)
    except AppError as error:
        ok, output = False, f"{error.message} {error.hint}".strip()
    return {"ok": ok, "output": output}


@router.post("/reload")
async def reload(work: GatewayWork, gateway: GatewayDep) -> dict[str, Any]:
    """Make nginx run with what is on disk."""
    ok, output = await config.reload(work, gateway)
    return {"ok": ok, "output": output} | ({"dry_run": True} if work.dry_run else {})


@router.post("/rebuild")
async def rebuild(work: GatewayWork, gateway: GatewayDep) -> dict[str, Any]:
    """Make the disk what the database says."""
    done = await config.rebuild(work, gateway)
    shown = [config.shown_path(gateway, path) for path in done.written]
    gone = [config.shown_path(gateway, path) for path in done.removed]
    return {
        "ok": True,
        "output": warning_of(work) or "nginx accepted it",
        "written": shown,
        "removed": gone,
        "errors": [],
    }


@router.post("/rewrite-file")
async def rewrite_file(body: PathIn, work: GatewayWork, gateway: GatewayDep) -> dict[str, Any]:
    """Put one file back to what the database says."""
    path, removed = await config.rewrite_file(work, gateway, body.path)
    shown = config.shown_path(gateway, path)
    if removed:
        return {"ok": True, "action": "removed", "path": shown, "reason": "nothing stands for it"}
    return {"ok": True, "output": "restored", "path": shown}


@router.post("/absorb-file")
async def absorb_file(body: PathIn, work: GatewayWork, gateway: GatewayDep) -> dict[str, Any]:
    """Store what somebody edited in a file; 422 names the lines that could not be kept."""
    done = await absorb.absorb_file(work, gateway, body.path)
    return {
        "ok": True,
        "path": done.path,
        "sha256": done.sha256,
        "differences": done.differences,
        "dry_run": work.dry_run,
    }


@router.post("/sync")
async def sync_files(work: GatewayWork, gateway: GatewayDep) -> dict[str, Any]:
    """Take over what was added or changed on disk; nothing is deleted."""
    return {"ok": True, **asdict(await sync.sync(work, gateway)), "dry_run": work.dry_run}


@router.post("/rebuild-from-disk", dependencies=[ADMIN])
async def rebuild_from_disk(
    work: GatewayWork, gateway: GatewayDep, *, force: Force = False
) -> dict[str, Any]:
    """Make the database anew from files, flags and records of migrations."""
    found = await from_disk.rebuild_from_disk(work, gateway, force=force)
    if work.dry_run:
        return _found_on_disk(found)
    return {
        "pools_imported": len(found.spec.pools),
        "members_imported": sum(len(pool.members) for pool in found.spec.pools),
        "vhosts_imported": len(found.spec.vhosts),
        "routes_imported": found.routes,
        "migrations_imported": found.migrations,
        "completed_migrations_imported": found.completed_migrations,
        "credentials_recovered": found.credentials,
        "warnings": found.warnings,
    }


def _found_on_disk(found: from_disk.FromDisk) -> dict[str, Any]:
    ids = {pool.name: pool.id for pool in found.spec.pools}
    return {
        "dry_run": True,
        "pools": [
            {
                "name": pool.name,
                "members": len(pool.members),
                "type": pool.type,
                "has_credentials": bool(pool.credentials),
                "has_sidecar": f"pools/{pool.name}.meta.json" in found.files,
                "source_nanio_pool_id": ids.get(pool.source_pool or ""),
            }
            for pool in found.spec.pools
        ],
        "vhosts": [
            {
                "server_name": vhost.server_name,
                "routes": found.routes_of.get(vhost.server_name, 0),
                "has_default_pool": vhost.default_pool is not None,
                "has_extra_blocks": bool(vhost.extra_blocks),
                "has_ip_rules": bool(vhost.ip_rules),
                "has_sidecar": f"vhosts/{vhost.server_name}.meta.json" in found.files,
            }
            for vhost in found.spec.vhosts
        ],
        "migrations": found.migrations,
        "completed_migrations": found.completed_migrations,
        "warnings": found.warnings,
    }


@router.get("/preview/pool/{pool_id}")
async def preview_pool(pool_id: PathId, session: ReadDep, gateway: GatewayDep) -> dict[str, Any]:
    """A pool's file as it would be written now."""
    return _preview(await preview.preview_pool(session, gateway, pool_id))


@router.get("/preview/vhost/{vhost_id}")
async def preview_vhost(vhost_id: PathId, session: ReadDep, gateway: GatewayDep) -> dict[str, Any]:
    """A vhost's file as it would be written now."""
    return _preview(await preview.preview_vhost(session, gateway, vhost_id))


def _preview(found: preview.Preview) -> dict[str, Any]:
    return {"filepath": str(found.path), "content": found.content}


@router.get("/generations")
async def generations(gateway: GatewayDep, page: PageDep) -> list[dict[str, Any]]:
    """The generations that are kept, newest first."""
    live, kept = gateway.generations.current(), await config.history(gateway)
    page.total(len(kept))
    return [
        {
            "number": item.number,
            "parent": item.parent,
            "author": item.author,
            "reason": item.reason,
            "created_at": item.created_at,
            "files": len(item.files),
            "live": item.number == live,
        }
        for item in kept[page.offset : page.offset + page.limit]
    ]


@router.get("/generations/diff")
async def generation_diff(
    before: GenerationNumber, after: GenerationNumber, gateway: GatewayDep
) -> dict[str, Any]:
    """What changed between two generations, unified."""
    diff = await config.difference(gateway, before, after)
    return {"before": before, "after": after, "diff": diff}


@router.post("/rollback/{number}")
async def roll_back(
    number: Annotated[int, Path(ge=1, le=2**31 - 1)], work: GatewayWork, gateway: GatewayDep
) -> dict[str, Any]:
    """Make an old generation live again; the database follows it."""
    told = await rollback.roll_back(work, gateway, number)
    return {"ok": True, "generation": number, "differences": told, "dry_run": work.dry_run}


@router.post("/backup", dependencies=[ADMIN])
async def backup(services: ServicesDep, body: BackupIn | None = None) -> dict[str, Any]:
    """Back the database and the gateway's files up now."""
    asked = body or BackupIn()
    try:
        made = await create_backup(services, with_secrets=asked.with_secrets)
    except AppError as error:
        return {"ok": False, "detail": error.message}
    return {"ok": True, "backup_path": str(made.path)}


@router.post("/backups/{name}/check", dependencies=[ADMIN])
async def check(name: str, services: ServicesDep) -> dict[str, Any]:
    """Read all of a backup, as a restore would; nothing is changed."""
    manifest = asdict(await check_backup(kept_backup(services.settings, name).path))
    return {"whole": True, **manifest, "files": len(manifest["files"])}


@router.get("/settings", dependencies=[ADMIN])
async def settings(services: ServicesDep) -> dict[str, Any]:
    """Every setting with its value in force; secrets are masked."""
    loaded = services.loaded
    shown = shown_settings(loaded)
    return {
        **shown,
        "config_file": str(loaded.config_file),
        "dev_mode": False,
        "origins": dict(loaded.origins),
    }


@router.put("/settings/{key}", dependencies=[ADMIN])
async def put_setting(
    key: str, body: dict[str, Any], services: ServicesDep, work: WorkDep
) -> dict[str, Any]:
    """Write one setting to the settings file; it holds from the next start."""
    if "value" not in body:
        raise Invalid("Missing 'value' field", hint='send {"value": ...}')
    changed = await change_setting(work, services.loaded, key, body["value"])
    return {
        "ok": True,
        "key": key,
        "value": changed.shown,
        "restart_required": not work.dry_run,
        "overridden_by": changed.overridden_by,
    }


@router.post("/settings/restart", dependencies=[ADMIN])
async def restart(
    services: ServicesDep, work: WorkDep, background: BackgroundTasks
) -> dict[str, Any]:
    """Start this process anew with the settings as they are now."""
    restarter = services.find(Restarter)
    if restarter is None:
        raise Unavailable("This process cannot restart itself", hint="restart it by its manager")
    waiting_settings(services.loaded)  # what cannot be read would keep it from starting
    work.audit("restart", "server", None)
    if not work.dry_run:
        background.add_task(restarter.ask)
    return {"ok": True, "message": "Restarting"}

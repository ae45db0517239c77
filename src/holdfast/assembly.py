"""Builds the parts of one process, and runs what runs beside its requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import holdfast.dropin.api
import holdfast.dropin.context
import holdfast.gateway.api
import holdfast.gateway.context
import holdfast.gateway.pages
import holdfast.gateway.service.health
import holdfast.gateway.startup
import holdfast.gateway.timers
import holdfast.kernel.identity.api
import holdfast.kernel.identity.pages
import holdfast.kernel.identity.session_api
import holdfast.kernel.jobs.api
import holdfast.kernel.jobs.pages
import holdfast.kernel.notify.api
import holdfast.kernel.notify.pages
import holdfast.kernel.stores.api
import holdfast.kernel.stores.doctor
import holdfast.kernel.stores.pages
import holdfast.kernel.web.doctor_api
import holdfast.kernel.web.system_api
import holdfast.migrations.api
import holdfast.migrations.pages
import holdfast.migrations.service
import holdfast.schema
import holdfast.tiers.api
import holdfast.tiers.context
import holdfast.tiers.pages
import holdfast.tiers.timers
from holdfast.kernel.backup import backup_if_due
from holdfast.kernel.clock import now
from holdfast.kernel.config import LoadedSettings
from holdfast.kernel.events import forget_old_events
from holdfast.kernel.identity.logins import forget_old_logins
from holdfast.kernel.jobs.engine import JobEngine
from holdfast.kernel.logging import configure, get_logger
from holdfast.kernel.notify import outbox
from holdfast.kernel.services import Services, build_services
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.timers import Timer, run_timers
from holdfast.kernel.web.router import Router

log = get_logger(__name__)
HOUR_SECONDS = 3600.0


def routers() -> list[Router]:
    """The routers of kernel and slices."""
    return [
        holdfast.kernel.web.system_api.router,
        holdfast.kernel.web.doctor_api.router,
        holdfast.kernel.identity.api.router,
        holdfast.kernel.identity.session_api.router,
        *holdfast.kernel.identity.pages.routers,
        holdfast.kernel.jobs.api.router,
        holdfast.kernel.jobs.pages.router,
        holdfast.kernel.notify.api.router,
        holdfast.kernel.notify.pages.router,
        holdfast.kernel.stores.api.router,
        holdfast.kernel.stores.pages.router,
        *holdfast.gateway.api.routers,
        *holdfast.gateway.pages.routers,
        *holdfast.migrations.api.routers,
        *holdfast.tiers.api.routers,
        holdfast.dropin.api.router,
        *holdfast.migrations.pages.routers,
        *holdfast.tiers.pages.routers,
    ]


def assemble(loaded: LoadedSettings) -> Services:
    """The services of one process with the parts of every slice; nothing runs yet."""
    settings = loaded.settings
    as_json = {"auto": None, "json": True, "console": False}[settings.log_format]
    configure(settings.log_level, as_json=as_json)
    services = build_services(loaded)
    build_hub(services)
    holdfast.kernel.stores.doctor.contribute(services)
    holdfast.gateway.context.build_gateway(services)
    holdfast.gateway.service.health.contribute(services)
    holdfast.gateway.pages.contribute(services)
    holdfast.migrations.service.build_migrations(services)
    holdfast.tiers.context.contribute(services)
    holdfast.dropin.context.contribute(services)
    holdfast.kernel.jobs.pages.contribute(services)
    holdfast.migrations.pages.contribute(services)
    holdfast.kernel.stores.pages.contribute(services)
    holdfast.tiers.pages.contribute(services)
    holdfast.kernel.identity.pages.contribute(services)
    holdfast.kernel.notify.pages.contribute(services)
    return services


@contextlib.asynccontextmanager
async def running(services: Services, *, with_worker: bool) -> AsyncIterator[None]:
    """Bring database and disk into agreement, then run jobs and timers until the block ends."""
    try:
        await services.database.upgrade()
        await holdfast.gateway.startup.start(services)
        if with_worker:
            async with _worker(services):
                yield
        else:
            yield
    finally:
        await services.get(RcloneHub).stop()
        await services.database.close()


@contextlib.asynccontextmanager
async def _worker(services: Services) -> AsyncIterator[None]:
    engine = services.add(JobEngine())
    await holdfast.migrations.service.start(services)
    await engine.start(services)
    timers = asyncio.create_task(run_timers(services.database, _timers(services)))
    log.info("worker started")
    try:
        yield
    finally:
        timers.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await timers
        await engine.stop()
        await holdfast.migrations.service.stop(services)


def _timers(services: Services) -> list[Timer]:
    settings = services.settings
    gateway, tiers = holdfast.gateway.timers, holdfast.tiers.timers
    return [
        Timer(
            "bucket discovery",
            settings.bucket_sync_interval_seconds,
            lambda: gateway.discover_buckets(services),
        ),
        Timer(
            "member check",
            settings.member_check_interval_seconds,
            lambda: gateway.watch_members(services),
        ),
        Timer("drift", settings.drift_interval_seconds, lambda: gateway.watch_drift(services)),
        Timer("backup", settings.backup_interval_seconds, lambda: backup_if_due(services)),
        Timer(
            "old events",
            HOUR_SECONDS,
            lambda: forget_old_events(services.database, now(), settings.job_retention_days),
        ),
        Timer(
            "quarantines",
            tiers.CHECK_SECONDS,
            lambda: tiers.empty_quarantines(services),
        ),
        Timer("room on disks", tiers.CHECK_SECONDS, lambda: tiers.keep_room(services)),
        Timer("notifications", outbox.CHECK_SECONDS, lambda: outbox.send_due(services)),
        Timer("old messages", HOUR_SECONDS, lambda: outbox.forget_ended(services)),
        Timer("old runs", HOUR_SECONDS, lambda: tiers.forget_old_runs(services)),
        Timer("old logins", HOUR_SECONDS, lambda: forget_old_logins(services.database)),
    ]

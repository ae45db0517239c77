"""Pools: create, change, delete."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import PoolDraft, check_type_change
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_pool
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, Invalid, NotFound
from holdfast.kernel.work import Work


async def get_pool(session: AsyncSession, pool_id: int) -> PoolRow:
    """The pool. Raises ``NotFound``."""
    pool = await session.get(PoolRow, pool_id)
    if pool is None:
        raise NotFound("Pool not found", hint="holdfast pool list")
    return pool


async def create_pool(work: Work, gateway: Gateway, draft: PoolDraft) -> PoolRow:
    """Add a pool without members. Raises ``Invalid`` and ``Conflict``."""
    draft = check_pool(draft)
    await _check_name_free(work.session, draft.name)
    await _check_source(work.session, draft)
    moment = now()
    pool = PoolRow(**dataclasses.asdict(draft), created_at=moment, updated_at=moment)
    work.session.add(pool)
    await work.session.flush()
    work.audit("create", "pool", pool.id, after=rows.row_fields(pool))
    work.emit("gateway", "pool.created", {"id": pool.id, "name": pool.name})
    mark_changed(work, gateway, pools=[pool.name])
    return pool


async def update_pool(
    work: Work, gateway: Gateway, pool_id: int, changes: Mapping[str, Any]
) -> PoolRow:
    """Change a pool. Raises ``NotFound``, ``Invalid``, ``Conflict``, ``BadRequest``."""
    pool = await get_pool(work.session, pool_id)
    old = rows.pool_draft(pool)
    new = dataclasses.replace(old, **changes)
    if new.type == "nanio" and old.type != "nanio":
        new = dataclasses.replace(new, source_nanio_pool_id=None)
    new = check_pool(new)
    if new == old:
        return pool
    if new.name != old.name:
        await _check_name_free(work.session, new.name)
        await _check_not_migrating(work.session, gateway, pool)
    await _check_source(work.session, new, pool_id=pool.id)
    if new.type != old.type:
        await _check_new_type(work.session, gateway, pool, new.type)
    before = rows.row_fields(pool)
    for name, value in dataclasses.asdict(new).items():
        setattr(pool, name, value)
    pool.updated_at = now()
    work.audit("update", "pool", pool.id, before=before, after=rows.row_fields(pool))
    work.emit("gateway", "pool.updated", {"id": pool.id, "name": pool.name})
    await _mark_updated(work, gateway, pool, old)
    return pool


async def delete_pool(work: Work, gateway: Gateway, pool_id: int) -> None:
    """Delete a pool with its members and credentials. Raises ``NotFound`` and ``Conflict``."""
    session = work.session
    pool = await get_pool(session, pool_id)
    routed = await queries.vhosts_with_route_to(session, pool_id)
    if routed:
        raise Conflict(
            "Cannot delete pool: it is referenced by routes on vhost(s): "
            f"{', '.join(routed)}. Remove these routes first.",
            hint="delete these routes, or point them to another pool",
        )
    defaults = await queries.vhosts_defaulting_to(session, pool_id)
    if defaults:
        raise Conflict(
            "Cannot delete pool: it is the default pool for vhost(s): "
            f"{', '.join(defaults)}. Change their default pool first.",
            hint="give these vhosts another default pool",
        )
    active = await _active_migrations(session, gateway, pool_id)
    if active:
        raise Conflict(
            f"Cannot delete pool: active migration(s) {', '.join(map(str, active))} "
            "reference this pool. Cancel them first.",
            hint="wait for these migrations, or cancel them",
        )
    linked = await queries.pools_with_source(session, pool_id)
    work.audit("delete", "pool", pool.id, before=rows.row_fields(pool))
    work.emit("gateway", "pool.deleted", {"id": pool.id, "name": pool.name})
    mark_changed(work, gateway, pools=[pool.name, *linked])
    await session.delete(pool)
    await session.flush()


async def _mark_updated(work: Work, gateway: Gateway, pool: PoolRow, old: PoolDraft) -> None:
    mark_changed(work, gateway, pools=[old.name, pool.name])
    if (pool.name, pool.type) == (old.name, old.type):
        return
    session = work.session
    users = await queries.vhosts_using_pool(session, pool.id)
    mark_changed(work, gateway, vhosts=[vhost.server_name for vhost in users])
    if pool.name != old.name:
        mark_changed(work, gateway, pools=await queries.pools_with_source(session, pool.id))
        flags = await queries.flags_to_pool(session, pool.id)
        mark_changed(work, gateway, flags=flags, renamed={old.name: pool.name})


async def _check_name_free(session: AsyncSession, name: str) -> None:
    if await queries.pool_named(session, name):
        raise Conflict(f"Pool '{name}' already exists", hint="choose another name")


async def _check_source(
    session: AsyncSession, draft: PoolDraft, *, pool_id: int | None = None
) -> None:
    if draft.source_nanio_pool_id is None:
        return
    source = await session.get(PoolRow, draft.source_nanio_pool_id)
    if source is None or source.type != "nanio" or source.id == pool_id:
        raise Invalid(
            f"source_nanio_pool_id {draft.source_nanio_pool_id} must name a pool of type 'nanio'",
            hint="holdfast pool list",
        )


async def _check_new_type(
    session: AsyncSession, gateway: Gateway, pool: PoolRow, new_type: str
) -> None:
    members = await queries.members_of(session, pool.id)
    check_type_change(pool.name, new_type, [member.role for member in members])
    if await _active_migrations(session, gateway, pool.id):
        raise BadRequest(
            f"Pool '{pool.name}' cannot change its type while a migration uses it",
            hint="wait for the migration, or cancel it",
        )
    mixed = await queries.vhosts_with_other_pools(session, pool.id)
    if mixed:
        raise BadRequest(
            f"Pool '{pool.name}' cannot become '{new_type}': vhost(s) {', '.join(mixed)} "
            "also use other pools of its present type",
            hint="a vhost's pools are all of one type",
        )


async def _check_not_migrating(session: AsyncSession, gateway: Gateway, pool: PoolRow) -> None:
    active = await _active_migrations(session, gateway, pool.id)
    if active:
        raise Conflict(
            f"Pool '{pool.name}' cannot be renamed: active migration(s) "
            f"{', '.join(map(str, active))} reference this pool.",
            hint="wait for these migrations, or cancel them",
        )


async def _active_migrations(session: AsyncSession, gateway: Gateway, pool_id: int) -> list[int]:
    port = gateway.ports.migrations
    return await port.active_with_pool(session, pool_id) if port else []

"""Vhosts: create, change, delete. The route ``/`` of a vhost follows its default pool."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import ROOT_PREFIX, VhostDraft, check_same_type
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_tls, check_vhost
from holdfast.gateway.service.moving import check_enabling, check_new_default
from holdfast.gateway.tables import PoolRow, RouteRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, NotFound
from holdfast.kernel.work import Work


async def get_vhost(session: AsyncSession, vhost_id: int) -> VhostRow:
    """The vhost. Raises ``NotFound``."""
    vhost = await session.get(VhostRow, vhost_id)
    if vhost is None:
        raise NotFound("Vhost not found", hint="holdfast vhost list")
    return vhost


async def pool_or_refuse(session: AsyncSession, pool_id: int) -> PoolRow:
    """The pool that a body names. Raises ``BadRequest``."""
    pool = await session.get(PoolRow, pool_id)
    if pool is None:
        raise BadRequest(f"Pool {pool_id} not found", hint="holdfast pool list")
    return pool


async def create_vhost(work: Work, gateway: Gateway, draft: VhostDraft) -> VhostRow:
    """Add a vhost. Raises ``Invalid``, ``BadRequest`` and ``Conflict``."""
    draft = check_vhost(draft)
    check_tls(draft, is_new=True)
    session = work.session
    await _check_name_free(session, draft.server_name)
    if draft.default_pool_id is not None:
        await pool_or_refuse(session, draft.default_pool_id)
    moment = now()
    vhost = VhostRow(**rows.vhost_columns(draft), created_at=moment, updated_at=moment)
    session.add(vhost)
    await session.flush()
    if vhost.enabled:
        await check_new_default(session, gateway, vhost, vhost.default_pool_id)
    await _follow_default(session, vhost)
    work.audit("create", "vhost", vhost.id, after=rows.row_fields(vhost))
    work.emit("gateway", "vhost.created", {"id": vhost.id, "server_name": vhost.server_name})
    mark_changed(work, gateway, vhosts=[vhost.server_name])
    return vhost


async def update_vhost(
    work: Work, gateway: Gateway, vhost_id: int, changes: Mapping[str, Any]
) -> VhostRow:
    """Change a vhost. Raises ``NotFound``, ``Invalid``, ``BadRequest``, ``Conflict``."""
    session = work.session
    vhost = await get_vhost(session, vhost_id)
    old = rows.vhost_draft(vhost)
    new = check_vhost(dataclasses.replace(old, **changes))
    check_tls(new, is_new=False)
    if new == old:
        return vhost
    if new.server_name != old.server_name:
        await _check_name_free(session, new.server_name, but=vhost.id)
    await _check_moves(session, gateway, vhost, (old, new))
    if new.default_pool_id != old.default_pool_id and new.default_pool_id is not None:
        pool = await pool_or_refuse(session, new.default_pool_id)
        types = await queries.pool_types_of_vhosts(session, [vhost.id], but_root=True)
        check_same_type(pool.name, pool.type, types[vhost.id])
    before = rows.row_fields(vhost)
    for name, value in rows.vhost_columns(new).items():
        setattr(vhost, name, value)
    vhost.updated_at = now()
    if new.enabled and not old.enabled:
        await check_enabling(session, gateway, vhost)
    await _follow_default(session, vhost)
    work.audit("update", "vhost", vhost.id, before=before, after=rows.row_fields(vhost))
    work.emit("gateway", "vhost.updated", {"id": vhost.id, "server_name": vhost.server_name})
    mark_changed(work, gateway, vhosts=[old.server_name, new.server_name])
    if new.server_name != old.server_name:
        mark_changed(work, gateway, flags_of=[old.server_name, new.server_name])
    return vhost


async def set_enabled(
    work: Work, gateway: Gateway, vhost_ids: Collection[int], *, enabled: bool
) -> int:
    """Enable or disable several vhosts at once; gives how many changed. Raises ``NotFound``."""
    known = await queries.rows_by_id(work.session, VhostRow, set(vhost_ids))
    if missing := set(vhost_ids) - known.keys():
        raise NotFound(f"Vhost {min(missing)} not found", hint="somebody deleted it: look again")
    changing = [vhost.id for vhost in known.values() if vhost.enabled is not enabled]
    for vhost_id in changing:
        await update_vhost(work, gateway, vhost_id, {"enabled": enabled})
    return len(changing)


async def delete_vhost(work: Work, gateway: Gateway, vhost_id: int) -> None:
    """Delete a vhost with its routes. Raises ``NotFound`` and ``Conflict``."""
    vhost = await get_vhost(work.session, vhost_id)
    await _check_not_migrating(work.session, vhost, "deleted")
    work.audit("delete", "vhost", vhost.id, before=rows.row_fields(vhost))
    work.emit("gateway", "vhost.deleted", {"id": vhost.id, "server_name": vhost.server_name})
    mark_changed(work, gateway, vhosts=[vhost.server_name], flags_of=[vhost.server_name])
    await work.session.delete(vhost)
    await work.session.flush()


async def _follow_default(session: AsyncSession, vhost: VhostRow) -> None:
    """Keep the route ``/`` at the default pool; the caller's row has the pool that is wanted."""
    root = (await queries.taken_places(session, [(vhost.id, ROOT_PREFIX)])).get(
        (vhost.id, ROOT_PREFIX)
    )
    if vhost.default_pool_id is None:
        if root is not None:
            await session.delete(root)
    elif root is None:
        moment = now()
        session.add(
            RouteRow(
                vhost_id=vhost.id,
                path_prefix=ROOT_PREFIX,
                pool_id=vhost.default_pool_id,
                created_at=moment,
                updated_at=moment,
            )
        )
    elif root.pool_id != vhost.default_pool_id:
        root.pool_id = vhost.default_pool_id
        root.updated_at = now()
    await session.flush()


async def _check_name_free(session: AsyncSession, name: str, *, but: int | None = None) -> None:
    found = await queries.vhost_named(session, name)
    if found is not None and found.id != but:
        raise Conflict(f"Vhost '{name}' already exists", hint="choose another server name")


async def _check_moves(
    session: AsyncSession, gateway: Gateway, vhost: VhostRow, drafts: tuple[VhostDraft, VhostDraft]
) -> None:
    """A migration reaches its vhosts by name, port and protocol. Raises ``Conflict``."""
    old, new = drafts
    if new.server_name != old.server_name:
        await _check_not_migrating(session, vhost, "renamed")
    if not new.enabled and old.enabled:
        await _check_not_migrating(session, vhost, "disabled")
    if (new.listen_port, new.ssl) != (old.listen_port, old.ssl):
        await _check_not_migrating(session, vhost, "given another port or protocol")
    if new.enabled and new.default_pool_id != old.default_pool_id:
        await check_new_default(session, gateway, vhost, new.default_pool_id)


async def _check_not_migrating(session: AsyncSession, vhost: VhostRow, what: str) -> None:
    buckets = await queries.migrating_buckets(session, vhost.id)
    if buckets:
        raise Conflict(
            f"Vhost '{vhost.server_name}' cannot be {what}: bucket(s) {', '.join(buckets)} "
            "are being migrated",
            hint="wait for these migrations, or cancel them",
        )

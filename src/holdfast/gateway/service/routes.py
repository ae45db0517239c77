"""Routes of a vhost: create (many at once), change, delete.

A plain bucket route is a routing flag and nothing else: live without a reload.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.leaving import Left
from holdfast.gateway.model import (
    ROOT_PREFIX,
    RouteDraft,
    bucket_of,
    check_same_type,
    reached_bucket,
    same_place,
)
from holdfast.gateway.publish import mark_changed, mark_left
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_route
from holdfast.gateway.service.moving import check_new_ways
from holdfast.gateway.service.vhosts import get_vhost, pool_or_refuse
from holdfast.gateway.tables import PoolRow, RouteRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, NotFound, Unavailable
from holdfast.kernel.work import Work

Blame = Callable[[int], AbstractContextManager[Any]]
"""Wraps the checks of the draft with this index, so that its error can be told apart."""


@dataclasses.dataclass(frozen=True, slots=True)
class MadeRoute:
    """A route with what it belongs to."""

    row: RouteRow
    pool: PoolRow
    vhost: VhostRow


@dataclasses.dataclass(frozen=True, slots=True)
class _Admitted:
    """A route that may be made."""

    columns: dict[str, Any]
    pool: PoolRow
    vhost: VhostRow


async def get_route(session: AsyncSession, vhost_id: int, route_id: int) -> RouteRow:
    """The route. Raises ``NotFound``."""
    await get_vhost(session, vhost_id)
    route = await session.get(RouteRow, route_id)
    if route is None or route.vhost_id != vhost_id:
        raise NotFound("Route not found", hint="holdfast route list")
    return route


async def create_route(
    work: Work, gateway: Gateway, draft: RouteDraft, *, left: Left | None = None
) -> MadeRoute:
    """Add a route. Raises ``NotFound``, ``Invalid``, ``BadRequest``, ``Conflict``.

    ``left``: the pool that its bucket leaves had nothing of it, as in `update_route`.
    """
    made = (await create_routes(work, gateway, [draft]))[0]
    if left is not None:
        _mark(work, gateway, made.vhost, made.row, left=left)
    return made


async def create_routes(
    work: Work, gateway: Gateway, drafts: Sequence[RouteDraft], *, blame: Blame | None = None
) -> list[MadeRoute]:
    """Add routes with a few statements in all. The first draft that is refused refuses all."""
    admitted = await _admit(work.session, drafts, blame or (lambda _: nullcontext()))
    inserted = await queries.insert_routes(work.session, [new.columns for new in admitted])
    rows_by_place = {(row.vhost_id, row.path_prefix): row for row in inserted}
    made = [
        MadeRoute(rows_by_place[new.vhost.id, new.columns["path_prefix"]], new.pool, new.vhost)
        for new in admitted
    ]
    ways = {way for m in made if m.row.enabled for way in _ways(m.vhost, rows.route_draft(m.row))}
    await check_new_ways(work.session, gateway, ways)
    for route in made:
        work.audit("create", "route", route.row.id, after=rows.row_fields(route.row))
        _mark(work, gateway, route.vhost, route.row)
    data = {"ids": [m.row.id for m in made], "vhosts": sorted({m.vhost.id for m in made})}
    work.emit("gateway", "route.created", data)
    return made


async def move_needed(
    session: AsyncSession, vhost_id: int, route_id: int, pool_id: int | None
) -> tuple[PoolRow, PoolRow, str] | None:
    """Old pool, new pool and bucket to look at before a change; None: nothing can be lost."""
    route = await get_route(session, vhost_id, route_id)
    if pool_id is None or route.bucket is None or route.pool_id == pool_id:
        return None
    _check_changeable(route)
    source = await pool_or_refuse(session, route.pool_id)
    target = await pool_or_refuse(session, pool_id)
    return (source, target, route.bucket) if {source.type, target.type} == {"nanio"} else None


async def update_route(
    work: Work,
    gateway: Gateway,
    vhost_id: int,
    route_id: int,
    changes: Mapping[str, Any],
    *,
    migrate: bool = False,
    left: Left | None = None,
) -> tuple[RouteRow, PoolRow]:
    """Change a route. ``migrate``: the bucket has objects, so a new pool means a migration to it.

    ``left``: it had none; that is seen once more while writes wait, else it is a ``Conflict``.
    Raises ``NotFound``, ``Invalid``, ``BadRequest``, ``Conflict``, and ``TooMany`` at the limit.
    """
    session = work.session
    route = await get_route(session, vhost_id, route_id)
    vhost = await get_vhost(session, vhost_id)
    old = rows.route_draft(route)
    new = dataclasses.replace(old, **changes)
    if new == old:
        return route, await pool_or_refuse(session, route.pool_id)
    _check_changeable(route)
    new = check_route(new)
    pool = await _check_new_route(session, route, new)
    before, was_bucket, was_plain = rows.row_fields(route), route.bucket, route.plain
    if migrate and new.pool_id != old.pool_id:
        _check_only_moves(route, new)
        source = await pool_or_refuse(session, old.pool_id)
        route.migration_id = await _start_move(work, gateway, vhost, route, (source, pool))
        new, pool = dataclasses.replace(new, pool_id=old.pool_id), source
    for name, value in dataclasses.asdict(new).items():
        setattr(route, name, value)
    route.updated_at = now()
    await session.flush()
    if route.migration_id is None:
        ways = _ways(vhost, new) | _default_way(vhost, was_bucket, but=new)
        await check_new_ways(session, gateway, ways - _ways(vhost, old))
    work.audit("update", "route", route.id, before=before, after=rows.row_fields(route))
    work.emit("gateway", "route.updated", {"id": route.id, "vhost_id": vhost_id})
    _mark(
        work,
        gateway,
        vhost,
        route,
        was_bucket=was_bucket,
        was_plain=was_plain,
        was_described=bool(old.description),
        left=left if new.pool_id != old.pool_id else None,
    )
    return route, pool


async def set_enabled(
    work: Work, gateway: Gateway, vhost_id: int, route_ids: Collection[int], *, enabled: bool
) -> int:
    """Enable or disable several routes of a vhost at once; gives how many changed.

    Raises ``NotFound``, ``BadRequest`` for ``/``, and ``Conflict`` for a bucket on its way.
    """
    known = await queries.rows_by_id(work.session, RouteRow, set(route_ids))
    missing = {number for number in route_ids if number not in known}
    if missing or any(route.vhost_id != vhost_id for route in known.values()):
        raise NotFound("Route not found", hint="somebody deleted it: look again")
    changing = [route.id for route in known.values() if route.enabled is not enabled]
    for route_id in changing:
        await update_route(work, gateway, vhost_id, route_id, {"enabled": enabled})
    return len(changing)


async def delete_route(work: Work, gateway: Gateway, vhost_id: int, route_id: int) -> None:
    """Delete a route. Raises ``NotFound``, ``BadRequest`` for ``/``, ``Conflict``."""
    route = await get_route(work.session, vhost_id, route_id)
    vhost = await get_vhost(work.session, vhost_id)
    _check_changeable(route)
    await check_new_ways(work.session, gateway, _default_way(vhost, route.bucket))
    work.audit("delete", "route", route.id, before=rows.row_fields(route))
    work.emit("gateway", "route.deleted", {"id": route.id, "vhost_id": vhost_id})
    _mark(work, gateway, vhost, route)
    await work.session.delete(route)
    await work.session.flush()


def _ways(vhost: VhostRow, draft: RouteDraft) -> set[tuple[str, int]]:
    """The bucket and the pool that it is served from: by its route, or else by the default."""
    if not draft.enabled:
        return _default_way(vhost, bucket_of(draft.path_prefix, draft.key_prefix))
    return {(reached_bucket(draft.path_prefix, draft.key_prefix), draft.pool_id)}


def _default_way(
    vhost: VhostRow, bucket: str | None, *, but: RouteDraft | None = None
) -> set[tuple[str, int]]:
    """A bucket without a route of its own falls to the default pool. ``but``: that route has it."""
    kept = but is not None and bucket_of(but.path_prefix, but.key_prefix) == bucket
    if bucket is None or vhost.default_pool_id is None or kept:
        return set()
    return {(bucket, vhost.default_pool_id)}


async def _admit(
    session: AsyncSession, drafts: Sequence[RouteDraft], blame: Blame
) -> list[_Admitted]:
    vhosts = await queries.rows_by_id(session, VhostRow, {d.vhost_id for d in drafts})
    pools = await queries.rows_by_id(session, PoolRow, {d.pool_id for d in drafts})
    places = [(d.vhost_id, same_place(d.path_prefix)) for d in drafts]
    taken = set(await queries.taken_places(session, places))
    types = await queries.pool_types_of_vhosts(session, set(vhosts))
    admitted, moment = [], now()
    for index, (draft, place) in enumerate(zip(drafts, places, strict=True)):
        with blame(index):
            vhost, pool = vhosts.get(draft.vhost_id), pools.get(draft.pool_id)
            if vhost is None:
                raise NotFound("Vhost not found", hint="holdfast vhost list")
            checked = check_route(draft)
            if pool is None:
                raise BadRequest(f"Pool {draft.pool_id} not found", hint="holdfast pool list")
            check_same_type(pool.name, pool.type, types[vhost.id])
            if place in taken:
                raise _exists(draft.path_prefix)
        taken.add(place)
        types[vhost.id].add(pool.type)
        times = {"created_at": moment, "updated_at": moment}
        admitted.append(_Admitted({**dataclasses.asdict(checked), **times}, pool, vhost))
    return admitted


async def _check_new_route(session: AsyncSession, route: RouteRow, new: RouteDraft) -> PoolRow:
    pool = await pool_or_refuse(session, new.pool_id)
    if new.pool_id != route.pool_id:
        types = await queries.pool_types_of_vhosts(session, [route.vhost_id], but=route.id)
        check_same_type(pool.name, pool.type, types[route.vhost_id])
    place = same_place(new.path_prefix)
    moved = place != same_place(route.path_prefix)
    if moved and await queries.taken_places(session, [(route.vhost_id, place)]):
        raise _exists(new.path_prefix)
    return pool


async def _start_move(
    work: Work,
    gateway: Gateway,
    vhost: VhostRow,
    route: RouteRow,
    pools: tuple[PoolRow, PoolRow],
) -> int:
    port = gateway.ports.migrations
    assert route.bucket is not None
    if port is None:
        raise Unavailable(
            f"bucket {route.bucket!r} has objects, and no migration can be started here",
            hint="start the worker, or send allow_orphan to leave the objects behind",
        )
    source, destination = pools
    return await port.start(
        work, vhost=vhost, bucket=route.bucket, source=source, destination=destination
    )


def _check_only_moves(route: RouteRow, new: RouteDraft) -> None:
    """The move finds its route by the bucket when it ends, and clients reach it by no other way."""
    if (bucket_of(new.path_prefix, new.key_prefix), new.enabled) != (route.bucket, route.enabled):
        raise BadRequest(
            f"The new pool of route '{route.path_prefix}' starts a move of bucket "
            f"'{route.bucket}': path_prefix, key_prefix and enabled cannot change with it",
            hint="change the pool alone, and the rest when the move is done; or send allow_orphan "
            "to leave the objects behind",
        )


def _check_changeable(route: RouteRow) -> None:
    if route.path_prefix == ROOT_PREFIX:
        raise BadRequest(
            "The route '/' follows the vhost's default pool",
            hint="change the vhost's default_pool_id instead",
        )
    if route.migration_id is not None:
        raise Conflict(
            f"bucket {route.path_prefix.strip('/')!r} is being migrated "
            f"(migration {route.migration_id})",
            hint=f"wait for it, or cancel it: holdfast migration cancel {route.migration_id}",
        )


def _exists(prefix: str) -> Conflict:
    return Conflict(
        f"Route with prefix '{prefix}' already exists for this vhost",
        hint="change that route, or choose another prefix ('/b' and '/b/' are one place)",
    )


def _mark(
    work: Work,
    gateway: Gateway,
    vhost: VhostRow,
    route: RouteRow,
    *,
    was_bucket: str | None = None,
    was_plain: bool = True,
    was_described: bool = False,
    left: Left | None = None,
) -> None:
    """What of the disk a route stands for, as it is and as it was."""
    places = {(vhost.server_name, bucket) for bucket in (route.bucket, was_bucket) if bucket}
    mark_changed(work, gateway, flags=places)
    if left is not None:
        mark_left(work, dict.fromkeys(places, left))
    if not (route.plain and was_plain) or route.description or was_described:
        mark_changed(work, gateway, vhosts=[vhost.server_name])

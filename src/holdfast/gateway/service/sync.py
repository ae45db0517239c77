"""Take over what was added or changed on disk; nothing is deleted, what cannot be kept is told."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.gateway.context import Gateway
from holdfast.gateway.file_change import render_context
from holdfast.gateway.render_model import GatewaySpec, PoolSpec, VhostSpec
from holdfast.gateway.service import drift, reading
from holdfast.gateway.service.absorb import take_flag, take_over, with_pool, with_vhost
from holdfast.gateway.service.rebuild import has_data, rebuild_from_disk
from holdfast.kernel.errors import AppError
from holdfast.kernel.nginx.generations import MAIN
from holdfast.kernel.work import Work


@dataclass(slots=True)
class Synced:
    """How much was taken over."""

    pools_new: int = 0
    pools_updated: int = 0
    members_new: int = 0
    vhosts_new: int = 0
    vhosts_updated: int = 0
    routes_synced: int = 0
    files_synced: int = 0
    warnings: list[str] = field(default_factory=list)


async def sync(work: Work, gateway: Gateway) -> Synced:
    """Import what differs on disk, file by file, in one publication.

    What only the rows have stays and is written back. A file that cannot be kept whole is left as
    it is, with a warning. An empty database takes over everything, as a rebuild from disk does.
    """
    if not await has_data(work.session):
        return await _begin(work, gateway)
    result = Synced()
    found = [item for item in await drift.find(work.session, gateway) if item.kind != "missing"]
    spec = before = await reading.stored(work.session)
    context = await render_context(gateway)
    pools = _names(found, "pools")
    vhosts = _names(found, "vhosts")

    def pool(one: GatewaySpec, name: str) -> GatewaySpec:
        return _with_old_members(with_pool(one, gateway, name), before, name)

    def vhost(one: GatewaySpec, name: str) -> GatewaySpec:
        return _with_old_routes(with_vhost(one, gateway, name, context), before, name)

    spec = _read_each(spec, pools, pool, result)
    spec = _read_each(spec, vhosts, vhost, result)
    _count(before, spec, result)
    if pools or vhosts:
        await take_over(work, gateway, spec, pools=pools, vhosts=vhosts)
    taken = {*(f"pools/{name}" for name in pools), *(f"vhosts/{name}" for name in vhosts)}
    result.files_synced = sum(_stem(item.path) in taken for item in found)
    await _flags(work, gateway, [i.path for i in found if i.path.startswith(drift.ROUTES)], result)
    if any(item.path == MAIN for item in found):
        result.warnings.append(f"{MAIN} follows from the rest: rewrite it")
    work.audit("sync", "config", None, after=dataclasses.asdict(result))
    work.emit("gateway", "config.synced", {"files": result.files_synced})
    return result


async def _begin(work: Work, gateway: Gateway) -> Synced:
    found = await rebuild_from_disk(work, gateway, force=False)
    result = Synced(warnings=found.warnings, files_synced=len(found.files - {MAIN}))
    _count(GatewaySpec(), found.spec, result)
    result.routes_synced = found.routes
    return result


async def _flags(work: Work, gateway: Gateway, paths: list[str], result: Synced) -> None:
    for path in paths:
        try:
            await take_flag(work, gateway, path, path.split("/")[1:])
        except AppError as error:
            result.warnings.append(f"{path}: {error.message}")
        else:
            result.routes_synced += 1


def _read_each(
    spec: GatewaySpec,
    names: list[str],
    take: Callable[[GatewaySpec, str], GatewaySpec],
    result: Synced,
) -> GatewaySpec:
    """``spec`` with each of ``names``; those that cannot be kept are taken out of the list."""
    for name in tuple(names):
        try:
            spec = take(spec, name)
        except AppError as error:
            result.warnings.append(error.message)
            names.remove(name)
    return spec


def _names(found: list[drift.Drifted], folder: str) -> list[str]:
    stems = {_stem(item.path) for item in found if item.path.startswith(f"{folder}/")}
    return sorted(stem.removeprefix(f"{folder}/") for stem in stems)


def _stem(path: str) -> str:
    return path.removesuffix(".meta.json").removesuffix(".conf")


def _with_old_members(spec: GatewaySpec, before: GatewaySpec, name: str) -> GatewaySpec:
    old = next((pool for pool in before.pools if pool.name == name), None)
    new = next(pool for pool in spec.pools if pool.name == name)
    known = {member.address for member in new.members}
    kept = [member for member in (old.members if old else ()) if member.address not in known]
    merged = dataclasses.replace(new, members=(*new.members, *kept))
    return dataclasses.replace(
        spec, pools=tuple(merged if pool.name == name else pool for pool in spec.pools)
    )


def _with_old_routes(spec: GatewaySpec, before: GatewaySpec, name: str) -> GatewaySpec:
    old = next((vhost for vhost in before.vhosts if vhost.server_name == name), None)
    new = next(vhost for vhost in spec.vhosts if vhost.server_name == name)
    known = {route.path_prefix.rstrip("/") for route in new.routes}
    kept = [r for r in (old.routes if old else ()) if r.path_prefix.rstrip("/") not in known]
    merged = dataclasses.replace(new, routes=(*new.routes, *kept))
    return dataclasses.replace(
        spec, vhosts=tuple(merged if v.server_name == name else v for v in spec.vhosts)
    )


def _count(before: GatewaySpec, after: GatewaySpec, result: Synced) -> None:
    old_pools = {pool.name: pool for pool in before.pools}
    for pool in after.pools:
        old = old_pools.get(pool.name)
        known = {member.address for member in old.members} if old else set()
        result.members_new += sum(member.address not in known for member in pool.members)
        result.pools_new += old is None
        result.pools_updated += old is not None and _differs(old, pool)
    old_vhosts = {vhost.server_name: vhost for vhost in before.vhosts}
    for vhost in after.vhosts:
        was = old_vhosts.get(vhost.server_name)
        routes = {_plain(route) for route in was.routes} if was else set()
        result.routes_synced += sum(_plain(route) not in routes for route in vhost.routes)
        result.vhosts_new += was is None
        result.vhosts_updated += was is not None and _differs(was, vhost)


def _differs(old: PoolSpec | VhostSpec, new: PoolSpec | VhostSpec) -> bool:
    return _plain(old) != _plain(new)


def _plain(spec: object) -> str:
    """A value without ids and times, to be compared."""
    text = dataclasses.asdict(spec)  # type: ignore[call-overload] # a dataclass it is
    return repr({key: value for key, value in text.items() if key not in {"id", "updated_at"}})

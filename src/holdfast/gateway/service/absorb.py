"""What somebody edited in a file becomes what is stored; the file is then as it is rendered."""

import dataclasses
from collections import defaultdict
from datetime import datetime
from hashlib import sha256

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.file_change import render_context
from holdfast.gateway.flags import Flag, FlagState
from holdfast.gateway.parse import with_flag_pools
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.render_model import GatewaySpec, RenderContext, RouteSpec, pool_alias
from holdfast.gateway.service import drift, reading
from holdfast.gateway.service.adopt import adopt, adopt_flags, adopt_plain_descriptions
from holdfast.gateway.service.config import relative_path, shown_path
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.nginx.generations import MAIN
from holdfast.kernel.work import Work

FLAG_PARTS = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Absorbed:
    """A file that was taken over: where it lies, what it holds now, what was stored otherwise."""

    path: str
    sha256: str
    differences: list[str]


async def absorb_file(work: Work, gateway: Gateway, given: str) -> Absorbed:
    """Take a file, or a flag, over as it is on disk now.

    Raises ``NotFound`` for a file that is not there or is not ours, ``Invalid`` with the lines that
    could not be kept, ``NginxRefused``, and ``Conflict`` when it belongs to a running migration.
    """
    path = relative_path(gateway, given)
    folder, _, rest = path.partition("/")
    if folder == drift.ROUTES:
        return await _absorb_flag(work, gateway, given, rest.split("/"))
    if path == MAIN:
        raise Invalid(
            f"{MAIN} follows from the pools and vhosts: nothing of it can be stored",
            hint="put it back: holdfast config rewrite http.conf",
        )
    name = rest.removesuffix(".meta.json").removesuffix(".conf")
    if folder not in {"pools", "vhosts"} or not name or gateway.generations.read(path) is None:
        raise NotFound(
            f"{given} is no pool's or vhost's file that is there",
            hint="GET /api/config/drift; a missing file is put back by rewrite-file",
        )
    spec = await reading.stored(work.session)
    if folder == "pools":
        spec = with_pool(spec, gateway, name)
    else:
        spec = with_vhost(spec, gateway, name, await render_context(gateway))
    told = await take_over(work, gateway, spec, **{folder: [name]})
    work.audit("absorb_drift", "config", path, after={"differences": told})
    work.emit("gateway", "config.absorbed", {"path": path})
    await work.settle()
    text = gateway.generations.read(path) or ""
    digest = sha256(text.encode()).hexdigest()
    return Absorbed(shown_path(gateway, path), digest, told)


def with_pool(spec: GatewaySpec, gateway: Gateway, name: str) -> GatewaySpec:
    """What is stored, with one pool as it is on disk."""
    found = reading.read_pool(gateway, name)
    others = tuple(pool for pool in spec.pools if pool.name != name)
    return dataclasses.replace(spec, pools=(*others, found))


def with_vhost(
    spec: GatewaySpec, gateway: Gateway, name: str, context: RenderContext
) -> GatewaySpec:
    """What is stored, with one vhost as it is on disk. Raises ``Invalid`` for unknown pools."""
    found = reading.read_vhost(gateway, name, context)
    types = {pool.name: pool.type for pool in spec.pools}
    found = with_flag_pools(found, gateway.flags, types)
    used = [name for name in (found.default_pool, *(r.pool for r in found.routes)) if name]
    missing = sorted(set(used) - types.keys())
    if missing:
        raise Invalid(f"there is no pool {missing[0]!r}", hint="absorb the pool's file first")
    if len({types[pool] for pool in used}) > 1:
        raise Invalid("the pools of a vhost are all of one type")
    others = tuple(vhost for vhost in spec.vhosts if vhost.server_name != name)
    return dataclasses.replace(spec, vhosts=(*others, found))


async def take_over(
    work: Work,
    gateway: Gateway,
    spec: GatewaySpec,
    *,
    pools: list[str] | None = None,
    vhosts: list[str] | None = None,
) -> list[str]:
    """Make the rows say it and publish these; gives what was otherwise.

    What the other rows say must be in ``spec`` too: what is not in it is deleted.
    """
    told = await adopt(work.session, spec)
    await adopt_plain_descriptions(work.session, spec)
    moment = now()
    for name in pools or ():
        row = await queries.pool_named(work.session, name)
        _touch(row, moment)
        users = await queries.vhosts_using_pool(work.session, row.id) if row else ()
        mark_changed(work, gateway, vhosts=[vhost.server_name for vhost in users])
    for name in vhosts or ():
        _touch(await queries.vhost_named(work.session, name), moment)
    await work.session.flush()
    mark_changed(work, gateway, pools=pools or (), vhosts=vhosts or (), flags_of=vhosts or ())
    return told


def _touch(row: PoolRow | VhostRow | None, moment: datetime) -> None:
    """So that the file is written anew, also when the edit is word for word what we would write."""
    if row is not None:
        row.updated_at = moment


async def _absorb_flag(work: Work, gateway: Gateway, given: str, parts: list[str]) -> Absorbed:
    told = await take_flag(work, gateway, given, parts)
    path = drift.flag_path(parts[0], parts[1])
    work.audit("absorb_drift", "config", path, after={"differences": told})
    work.emit("gateway", "config.absorbed", {"path": path})
    await work.settle()
    flag = gateway.flags.get(parts[0], parts[1])
    digest = sha256((flag.name if flag else "").encode()).hexdigest()
    return Absorbed(shown_path(gateway, path), digest, told)


async def take_flag(work: Work, gateway: Gateway, given: str, parts: list[str]) -> list[str]:
    """Make a flag's route what the flag says; gives what was otherwise.

    Raises ``NotFound``, ``Conflict`` during a migration, ``Invalid`` when it names nothing we have.
    """
    flag = _flag_of(gateway, parts)
    if flag is None:
        raise NotFound(f"{given} is no routing flag", hint="GET /api/config/drift")
    vhost, bucket, _ = parts
    pool = await _pool_of(work, flag)
    if pool is None or await queries.vhost_named(work.session, vhost) is None:
        raise Invalid(
            f"the flag of {bucket!r} on vhost {vhost!r} is {flag.name}: its vhost or pool does not "
            "exist",
            hint="rewrite the file, or make what is missing",
        )
    routes: dict[str, list[RouteSpec]] = defaultdict(list)
    for row in await queries.routed_buckets(work.session):
        if (row.vhost, row.bucket) != (vhost, bucket):
            routes[row.vhost].append(RouteSpec(path_prefix=f"/{row.bucket}/", pool=row.pool))
        elif row.migration_id is not None:
            raise Conflict(f"bucket {bucket!r} is being moved", hint="wait for its migration")
    routes[vhost].append(RouteSpec(path_prefix=f"/{bucket}/", pool=pool))
    told = await adopt_flags(work.session, routes)
    mark_changed(work, gateway, flags=[(vhost, bucket)])
    return told


async def _pool_of(work: Work, flag: Flag) -> str | None:
    """The pool that answers with this flag."""
    names = (await queries.pool_names(work.session)).values()
    on_target = flag.state in {FlagState.HOLDD, FlagState.DST}
    alias = flag.target_alias if on_target else flag.pool_alias
    return next((name for name, _ in names if pool_alias(name) == alias), None)


def _flag_of(gateway: Gateway, parts: list[str]) -> Flag | None:
    if len(parts) != FLAG_PARTS or parts[-1] != "cur":
        return None
    return gateway.flags.get(parts[0], parts[1])

"""Rows and routing flags agree again: a flag says what nginx does now, so it wins."""

from collections.abc import Collection

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.flag_change import FlagChange, Place
from holdfast.gateway.parse import flag_routes
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.render_model import RouteSpec
from holdfast.gateway.service.adopt import adopt_flags
from holdfast.kernel.work import Work

LOST = (
    "this is not the folder that was written, and nginx answers 503: mount it again, or write "
    "every flag anew: holdfast config rebuild"
)


async def follow_flags(work: Work, gateway: Gateway, *, files_won: bool = False) -> list[str]:
    """Rows follow flags that name a pool; other flags follow their rows, or go with their vhost.

    ``files_won``: the rows were just taken from files that are newer than the database. A change
    sets flags after its files, so a flag that is not as its file says is older than both.
    """
    if gateway.flags.lost:
        return [f"{gateway.flags.root}: {LOST}"]
    there = flag_places(gateway)
    told = await rows_follow_flags(work, gateway, files_won=files_won)
    return told + await flags_follow_rows(work, gateway, there)


def flag_places(gateway: Gateway) -> list[Place]:
    """Vhost and bucket of every flag."""
    return [(vhost, bucket) for vhost, bucket, _ in gateway.flags.list()]


async def rows_follow_flags(work: Work, gateway: Gateway, *, files_won: bool = False) -> list[str]:
    """Bucket routes as the flags have them; a broken flag changes no row.

    The sidecar of a route with directives is written again when its flag names another pool.
    """
    session = work.session
    pools = {name for name, _ in (await queries.pool_names(session)).values()}
    vhosts, _ = await queries.vhost_page(session, limit=2**31 - 1, offset=0)
    names = {vhost.server_name for vhost in vhosts}
    routes: dict[str, list[RouteSpec]] = {
        name: flag_routes(gateway.flags, name, pools) for name in names
    }
    readable = {(name, route.bucket) for name, specs in routes.items() for route in specs}
    broken = set(flag_places(gateway)) - readable
    for route in await queries.routed_buckets(session):
        there = {spec.bucket: spec.pool for spec in routes[route.vhost]}
        is_broken = (route.vhost, route.bucket) in broken
        if is_broken or (files_won and not route.plain):  # the row knows a pool that is there
            routes[route.vhost] = [s for s in routes[route.vhost] if s.bucket != route.bucket]
            spec = RouteSpec(path_prefix=f"/{route.bucket}/", pool=route.pool)
            routes[route.vhost].append(spec)
        elif not route.plain and there.get(route.bucket, route.pool) != route.pool:
            mark_changed(work, gateway, vhosts=[route.vhost])
    return await adopt_flags(session, routes)


async def flags_follow_rows(work: Work, gateway: Gateway, there: Collection[Place]) -> list[str]:
    """Flags that no row explains go; rows whose flag is missing or broken get one."""
    rows = await queries.routed_buckets(work.session)
    places = {(row.vhost, row.bucket) for row in rows} | set(there)
    change = await FlagChange.plan(work.session, gateway, places, ())
    work.on_rollback(change.undo)
    await change.remove(lambda _: True)
    await change.set(lambda _: True)
    told = [f"flag {vhost}/{bucket}: removed" for vhost, bucket in sorted(change.removed)]
    return told + [
        f"flag {vhost}/{bucket}: set to {alias}"
        for (vhost, bucket), alias in sorted(change.wanted.items())
    ]

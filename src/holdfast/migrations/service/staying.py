"""Ways into a bucket that a move does not turn, in words for those who plan it."""

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.routing import (
    entrances,
    fixed_routes_into,
    live_ways,
    other_pools,
    vhosts_serving,
    ways_through_http,
)
from holdfast.kernel.errors import Conflict
from holdfast.migrations.service.wish import Wish

WAIVER = "ways"


async def ways_past(session: AsyncSession, wish: Wish) -> list[str]:
    """One line a way into the bucket that its flag does not turn: what is written there is lost.

    Into the source: it stays there. Into the destination: the move deletes it.
    """
    found = []
    for role, pool_id in (("source", wish.source_id), ("destination", wish.destination_id)):
        others = await other_pools(session, pool_id)
        found += [
            f"route {prefix} of vhost '{vhost}' reaches into the bucket on the {role}"
            for vhost, prefix in await fixed_routes_into(session, {pool_id, *others}, wish.bucket)
        ]
        if role == "destination":
            found += [
                f"vhost '{vhost}' has a route of the bucket to the destination"
                for vhost, route in await live_ways(session, wish.bucket, pool_id)
                if route is not None
            ]
        for other, name in others.items() if role == "source" else ():
            found += [
                f"vhost '{entry.name}' serves the bucket through pool '{name}', on servers of the "
                "source"
                for entry in await entrances(session, wish.bucket, other)
            ]
    return found


async def check_ways(session: AsyncSession, wish: Wish) -> None:
    """Raises ``Conflict`` for a way that the move would not see, unless that is waived."""
    found = [] if WAIVER in wish.options.waived else await ways_past(session, wish)
    if found:
        raise Conflict(
            f"Writes past the move would be lost: {'; '.join(found)}",
            hint=f"delete or disable it while the bucket moves, or waive it by name: {WAIVER}",
        )


async def staying_behind(session: AsyncSession, wish: Wish) -> list[str]:
    """One line a vhost: it reads one of the two pools by a way that a move does not change."""
    bucket, source_id = wish.bucket, wish.source_id
    by_default = [
        f"vhost '{vhost}' serves the destination by default: what is written to the bucket through "
        "it while it moves is deleted"
        for vhost, route in await live_ways(session, bucket, wish.destination_id)
        if route is None
    ]
    through_http = [
        f"vhost '{vhost.server_name}' shows the bucket through the http pool '{pool}', which lies "
        "over the source: after the switch it shows the copy that is left there. Give the bucket a "
        "route there to an http pool over the destination"
        for vhost, _, pool in await ways_through_http(session, bucket, source_id)
    ]
    disabled = [
        f"vhost '{vhost.server_name}' is disabled and goes on naming the source: point it to the "
        "destination before it is enabled again"
        for vhost in await vhosts_serving(session, bucket, source_id)
        if not vhost.enabled
    ]
    return through_http + disabled + by_default

"""While a bucket moves: no new way in past its migration, and its two pools stay reachable as is.

What comes in by a way that the migration does not know would be written to one copy only.
"""

from collections.abc import Collection

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.errors import Conflict

HINT = "wait for it, or cancel it: holdfast migration cancel {}"


async def check_access_stays(
    session: AsyncSession, gateway: Gateway, pool: PoolRow, what: str
) -> None:
    """A move goes on with these keys after a restart. Raises ``Conflict``."""
    port = gateway.ports.migrations
    active = await port.active_with_pool(session, pool.id) if port else []
    if active:
        raise Conflict(
            f"{what} of pool '{pool.name}' cannot be changed: active migration(s) "
            f"{', '.join(map(str, active))} reference this pool.",
            hint="wait for these migrations, or cancel them",
        )


async def check_new_default(
    session: AsyncSession, gateway: Gateway, vhost: VhostRow, pool_id: int | None
) -> None:
    """A vhost begins to serve from this pool what has no route. Raises ``Conflict``."""
    port = gateway.ports.migrations
    if port is None or pool_id is None:
        return
    known = await queries.migrations_of_vhost(session, vhost.id)
    unknown = set(await port.active_with_pool(session, pool_id)) - set(known)
    if unknown:
        raise Conflict(
            f"Vhost '{vhost.server_name}' cannot begin to serve from a pool that migration "
            f"{min(unknown)} uses: writes through it would not be tracked",
            hint=HINT.format(min(unknown)),
        )


async def check_new_ways(
    session: AsyncSession, gateway: Gateway, ways: Collection[tuple[str | None, int]]
) -> None:
    """Routes of ``(bucket, pool id)`` begin to serve. Raises ``Conflict`` for a moving bucket."""
    port = gateway.ports.migrations
    if port is None:
        return
    for pool_id in {pool_id for bucket, pool_id in ways if bucket}:
        if not await port.active_with_pool(session, pool_id):
            continue
        for bucket in sorted({bucket for bucket, pool in ways if bucket and pool == pool_id}):
            migration_id = await port.active_for_bucket(session, bucket, pool_id)
            if migration_id is not None:
                raise Conflict(
                    f"bucket '{bucket}' is being moved from or to this pool by migration "
                    f"{migration_id}: writes through another vhost would not be tracked",
                    hint=HINT.format(migration_id),
                )


async def check_enabling(session: AsyncSession, gateway: Gateway, vhost: VhostRow) -> None:
    """A vhost that was off begins to serve. Raises ``Conflict``."""
    await check_new_default(session, gateway, vhost, vhost.default_pool_id)
    await check_new_ways(session, gateway, await queries.ways_of_vhost(session, vhost.id))

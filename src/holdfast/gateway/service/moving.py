"""While a bucket moves: no new way in past its migration, and its two pools stay reachable as is.

What comes in by a way that the migration does not know would be written to one copy only.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries, queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.ports import ActiveMove
from holdfast.gateway.tables import CredentialRow, PoolRow, VhostRow
from holdfast.kernel.errors import Conflict
from holdfast.kernel.stores.s3.address import server_of

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
    moves = await _active(session, gateway)
    if not moves or pool_id is None:
        return
    same = await bucket_queries.pools_over(session, pool_id)
    known = await queries.migrations_of_vhost(session, vhost.id)
    unknown = {move.id for move in moves if move.pool_ids & same} - set(known)
    if unknown:
        raise Conflict(
            f"Vhost '{vhost.server_name}' cannot begin to serve from a pool that migration "
            f"{min(unknown)} uses: writes through it would not be tracked",
            hint=HINT.format(min(unknown)),
        )


async def check_new_ways(
    session: AsyncSession, gateway: Gateway, ways: Collection[tuple[str, int]]
) -> None:
    """Routes of ``(bucket, pool id)`` begin to serve. Raises ``Conflict`` for a moving bucket.

    Another pool on the servers of the move's is a way to it, too.
    """
    moves = await _active(session, gateway)
    for move in moves:
        for pool_id in sorted({pool_id for bucket, pool_id in ways if bucket == move.bucket}):
            if move.pool_ids & await bucket_queries.pools_over(session, pool_id):
                raise Conflict(
                    f"bucket '{move.bucket}' is being moved from or to this pool, or another one "
                    f"on its servers, by migration {move.id}: writes through another way would "
                    "not be tracked",
                    hint=HINT.format(move.id),
                )


async def check_enabling(session: AsyncSession, gateway: Gateway, vhost: VhostRow) -> None:
    """A vhost that was off begins to serve. Raises ``Conflict``."""
    await check_new_default(session, gateway, vhost, vhost.default_pool_id)
    await check_new_ways(session, gateway, await queries.ways_of_vhost(session, vhost.id))


@asynccontextmanager
async def servers_stay(
    session: AsyncSession, gateway: Gateway, pool: PoolRow
) -> AsyncIterator[None]:
    """While servers of a pool change in the block: those that moves use stay, and none is shared.

    A move talks to one server of each pool, and goes on with it after a restart. Raises
    ``Conflict``.
    """
    moves = await _active(session, gateway)
    if not moves:
        yield
        return
    before = await _talked_to(session, pool)
    pools = await bucket_queries.pools_over(session, pool.id)
    yield
    await session.flush()
    mine = [move.id for move in moves if pool.id in move.pool_ids]
    if mine and await _talked_to(session, pool) != before:
        raise Conflict(
            f"migration {mine[0]} talks to {before} of pool '{pool.name}': it cannot be removed, "
            "disabled or given another address",
            hint=HINT.format(mine[0]),
        )
    after = await bucket_queries.pools_over(session, pool.id)
    joined = [move.id for move in moves if after - pools and move.pool_ids & after]
    if joined:
        raise Conflict(
            f"pool '{pool.name}' cannot begin to share a server with a pool that migration "
            f"{joined[0]} uses: writes through it would not be tracked",
            hint=HINT.format(joined[0]),
        )


async def _talked_to(session: AsyncSession, pool: PoolRow) -> str:
    """As `credentials.s3_access` chooses it; empty: nobody."""
    row = await session.get(CredentialRow, pool.id)
    if row is not None and row.endpoint_url:
        return server_of(row.endpoint_url)
    member = await queries.first_enabled_member(session, pool.id)
    return server_of(member.address) if member else ""


async def _active(session: AsyncSession, gateway: Gateway) -> Sequence[ActiveMove]:
    port = gateway.ports.migrations
    return await port.active_moves(session) if port else []

"""What forms offer to choose from."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import page_queries

POOLS_OFFERED = 500
"""A longer list is nothing to choose from: the form then asks for the pool's number."""


async def pool_options(
    session: AsyncSession, *, kind: str = "", none: str = ""
) -> Sequence[tuple[str, str]]:
    """Pools to choose from, by name; ``kind``: of this type only; ``none``: words for no pool.

    Empty when there are too many to choose from.
    """
    found = await page_queries.pools_to_choose(session, kind=kind, limit=POOLS_OFFERED + 1)
    if len(found) > POOLS_OFFERED:
        return ()
    first = [("", none)] if none else []
    return [*first, *((str(number), name) for number, name in found)]


async def has_two_pools(session: AsyncSession) -> bool:
    """Whether there is one to move from, and one to move to."""
    return len(await page_queries.pools_to_choose(session, kind="", limit=2)) > 1

"""What the destination has of a bucket already: from a move of ours, or somebody else's."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.routing import vhosts_serving
from holdfast.kernel.errors import AppError, Conflict
from holdfast.kernel.services import Services
from holdfast.migrations import tables
from holdfast.migrations.model import Mode, Options, Phase
from holdfast.migrations.service.wish import LOOK_SECONDS, Wish, client_for


async def is_ours(session: AsyncSession, wish: Wish) -> bool:
    """Whether an unfinished move from the same source put there what is there.

    The copy that a finished one left behind is not: it may be all that is left of something.
    """
    if await vhosts_serving(session, wish.bucket, wish.destination_id):
        return False
    for row in await tables.moves_touching(session, wish.bucket, wish.destination_id):
        unfinished = row.phase in {Phase.CANCELLED, Phase.ERROR}
        if unfinished and not Options.from_json(row.options).admitted:
            continue  # stopped by its checks: it wrote nothing
        same_way = (row.src_pool_id, row.dst_pool_id) == (wish.source_id, wish.destination_id)
        return unfinished and same_way
    return False


async def check_destination(services: Services, wish: Wish) -> None:
    """Refuse to copy over what is not ours, unless that was confirmed.

    Raises ``Conflict``. A destination that does not answer is left to the move, which waits for it.
    """
    if wish.mode is not Mode.COPY or wish.options.adopt:
        return
    async with services.database.read() as session:
        if await is_ours(session, wish):
            return
        pool = await get_pool(session, wish.destination_id)
        client = await client_for(session, services, wish.destination_id)
    try:
        async with asyncio.timeout(LOOK_SECONDS), client as s3:
            there = await s3.head_bucket(wish.bucket)
            page = await s3.list_page(wish.bucket, max_keys=1) if there else None
    except (AppError, TimeoutError):
        return
    if page and page.objects:
        raise Conflict(
            f"Bucket '{wish.bucket}' is on pool '{pool.name}' already and is not empty; "
            "no unfinished move of it left that there",
            hint="look at the plan (dry_run=true); to overwrite and delete what is there, "
            f'confirm it by its name: {{"confirm": "{wish.bucket}"}}',
        )

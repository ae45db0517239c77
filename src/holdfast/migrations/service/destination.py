"""What the destination has of a bucket already: from a move of ours, or somebody else's."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.routing import vhosts_serving
from holdfast.kernel.errors import AppError, Conflict
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ListPage
from holdfast.migrations import tables
from holdfast.migrations.compare import Comparison
from holdfast.migrations.model import Mode, Options, Phase
from holdfast.migrations.preflight import destination_problem
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


async def first_page(client: S3Client, bucket: str) -> ListPage | None:
    """The first key of a bucket; None when it is not there.

    A refusal says why, which the answer to a HEAD cannot.
    """
    try:
        return await client.list_page(bucket, max_keys=1)
    except S3Error as error:
        if error.is_missing:
            return None
        raise


def refused_by(pool: str, bucket: str, error: S3Error) -> str:
    """What to tell of a server that will not have it, however often it is asked."""
    return f"Pool '{pool}' refuses bucket '{bucket}': {error.s3_code or 'HTTP'} ({error.status})"


async def check_destination(services: Services, wish: Wish, *, make: bool = True) -> None:
    """Refuse to overwrite or delete what is not ours, unless that was confirmed.

    Raises ``Conflict``, also when the destination will not have the bucket or us. One that does not
    answer is left to the move, which waits for it. ``make``: the bucket, when it is not there.
    """
    async with services.database.read() as session:
        may_replace = wish.options.adopt or await is_ours(session, wish)
        pool = await get_pool(session, wish.destination_id)
        client = await client_for(session, services, wish.destination_id)
        source = await client_for(session, services, wish.source_id)
    try:
        async with asyncio.timeout(LOOK_SECONDS), client as s3:
            page = await first_page(s3, wish.bucket)
            if page is None and make:
                await s3.create_bucket(wish.bucket)  # refused now, or in an hour
            problem = ""
            if page and page.objects and not may_replace:
                problem = await _problem(wish, pool.name, source, s3)
    except S3Error as error:
        if error.retryable:
            return
        raise Conflict(refused_by(pool.name, wish.bucket, error), hint=error.hint) from error
    except (AppError, TimeoutError):
        return
    if problem:
        raise Conflict(
            problem,
            hint="look at the plan (POST /api/migrations?dry_run=true); to overwrite and delete "
            "what is there, start the migration and confirm it by its name: "
            f'{{"confirm": "{wish.bucket}"}}',
        )


async def _problem(wish: Wish, pool: str, source: S3Client, destination: S3Client) -> str:
    """Why what is on the destination stands in the way; empty when it does not."""
    if wish.mode is Mode.COPY:
        return (
            f"Bucket '{wish.bucket}' is on pool '{pool}' already and is not empty; "
            "no unfinished move of it left that there"
        )
    with TemporaryDirectory(prefix="holdfast-look-") as folder:
        async with source, Comparison(Path(folder) / "look.sqlite") as comparison:
            found = await comparison.scan(source, wish.bucket, destination, wish.bucket)
    return destination_problem(pool, wish.mode, found)

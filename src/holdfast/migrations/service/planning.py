"""The plan of a move.

What would be copied, how long it may take, what stands in the way, what clients will see.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.routing import entrances
from holdfast.kernel.errors import AppError
from holdfast.kernel.nginx import control_port
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.model import ListedObject
from holdfast.migrations.canary import Canary
from holdfast.migrations.compare import Comparison, ComparisonTotals
from holdfast.migrations.jobs import side_of
from holdfast.migrations.model import Mode, estimated_seconds
from holdfast.migrations.move import Entrance, Hopeless, Move, Side
from holdfast.migrations.preflight import bucket_problems, check_sides, destination_problem
from holdfast.migrations.service.destination import first_page, is_ours, refused_by
from holdfast.migrations.service.starting import check_source, check_wish
from holdfast.migrations.service.staying import WAIVER, staying_behind, ways_past
from holdfast.migrations.service.wish import Wish

SHOWN_KEYS = 20
CLIENTS_SEE = (
    "Last-Modified becomes the time of the copy",
    "ListMultipartUploads shows only uploads begun after the switch",
    "copies between this bucket and one on other servers are refused (501): read and write instead",
    "deleting the bucket is refused (409) while it moves",
)


@dataclass(slots=True)
class Plan:
    """What a migration would do."""

    found: ComparisonTotals
    vhosts: list[str]
    estimated_seconds: float
    conflicts: list[str] = field(default_factory=list)
    """What would stop it; each can be mended, waived or confirmed."""
    warnings: list[str] = field(default_factory=list)
    would_delete: list[str] = field(default_factory=list)
    """Some of the keys that are only on the destination."""
    would_overwrite: list[str] = field(default_factory=list)
    clients_see: tuple[str, ...] = CLIENTS_SEE


async def plan(services: Services, wish: Wish) -> Plan:
    """Look at both sides and change nothing.

    Raises as starting it would, for what the rows tell.
    """
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        await check_wish(session, services, wish)
        may_replace = wish.options.adopt or (await is_ours(session, wish))
        source = await side_of(session, gateway, wish.source_id)
        destination = await side_of(session, gateway, wish.destination_id)
        ways_in = await entrances(session, wish.bucket, source.pool_id)
        warnings = await staying_behind(session, wish)
        ways = await ways_past(session, wish)
    await check_source(services, wish)
    move = Move(
        migration_id=0,
        bucket=wish.bucket,
        mode=wish.mode,
        source=source,
        destination=destination,
        entrances=tuple(Entrance(**entrance.as_json()) for entrance in ways_in),
        options=replace(wish.options, adopt=may_replace),
        folder=Path(),
    )
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(_client(source))
        there = await stack.enter_async_context(_client(destination))
        folder = stack.enter_context(TemporaryDirectory(prefix="holdfast-plan-"))
        comparison = await stack.enter_async_context(Comparison(Path(folder) / "plan.sqlite"))
        exists, refusal = await _look_at(there, destination, wish.bucket)
        found = await comparison.scan(
            here, wish.bucket, there if exists else _Nothing(), wish.bucket
        )
        result = Plan(
            found=found,
            vhosts=[entrance.name for entrance in ways_in],
            estimated_seconds=estimated_seconds(
                objects=found.to_copy.objects,
                size_bytes=found.to_copy.size_bytes,
                transfers=wish.options.transfers,
                limit=wish.options.bandwidth_bytes_per_second,
            ),
            warnings=warnings,
        )
        result.conflicts += refusal + ([] if WAIVER in wish.options.waived else ways)
        if "canary" not in wish.options.waived:
            result.conflicts += await _kept_out(move, control_port(services.settings.nginx_root))
        await _keys(comparison, result, found)
        await _problems(move, here, there if exists else None, result)
    return result


async def _kept_out(move: Move, port: int) -> list[str]:
    """Vhosts through which the switch cannot be proved."""
    found = []
    for entrance in move.entrances:
        try:
            await Canary(move.bucket, move.source, port).choose_door(entrance)
        except Hopeless as error:
            found.append(error.message)
        except (AppError, OSError):
            continue  # nginx may answer when the move begins; it waits for that
    return found


async def _look_at(there: S3Client, pool: Side, bucket: str) -> tuple[bool, list[str]]:
    """Whether the bucket is there, and what the server says when it refuses it for good."""
    try:
        return await first_page(there, bucket) is not None, []
    except S3Error as error:
        if error.retryable:
            raise
        return False, [refused_by(pool.name, bucket, error)]


async def _keys(comparison: Comparison, result: Plan, found: ComparisonTotals) -> None:
    if found.destination.objects == 0:
        return
    async for batch in comparison.differences():
        for difference in batch:
            names = result.would_delete if difference.action == "delete" else result.would_overwrite
            if len(names) < SHOWN_KEYS:
                names.append(difference.key)


async def _problems(move: Move, here: S3Client, there: S3Client | None, result: Plan) -> None:
    try:
        check_sides(move)
    except Hopeless as error:
        result.conflicts.append(error.message)
    for side, client in ((move.source, here), (move.destination, there)):
        if client is not None:
            problems = await bucket_problems(client, move.bucket)
            result.conflicts.extend(
                f"pool {side.name!r}: {words}"
                for waiver, words in problems
                if waiver not in move.options.waived
            )
    problem = destination_problem(move.destination.name, move.mode, result.found)
    if problem and not move.options.adopt:
        result.conflicts.append(problem)
    result.warnings.append("free space on the destination is not known to S3: look yourself")
    if move.mode is Mode.SYNC and result.found.to_delete.objects:
        result.warnings.append("objects that are only on the destination will be deleted")


class _Nothing(S3Client):
    """A bucket that is not there yet."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "", "")

    async def list_objects(
        self, bucket: str, *, prefix: str = "", by_folder: bool = False
    ) -> AsyncIterator[list[ListedObject]]:
        """No page."""
        del bucket, prefix, by_folder
        pages: list[list[ListedObject]] = []
        for page in pages:
            yield page


def _client(side: Side) -> S3Client:
    return S3Client(side.endpoint, side.access_key, side.secret_key, side.region, limit=8)

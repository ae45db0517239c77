"""The list of moves, one move, and the copies that moves left behind."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.service.routing import pool_names
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Invalid
from holdfast.kernel.web.console.forms import typed_name
from holdfast.kernel.web.console.listing import listing, page_of
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.migrations import tables
from holdfast.migrations.model import ACTIVE_PHASES, Options, Phase
from holdfast.migrations.service import reading, starting
from holdfast.migrations.tables import MigrationRow

router = Router(include_in_schema=False, prefix="/web/migrations")
MoveId = Annotated[int, Path(ge=1, le=2**31 - 1)]
LINES = 1000
LEFT_SORTS: Mapping[str, Callable[[MigrationRow], Any]] = {
    "-since": lambda row: row.orphaned_at or row.created_at,
    "bucket": lambda row: row.bucket,
    "objects": lambda row: row.objects_done,
    "size": lambda row: row.bytes_done,
}
SORTS = ("-created", *tables.MIGRATION_SORTS)
_STEPS = (
    (Phase.PENDING, "Waiting"),
    (Phase.COPYING, "Copying"),
    (Phase.VERIFYING, "Verifying"),
    (Phase.SWITCHING, "Switching"),
    (Phase.DONE, "Done"),
)
Stage = tuple[str, str, datetime | None]


@router.get("")
async def list_page(request: Request, session: ReadDep) -> Response:
    """Moves, newest first."""
    shown = listing(request, sorts=SORTS, filters=("phase",))
    rows, total = await tables.migration_page(
        session,
        phase=shown.others.get("phase"),
        limit=shown.rows,
        offset=shown.offset,
        words=shown.q,
        sort=shown.order,
    )
    return await page(
        request,
        "migrations/moves.html.j2",
        list=shown,
        moves=rows,
        total=total,
        pools=await _pools(session, rows),
        active=ACTIVE_PHASES,
        choices=[("phase", "Phase", [(phase.value, phase.value) for phase in Phase])],
    )


@router.get("/orphaned")
async def orphaned(request: Request, session: ReadDep) -> Response:
    """Copies that moves left and that no client reaches."""
    shown = listing(request, sorts=LEFT_SORTS)
    found = await reading.left_behind(session)
    rows, total = page_of(found, shown, LEFT_SORTS, lambda row: row.bucket)
    return await page(
        request,
        "migrations/orphaned.html.j2",
        list=shown,
        moves=rows,
        total=total,
        pools=await _pools(session, rows),
    )


@router.get("/{move_id}")
async def move_page(request: Request, session: ReadDep, move_id: MoveId) -> Response:
    """Where it stands, what it does, what it said."""
    row = await reading.show(session, move_id)
    holds = json.loads(row.holds)
    options = Options.from_json(row.options)
    return await page(
        request,
        "migrations/move.html.j2",
        move=row,
        pools=await _pools(session, [row]),
        vhosts=[vhost["name"] for vhost in json.loads(row.vhosts)],
        stages=_stages(row, await tables.phase_times(session, move_id)),
        options=options,
        holds=holds,
        pauses=[hold["seconds"] for hold in holds],
        is_active=row.phase in ACTIVE_PHASES,
        points=await reading.throughput(session, row),
        elapsed=((row.finished_at or now()) - row.started_at).total_seconds()
        if row.started_at
        else None,
        lines=await reading.lines(session, move_id, limit=LINES),
    )


@router.post("/{move_id}/cancel", dependencies=[OPERATOR])
async def cancel(services: ServicesDep, actor: ActorDep, move_id: MoveId) -> Response:
    """End it with the source serving."""
    async with services.database.write(actor) as work:
        row = await starting.cancel(work, move_id)
    return see_other(f"/web/migrations/{move_id}", told=f"The move of {row.bucket} is being ended.")


@router.post("/{move_id}/purge", dependencies=[OPERATOR])
async def purge(
    request: Request, services: ServicesDep, actor: ActorDep, move_id: MoveId
) -> Response:
    """Delete the copy on the old pool, once the bucket's name was typed."""
    typed = await typed_name(request)
    done = await reading.purge_source(services, actor, move_id, confirm=typed, dry_run=False)
    if done.errors:
        raise Invalid(
            f"{done.deleted} of {done.total} objects were deleted; the others could not be",
            hint="try again",
            details="\n".join(str(error) for error in done.errors[:50]),
        )
    told = f"{done.deleted} objects of {done.bucket} were deleted from its old pool."
    return see_other(f"/web/migrations/{move_id}", told=told)


async def _pools(session: AsyncSession, rows: Iterable[MigrationRow]) -> dict[int, str]:
    """The names of their pools, as far as there are such."""
    ends = ((row.src_pool_id, row.dst_pool_id, row.orphaned_source_pool_id) for row in rows)
    return await pool_names(session, {number for row in ends for number in row if number})


def _stages(row: MigrationRow, began: dict[Phase, datetime]) -> Sequence[Stage]:
    """Each step with its state and its moment."""
    phase = Phase(row.phase)
    order = [step for step, _ in _STEPS]
    failed = phase in {Phase.ERROR, Phase.CANCELLED}
    reached = max((order.index(step) for step in began if step in order), default=0)
    now_at = reached if failed else order.index(phase)
    stages: list[Stage] = []
    for at, (step, words) in enumerate(_STEPS):
        when = began.get(step)
        if at < now_at or phase is Phase.DONE:
            stages.append((words, "done", when))
        elif at == now_at:
            stages.append((phase.value if failed else words, "bad" if failed else "now", when))
        else:
            stages.append((words, "todo", None))
    return stages

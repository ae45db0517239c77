"""A new move: first its plan, then its start."""

from collections.abc import Sequence

from fastapi import Request, Response

from holdfast.gateway.service.choosing import has_two_pools, pool_options
from holdfast.kernel.errors import AppError
from holdfast.kernel.web.console.forms import Field, Form, Kind
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import version_of
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep, pause_reading
from holdfast.kernel.web.router import Router
from holdfast.migrations.model import Mode, Verify
from holdfast.migrations.schemas import MigrationIn, wish_of
from holdfast.migrations.service import planning, starting

router = Router(include_in_schema=False, prefix="/web/migrations", dependencies=[OPERATOR])
START = "start"


@router.get("/new")
@router.post("/new")
async def new_move(
    request: Request, services: ServicesDep, actor: ActorDep, session: ReadDep
) -> Response:
    """The form; once it was sent, the plan of it; once that was agreed to, the move.

    What was changed after the plan was drawn is planned again, and not begun.
    """
    pools, may_move = await pool_options(session), await has_two_pools(session)
    query = request.query_params
    form = Form(_fields(pools), {name: query[name] for name in query if name in _FROM_ADDRESS})
    plan: planning.Plan | None = None
    if request.method == "POST":
        body = await form.read(request, MigrationIn)
        if body is not None:
            try:
                wish = wish_of(body, services)
                await pause_reading(request)
                planned = version_of(form.values)
                if form.button == START and form.version == planned:
                    row = await starting.create(services, actor, wish)
                    return see_other(f"/web/migrations/{row.id}", told=f"{row.bucket} moves.")
                plan = await planning.plan(services, wish)
                form.version = planned
            except AppError as error:
                form.refuse(error)
    return await page(
        request,
        "migrations/new.html.j2",
        status=form.status,
        form=form,
        plan=plan,
        may_move=may_move,
        is_another=form.button == START,
    )


_FROM_ADDRESS = ("bucket", "src_pool_id", "dst_pool_id")


def _fields(pools: Sequence[tuple[str, str]]) -> Sequence[Field]:
    kind: Kind = "select" if pools else "number"
    return (
        Field(
            name="bucket",
            label="Bucket",
            required=True,
            option="-",
            attributes={"autocomplete": "off"},
        ),
        Field(
            name="src_pool_id",
            label="From pool",
            kind=kind,
            options=pools,
            required=True,
            option="from",
        ),
        Field(
            name="dst_pool_id",
            label="To pool",
            kind=kind,
            options=pools,
            required=True,
            option="to",
        ),
        Field(
            name="mode",
            label="What is on the destination",
            kind="select",
            required=True,
            value=Mode.COPY.value,
            options=(
                (Mode.COPY.value, "is kept: the destination must be empty"),
                (Mode.SYNC.value, "is made equal: what only it has is deleted"),
            ),
        ),
        Field(
            name="confirm",
            label="Bucket's name once more",
            help="Only where objects on the destination may be overwritten or deleted.",
            attributes={"autocomplete": "off"},
        ),
        Field(
            name="verify",
            label="Proof before the switch",
            kind="select",
            required=True,
            value=Verify.LISTING.value,
            options=[(one.value, one.value) for one in Verify],
            advanced=True,
        ),
        Field(
            name="bandwidth_limit",
            label="Bandwidth",
            help="Bytes a second, like 50M.",
            advanced=True,
        ),
        Field(name="transfers", label="Objects copied at once", kind="number", advanced=True),
        Field(
            name="max_hold_seconds",
            label="Longest pause of writes at the switch, in seconds",
            kind="number",
            help="It steps back after this, and tries again later. Reads never wait.",
            attributes={"step": "any"},
            advanced=True,
        ),
        Field(
            name="probation_seconds",
            label="Watched after the switch, in seconds",
            kind="number",
            attributes={"step": "any"},
            advanced=True,
        ),
    )

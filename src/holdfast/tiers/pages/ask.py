"""Pull and freeze with their forms, undo, verify, report: what is asked becomes a run."""

from collections.abc import Sequence

from fastapi import Request, Response
from pydantic import field_validator

from holdfast.kernel.errors import Invalid
from holdfast.kernel.notify.addresses import check_addresses
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.forms import Field, Form, sent_form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ActorDep, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work
from holdfast.tiers.model import Action
from holdfast.tiers.names import to_text
from holdfast.tiers.pages.tiers import TierId
from holdfast.tiers.schemas import FreezeIn, absolute_path
from holdfast.tiers.service import asking, keeping
from holdfast.tiers.service.asking import Answer, Target, Wish
from holdfast.tiers.tables import TierRow

router = Router(include_in_schema=False, prefix="/web/tiers", dependencies=[OPERATOR])
BOTH = ["GET", "POST"]
OTHER = "more"
"""The second button of a form: a dry run of a pull, the real thing of a freeze."""


TYPED = "tier_name"
"""The field in which the tier's name is typed by whoever goes beyond its limits."""


class AskForm(FreezeIn):
    """The form of a pull or freeze: paths and addresses a line each."""

    @field_validator("paths", "notify", mode="before")
    @classmethod
    def _lines(cls, given: object) -> object:
        return lines_of(given)


def lines_of(given: object) -> object:
    """The lines of a text that are not empty."""
    if not isinstance(given, str):
        return given
    return [line for line in given.split("\n") if line.strip()]


@router.api_route("/{tier_id}/pull", methods=BOTH)
async def pull(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """What to bring in."""
    row = await keeping.get_tier(session, tier_id)
    return await _ask(request, services, row, Action.PULL)


@router.api_route("/{tier_id}/freeze", methods=BOTH)
async def freeze(
    request: Request, tier_id: TierId, session: ReadDep, services: ServicesDep
) -> Response:
    """What may leave."""
    row = await keeping.get_tier(session, tier_id)
    return await _ask(request, services, row, Action.FREEZE)


@router.post("/{tier_id}/verify")
async def verify(tier_id: TierId, services: ServicesDep, actor: ActorDep) -> Response:
    """Compare the whole tier with its store."""
    wish = Wish(action=Action.VERIFY, paths=(), tier_id=tier_id)
    async with services.database.write(actor) as work:
        answer = await asking.ask_to_look(work, services.sealer, wish)
    return _to_run(answer)


@router.post("/{tier_id}/report")
async def report(
    request: Request, tier_id: TierId, services: ServicesDep, actor: ActorDep
) -> Response:
    """Tell what the tier holds, or the folder of it whose absolute path is sent."""
    sent = (await sent_form(request)).get("path", [])
    wish = Wish(action=Action.REPORT, paths=[absolute_path(path) for path in sent], tier_id=tier_id)
    paths = (await asking.find(services, wish)).paths if wish.paths else asking.WHOLE
    async with services.database.write(actor) as work:
        answer = await asking.ask_to_look(work, services.sealer, wish, paths)
    return _to_run(answer)


@router.post("/runs/{job_id}/undo")
async def undo(job_id: str, services: ServicesDep, actor: ActorDep) -> Response:
    """Bring back what a freeze took."""
    async with services.database.write(actor) as work:
        answer = await asking.undo(work, services.sealer, job_id)
    return _to_run(answer)


async def _ask(request: Request, services: Services, row: TierRow, action: Action) -> Response:
    first = request.query_params.getlist("path") or [to_text(row.root)]
    form = Form(_fields(action), {"paths": "\n".join(first)})
    is_freeze = action is Action.FREEZE

    found: list[tuple[Wish, Target]] = []

    async def look(body: AskForm) -> None:
        await check_addresses(services.settings, body.notify)
        is_dry = (form.button == OTHER) is not is_freeze
        if body.confirm and not is_dry and form.values[TYPED] != row.name:
            raise Invalid(f"{TYPED}: to go beyond its limits, type {row.name}")
        wish = Wish(
            action=action,
            paths=body.absolute(),
            dry_run=is_dry,
            confirm=body.confirm,
            notify=body.notify,
            tier_id=row.id,
        )
        found.append((wish, await asking.find(services, wish)))

    async def act(work: Work, _: AskForm) -> Answer:
        return await asking.ask(work, services.sealer, *found[0])

    if request.method == "POST":
        answer = await form.submit(request, AskForm, act, look=look)
        if answer is not None:
            return _to_run(answer)
    return await page(
        request,
        "tiers/ask.html.j2",
        status=form.status,
        form=form,
        tier=row,
        action=action.value,
        freezable=row.tier().options.freezable,
        is_freeze=is_freeze,
    )


def _to_run(answer: Answer) -> Response:
    told = "It is under way already: this is its run." if answer.joined else "It is queued."
    return see_other(f"/web/tiers/runs/{answer.job_id}", told=told)


def _fields(action: Action) -> Sequence[Field]:
    lines = {"rows": "4", "data-lines": "whole"}
    fields = [
        Field(
            name="paths",
            label="Files and folders",
            kind="textarea",
            required=True,
            option="-",
            help="A path a line, as on this machine. The tier's own folder is all of it.",
            attributes=lines,
        ),
        Field(
            name="notify",
            label="Tell at the end",
            kind="textarea",
            help="A mail or Apprise address a line.",
            attributes=lines | {"rows": "2"},
            advanced=True,
        ),
    ]
    if action is Action.FREEZE:
        fields += (
            Field(
                name="confirm",
                label="Go on beyond the limits of the tier",
                kind="checkbox",
                help="Look at a dry run first: it says how much would leave.",
                advanced=True,
            ),
            Field(
                name=TYPED,
                label="The tier's name, to go on beyond its limits",
                advanced=True,
                attributes={"autocomplete": "off", "data-local": ""},
            ),
        )
    return fields

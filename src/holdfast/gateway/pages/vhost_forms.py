"""Forms of a vhost: new, clone, edit. Each extra block is two fields; a button adds more."""

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from pydantic import field_validator
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import vhost_page_queries
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import VhostCreate
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import VhostDraft
from holdfast.gateway.pages.edge import Trial, submit
from holdfast.gateway.pages.vhost_fields import block_fields, vhost_fields
from holdfast.gateway.service import routes, rows, vhosts
from holdfast.gateway.service.preview import preview_vhost
from holdfast.gateway.tables import VhostRow
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Field, Form, sent_form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import OPERATOR, ReadDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(include_in_schema=False, prefix="/web/vhosts", dependencies=[OPERATOR])
BOTH = ["GET", "POST"]
MORE = "more"
MOST_BLOCKS = 100
_BLOCK = re.compile(r"extra_blocks\.([0-9]{1,3})\.(?:content|zone)")
Act = Callable[[Work, Gateway, "VhostForm"], Awaitable[VhostRow]]


class VhostForm(VhostCreate):
    """What a form of a vhost holds: the addresses are in lines, or with commas between them."""

    @field_validator("ip_rule_ips", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return re.split(r"[\s,]+", text.strip(" \n\t,")) if isinstance(text, str) else text


@router.api_route("/new", methods=BOTH)
async def new_vhost(request: Request, session: ReadDep) -> Response:
    """A form for a new vhost."""
    form = await _form(request, session)

    async def act(work: Work, gateway: Gateway, body: VhostForm) -> VhostRow:
        return await vhosts.create_vhost(work, gateway, body.draft())

    return await _answer(
        request,
        form,
        act,
        told="Vhost {} is made.",
        title="New vhost",
        back="/web/vhosts",
        submit="Create vhost",
        api=("POST", "/api/vhosts"),
        cli="vhost create",
    )


@router.api_route("/{vhost_id}/clone", methods=BOTH)
async def clone_vhost(request: Request, vhost_id: PathId, session: ReadDep) -> Response:
    """A form for a new vhost that begins as another one is."""
    vhost = await vhosts.get_vhost(session, vhost_id)
    copied = await vhost_page_queries.routes_to_copy(session, vhost_id)
    name = "" if vhost.server_name.startswith("*") else f"copy-of-{vhost.server_name}"
    form = await _form(
        request, session, _values(vhost) | {"server_name": name}, _copying(len(copied))
    )  # fmt: skip

    async def act(work: Work, gateway: Gateway, body: VhostForm) -> VhostRow:
        made = await vhosts.create_vhost(work, gateway, body.draft())
        if form.values.get("copy_routes"):
            drafts = [replace(rows.route_draft(route), vhost_id=made.id) for route in copied]
            await routes.create_routes(work, gateway, drafts)
        return made

    return await _answer(
        request,
        form,
        act,
        told="Vhost {} is made.",
        title=f"Clone {vhost.server_name}",
        back=f"/web/vhosts/{vhost_id}",
        submit="Create vhost",
        api=("POST", "/api/vhosts"),
        cli="vhost create",
    )


@router.api_route("/{vhost_id}/edit", methods=BOTH)
async def edit_vhost(request: Request, vhost_id: PathId, session: ReadDep) -> Response:
    """A form for what a vhost is."""
    vhost = await vhosts.get_vhost(session, vhost_id)
    values = _values(vhost)
    form = await _form(request, session, values, is_new=False)
    form.version = version_of(values)

    async def act(work: Work, gateway: Gateway, body: VhostForm) -> VhostRow:
        there = _values(await vhosts.get_vhost(work.session, vhost_id))
        await check_unchanged(work.session, form, there, kind="vhost", number=vhost_id)
        draft = body.draft()
        changes = {name: getattr(draft, name) for name in VhostDraft.__dataclass_fields__}
        return await vhosts.update_vhost(work, gateway, vhost_id, changes)

    return await _answer(
        request,
        form,
        act,
        told="Vhost {} is changed.",
        title=f"Edit {vhost.server_name}",
        back=f"/web/vhosts/{vhost_id}",
        submit="Save",
        api=("PUT", f"/api/vhosts/{vhost_id}"),
        cli=f"vhost update {shell_word(vhost.server_name)}",
    )


async def _answer(request: Request, form: Form, act: Act, *, told: str, **words: Any) -> Response:  # noqa: ANN401 - of the template
    trial = Trial()

    async def try_it(work: Work, gateway: Gateway, body: VhostForm) -> VhostRow:
        vhost = await act(work, gateway, body)
        trial.keep(gateway, "vhosts", await preview_vhost(work.session, gateway, vhost.id))
        return vhost

    if request.method == "POST":
        if (await sent_form(request)).get("do") == [MORE]:
            await form.read(request, VhostForm)
            form.errors.clear()
            form.status = 200
        elif saved := await submit(form, request, VhostForm, try_it):
            said = told.format(saved.value.server_name)
            return see_other(f"/web/vhosts/{saved.value.id}", told=said, warning=saved.warning)
    return await page(
        request, "gateway/vhost_form.html.j2", status=form.status, form=form, trial=trial, **words
    )


async def _form(
    request: Request,
    session: AsyncSession,
    values: dict[str, Any] | None = None,
    further: Sequence[Field] = (),
    *,
    is_new: bool = True,
) -> Form:
    """The form with as many blocks as there are, or as were sent."""
    values = values or {}
    lines: Iterable[int] = range(sum(name.endswith(".content") for name in values))
    if request.method == "POST":
        lines = _lines(await sent_form(request))
        values = {name: value for name, value in values.items() if not _BLOCK.match(name)}
    fields = await vhost_fields(session, is_new=is_new)
    blocks = [field for place, line in enumerate(lines, 1) for field in block_fields(line, place)]
    return Form([*fields, *blocks, *further], values)


def _lines(sent: dict[str, list[str]]) -> list[int]:
    """The blocks that have a text, by their numbers, and a new one when it is asked for."""
    texts = [name for name, content in sent.items() if name.endswith(".content") and any(content)]
    numbers = {int(found[1]) for name in texts if (found := _BLOCK.fullmatch(name))}
    lines = sorted(number for number in numbers if number < MOST_BLOCKS)
    if sent.get("do") == [MORE]:
        lines.append(max(lines, default=-1) + 1)
    return lines


def _values(vhost: VhostRow) -> dict[str, Any]:
    draft = rows.vhost_draft(vhost)
    values = {name: getattr(draft, name) for name in VhostDraft.__dataclass_fields__}
    values["ip_rule_ips"] = "\n".join(draft.ip_rule_ips or ())
    for line, block in enumerate(values.pop("extra_blocks") or ()):
        values[f"extra_blocks.{line}.zone"] = block.zone
        values[f"extra_blocks.{line}.content"] = block.content
    return values


def _copying(count: int) -> Sequence[Field]:
    if not count:
        return ()
    return (
        Field(
            name="copy_routes",
            label=f"Copy its routes too ({count:,})",
            kind="checkbox",
            value=True,
            help="Routes of buckets that are being moved are left out.",
            group="Routes",
            option="!",
        ),
    )

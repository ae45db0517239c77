"""Members of a pool: ``/web/pools/{pool_id}/members``."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response

from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import MemberCreate, MemberUpdate
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import Trial, chosen, gateway_work, submit, told_of
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import members
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.service.preview import preview_pool
from holdfast.gateway.tables import MemberRow, PoolRow
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Field, Form
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import OPERATOR, ReadDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(prefix="/web/pools/{pool_id}/members", include_in_schema=False)
BOTH = ["GET", "POST"]
ROLES = (("primary", "primary"), ("replica", "replica: only when no primary answers"))


@router.api_route("/new", methods=BOTH, dependencies=[OPERATOR])
async def new_member(request: Request, pool_id: PathId, session: ReadDep) -> Response:
    """A form for a new member."""
    pool = await get_pool(session, pool_id)
    return await _new(request, pool, {}, title="Add a member")


@router.api_route("/{member_id}/clone", methods=BOTH, dependencies=[OPERATOR])
async def clone_member(
    request: Request, pool_id: PathId, member_id: PathId, session: ReadDep
) -> Response:
    """A form for a new member that begins as another one is; it needs an address of its own."""
    pool = await get_pool(session, pool_id)
    member = await members.get_member(session, pool_id, member_id)
    values = _values(member) | {"address": ""}
    return await _new(request, pool, values, title=f"Clone {member.address}")


async def _new(request: Request, pool: PoolRow, values: dict[str, Any], *, title: str) -> Response:
    pool_id = pool.id
    form, trial = Form(_fields(pool, is_new=True), values), Trial()

    async def act(work: Work, gateway: Gateway, body: MemberCreate) -> str:
        member = await members.add_member(work, gateway, pool_id, body.draft())
        trial.keep(gateway, "pools", await preview_pool(work.session, gateway, pool_id))
        return member.address

    if request.method == "POST" and (saved := await submit(form, request, MemberCreate, act)):
        told = f"{saved.value} is a member of {pool.name}."
        return see_other(_back(pool_id), told=told, warning=saved.warning)
    return await _form_page(
        request,
        form,
        trial,
        pool=pool,
        title=title,
        submit="Add the member",
        api=("POST", f"/api/pools/{pool_id}/members"),
        cli=f"member create {shell_word(pool.name)}",
    )


@router.api_route("/{member_id}/edit", methods=BOTH, dependencies=[OPERATOR])
async def edit_member(
    request: Request, pool_id: PathId, member_id: PathId, session: ReadDep
) -> Response:
    """A form for what a member is."""
    pool = await get_pool(session, pool_id)
    member = await members.get_member(session, pool_id, member_id)
    values, trial = _values(member), Trial()
    form = Form(_fields(pool, is_new=False), values, version=version_of(values))

    async def act(work: Work, gateway: Gateway, body: MemberUpdate) -> None:
        there = _values(await members.get_member(work.session, pool_id, member_id))
        await check_unchanged(work.session, form, there, kind="pool_member", number=member_id)
        await members.update_member(work, gateway, pool_id, member_id, body.given())
        trial.keep(gateway, "pools", await preview_pool(work.session, gateway, pool_id))

    if request.method == "POST" and (saved := await submit(form, request, MemberUpdate, act)):
        told = f"The member {form.values['address']} is changed."
        return see_other(_back(pool_id), told=told, warning=saved.warning)
    return await _form_page(
        request,
        form,
        trial,
        pool=pool,
        title=f"Edit {member.address}",
        submit="Save",
        api=("PUT", f"/api/pools/{pool_id}/members/{member_id}"),
        cli=f"member update {shell_word(pool.name)} {shell_word(member.address)}",
    )


@router.post("/enabled")
async def set_enabled(request: Request, pool_id: PathId) -> Response:
    """Enable or disable the chosen members, in one change."""
    numbers, enabled = await chosen(request)
    if not numbers:
        return see_other(_back(pool_id), warning="No member was chosen: tick some first.")
    async with gateway_work(request) as (work, gateway):
        changed = await members.set_enabled(work, gateway, pool_id, numbers, enabled=enabled)
    told = told_of(changed, "member", enabled=enabled)
    return see_other(_back(pool_id), told=told, warning=warning_of(work))


@router.post("/{member_id}/enable")
async def enable_member(request: Request, pool_id: PathId, member_id: PathId) -> Response:
    """Send requests to it again."""
    return await _switch(request, pool_id, member_id, enabled=True)


@router.post("/{member_id}/disable")
async def disable_member(request: Request, pool_id: PathId, member_id: PathId) -> Response:
    """Send no more requests to it, also when it is the last one."""
    return await _switch(request, pool_id, member_id, enabled=False)


@router.post("/{member_id}/remove")
async def remove_member(request: Request, pool_id: PathId, member_id: PathId) -> Response:
    """Take it out of the pool."""
    async with gateway_work(request) as (work, gateway):
        address = (await members.get_member(work.session, pool_id, member_id)).address
        await members.remove_member(work, gateway, pool_id, member_id)
    told = f"{address} is no member any more."
    return see_other(_back(pool_id), told=told, warning=warning_of(work))


async def _switch(request: Request, pool_id: int, member_id: int, *, enabled: bool) -> Response:
    async with gateway_work(request) as (work, gateway):
        member = await members.update_member(
            work, gateway, pool_id, member_id, {"enabled": enabled}
        )
    told = f"{member.address} is {'enabled' if enabled else 'disabled'}."
    return see_other(_back(pool_id), told=told, warning=warning_of(work))


async def _form_page(request: Request, form: Form, trial: Trial, **words: Any) -> Response:  # noqa: ANN401 - of the template
    return await page(
        request, "gateway/member_form.html.j2", status=form.status, form=form, trial=trial, **words
    )


def _values(member: MemberRow) -> dict[str, Any]:
    return {name: getattr(member, name) for name in MemberCreate.model_fields}


def _back(pool_id: int) -> str:
    return f"/web/pools/{pool_id}"


def _fields(pool: PoolRow, *, is_new: bool) -> Sequence[Field]:
    role = Field(
        name="role",
        label="Role",
        kind="select",
        options=ROLES,
        value="primary",
        required=True,
    )
    return (
        Field(
            name="address",
            label="Address",
            required=True,
            option="-" if is_new else "",
            help="host:port, 192.0.2.1:9000, [2001:db8::1]:9000 or unix:/run/server.sock.",
            attributes={"maxlength": "300", "autocomplete": "off", "spellcheck": "false"},
        ),
        *((role,) if pool.type == "http" else ()),
        _number("weight", "Weight", 1, 1, 100, "Its share of the requests, 1 to 100."),
        _number("max_fails", "Failures allowed", 3, 0, 100, "Until it is left out; 0: never."),
        _number(
            "fail_timeout_s",
            "Left out for, in seconds",
            30,
            0,
            600,
            "Failures are counted within this time, too.",
        ),
        Field(name="enabled", label="Gets requests", kind="checkbox", value=True),
        Field(
            name="description",
            label="Comment",
            kind="textarea",
            clears=True,
            help="Whatever helps the next person: where it stands, who looks after it.",
            attributes={"rows": "2", "maxlength": "1000"},
        ),
    )


def _number(name: str, label: str, value: int, least: int, most: int, words: str) -> Field:
    bounds = {"min": str(least), "max": str(most)}
    return Field(
        name=name, label=label, kind="number", value=value, required=True, help=words,
        attributes=bounds,
    )  # fmt: skip

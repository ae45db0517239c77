"""Pools: ``/web/pools``."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import page_queries, silence_queries
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.api.schemas import PoolCreate, PoolUpdate
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import Trial, gateway_work, submit
from holdfast.gateway.pages.pool_keys import keys_of
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import pools
from holdfast.gateway.service.choosing import pool_options
from holdfast.gateway.service.preview import preview_pool
from holdfast.gateway.service.reach import reach
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.console.formats import shell_word
from holdfast.kernel.web.console.forms import Field, Form, check_typed, typed_name
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.console.versions import check_unchanged, version_of
from holdfast.kernel.web.deps import OPERATOR, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router
from holdfast.kernel.work import Work

router = Router(include_in_schema=False)
BOTH = ["GET", "POST"]
USES_SHOWN = 20
TYPES = (("nanio", "nanio: any S3 server"), ("http", "http: plain web servers"))
BALANCING = (
    ("least_conn", "least_conn: the one with the fewest requests"),
    ("round_robin", "round_robin: in turn"),
    ("ip_hash", "ip_hash: a client stays with its server"),
)


@router.get("/web/pools")
async def list_pools(request: Request, session: ReadDep) -> Response:
    """Pools, searched by name, comment and member, sorted, in pages."""
    asked = listing(request, sorts=tuple(page_queries.POOL_SORTS), filters=("type", "state"))
    rows, total = await page_queries.pool_lines(session, asked)
    return await page(request, "gateway/pools.html.j2", list=asked, rows=rows, total=total)


@router.api_route("/web/pools/new", methods=BOTH, dependencies=[OPERATOR])
async def new_pool(request: Request, session: ReadDep) -> Response:
    """A form for a new pool."""
    return await _new(request, await _fields(session, is_new=True), {}, "New pool", "/web/pools")


@router.api_route("/web/pools/{pool_id}/clone", methods=BOTH, dependencies=[OPERATOR])
async def clone_pool(request: Request, pool_id: PathId, session: ReadDep) -> Response:
    """A form for a new pool that begins as another one is; members and keys are not copied."""
    pool = await pools.get_pool(session, pool_id)
    values = _values(pool) | {"name": f"{pool.name}-copy"}
    title, back = f"Clone {pool.name}", f"/web/pools/{pool.id}"
    return await _new(request, await _fields(session, is_new=True), values, title, back)


@router.api_route("/web/pools/{pool_id}/edit", methods=BOTH, dependencies=[OPERATOR])
async def edit_pool(request: Request, pool_id: PathId, session: ReadDep) -> Response:
    """A form for what a pool is."""
    pool = await pools.get_pool(session, pool_id)
    values, trial = _values(pool), Trial()
    form = Form(await _fields(session, is_new=False), values, version=version_of(values))

    async def act(work: Work, gateway: Gateway, body: PoolUpdate) -> None:
        there = _values(await pools.get_pool(work.session, pool_id))
        await check_unchanged(work.session, form, there, kind="pool", number=pool_id)
        await pools.update_pool(work, gateway, pool_id, body.given())
        trial.keep(gateway, "pools", await preview_pool(work.session, gateway, pool_id))

    back = f"/web/pools/{pool_id}"
    if request.method == "POST" and (saved := await submit(form, request, PoolUpdate, act)):
        return see_other(back, told="The pool is changed.", warning=saved.warning)
    return await _form_page(
        request,
        form,
        trial,
        title=f"Edit {pool.name}",
        back=back,
        submit="Save",
        api=("PUT", f"/api/pools/{pool_id}"),
        cli=f"pool update {shell_word(pool.name)}",
    )


@router.get("/web/pools/{pool_id}")
async def show_pool(
    request: Request, pool_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """One pool: members, keys, users, its file. ``?check=true``: connect to the members shown."""
    pool = await pools.get_pool(session, pool_id)
    shown = await _shown(session, services, pool)
    asked = listing(request, sorts=tuple(page_queries.MEMBER_SORTS), filters=("check",))
    members, found = await page_queries.member_lines(session, pool_id, asked)
    total, enabled = await page_queries.member_counts(session, pool_id)
    silent = (await silence_queries.silent_in(session, [pool_id]))[pool_id]
    await session.close()
    checks = asked.others.get("check") == "true"
    reached = await reach(member.address for member in members) if checks else None
    return await page(
        request,
        "gateway/pool.html.j2",
        pool=pool,
        list=asked,
        members=members,
        found=found,
        total=total,
        enabled=enabled,
        silent=silent,
        reached=reached,
        **shown,
    )


@router.post("/web/pools/{pool_id}/delete")
async def delete_pool(request: Request, pool_id: PathId) -> Response:
    """Delete a pool whose name was typed."""
    typed = await typed_name(request)
    async with gateway_work(request) as (work, gateway):
        name = (await pools.get_pool(work.session, pool_id)).name
        check_typed(typed, name, "pool")
        await pools.delete_pool(work, gateway, pool_id)
    told = f"Pool {name} is deleted."
    return see_other("/web/pools", told=told, warning=warning_of(work))


async def _new(
    request: Request, fields: Sequence[Field], values: dict[str, Any], title: str, back: str
) -> Response:
    form, trial = Form(fields, values), Trial()

    async def act(work: Work, gateway: Gateway, body: PoolCreate) -> PoolRow:
        pool = await pools.create_pool(work, gateway, body.draft())
        trial.keep(gateway, "pools", await preview_pool(work.session, gateway, pool.id))
        return pool

    if request.method == "POST" and (saved := await submit(form, request, PoolCreate, act)):
        told = f"Pool {saved.value.name} is made. Now add its members."
        return see_other(f"/web/pools/{saved.value.id}", told=told, warning=saved.warning)
    return await _form_page(
        request,
        form,
        trial,
        title=title,
        back=back,
        submit="Create pool",
        api=("POST", "/api/pools"),
        cli="pool create",
    )


async def _form_page(request: Request, form: Form, trial: Trial, **words: Any) -> Response:  # noqa: ANN401 - of the template
    return await page(
        request,
        "gateway/pool_form.html.j2",
        status=form.status,
        form=form,
        trial=trial,
        **words,
    )


async def _shown(session: AsyncSession, services: Services, pool: PoolRow) -> dict[str, Any]:
    gateway = services.get(Gateway)
    uses, used = await page_queries.uses_of_pool(session, pool.id, limit=USES_SHOWN)
    keys, unreadable, source = None, None, None
    if pool.type == "nanio":
        keys, unreadable = await keys_of(session, gateway, pool.id)
    if pool.source_nanio_pool_id:
        source = await session.get(PoolRow, pool.source_nanio_pool_id)
    preview = await preview_pool(session, gateway, pool.id)
    return {
        "uses": uses,
        "used": used,
        "keys": keys,
        "unreadable": unreadable,
        "source": source,
        "preview": preview,
    }


def _values(pool: PoolRow) -> dict[str, Any]:
    return {name: getattr(pool, name) for name in PoolCreate.model_fields}


async def _fields(session: AsyncSession, *, is_new: bool) -> Sequence[Field]:
    sources = await pool_options(session, kind="nanio", none="none")
    return (
        Field(
            name="name",
            label="Name",
            required=True,
            option="-" if is_new else "",
            help="Letters, digits, dot, dash and underscore. nginx's upstream has this name.",
            attributes={"maxlength": "128", "autocomplete": "off", "spellcheck": "false"},
        ),
        Field(name="type", label="Type", kind="select", options=TYPES, required=True),
        Field(name="lb_method", label="Balancing", kind="select", options=BALANCING, required=True),
        Field(
            name="description",
            label="Comment",
            kind="textarea",
            clears=True,
            help="Whatever helps the next person.",
            attributes={"rows": "2"},
        ),
        Field(
            name="keepalive",
            label="Idle connections kept",
            kind="number",
            value=32,
            help="By each nginx worker to the whole pool, 0 to 1024; 0: none.",
            attributes={"min": "0", "max": "1024"},
            advanced=True,
        ),
        Field(
            name="source_nanio_pool_id",
            label="Shows the buckets of",
            kind="select" if sources else "number",
            options=sources,
            clears=True,
            option="source-pool",
            help="Only for type http: the nanio pool whose data its servers have.",
            advanced=True,
        ),
    )

"""Vhosts: the list, one of them, on and off, delete. ``/web/vhosts``."""

import asyncio
from typing import Any, Literal

from fastapi import Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import render, vhost_page_queries
from holdfast.gateway.api.deps import PathId
from holdfast.gateway.context import Gateway
from holdfast.gateway.pages.edge import chosen, gateway_work, told_of
from holdfast.gateway.publish import warning_of
from holdfast.gateway.service import rows, vhosts
from holdfast.gateway.service.preview import preview_vhost
from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.errors import NotFound
from holdfast.kernel.web.console.forms import check_typed, typed_name
from holdfast.kernel.web.console.listing import listing
from holdfast.kernel.web.console.render import page, see_other
from holdfast.kernel.web.deps import OPERATOR, ReadDep, ServicesDep
from holdfast.kernel.web.router import Router

router = Router(include_in_schema=False, prefix="/web/vhosts")
LIST = "/web/vhosts"
FileState = Literal["as written", "changed", "missing", "extra", ""]


@router.get("")
async def list_vhosts(request: Request, session: ReadDep) -> Response:
    """Vhosts, searched by name and comment, sorted, in pages."""
    asked = listing(
        request, sorts=tuple(vhost_page_queries.VHOST_SORTS), filters=("state", "tls")
    )  # fmt: skip
    found, total = await vhost_page_queries.vhost_lines(session, asked)
    return await page(request, "gateway/vhosts.html.j2", list=asked, rows=found, total=total)


@router.post("/enabled", dependencies=[OPERATOR])
async def set_enabled(request: Request) -> Response:
    """Enable or disable the chosen vhosts, with one test and one reload."""
    numbers, enabled = await chosen(request)
    back = f"{LIST}?{request.url.query}".rstrip("?")
    if not numbers:
        return see_other(back, warning="No vhost was chosen: tick some first.")
    async with gateway_work(request) as (work, gateway):
        changed = await vhosts.set_enabled(work, gateway, numbers, enabled=enabled)
    told = told_of(changed, "vhost", enabled=enabled)
    return see_other(back, told=told, warning=warning_of(work))


@router.get("/{vhost_id}")
async def show_vhost(
    request: Request, vhost_id: PathId, session: ReadDep, services: ServicesDep
) -> Response:
    """One vhost: its server, its routes, its file."""
    vhost = await vhosts.get_vhost(session, vhost_id)
    asked = listing(
        request, sorts=tuple(vhost_page_queries.ROUTE_SORTS), filters=("state", "kind")
    )  # fmt: skip
    routes, found = await vhost_page_queries.route_lines(session, vhost_id, asked)
    total, enabled = await vhost_page_queries.route_counts(session, vhost_id)
    return await page(
        request,
        "gateway/vhost.html.j2",
        vhost=vhost,
        list=asked,
        routes=routes,
        found=found,
        total=total,
        enabled=enabled,
        **await _shown(session, services.get(Gateway), vhost),
    )


@router.post("/{vhost_id}/enable", dependencies=[OPERATOR])
async def enable_vhost(request: Request, vhost_id: PathId) -> Response:
    """Let nginx serve it."""
    return await _switch(request, vhost_id, enabled=True)


@router.post("/{vhost_id}/disable", dependencies=[OPERATOR])
async def disable_vhost(request: Request, vhost_id: PathId) -> Response:
    """Let nginx serve it no more."""
    return await _switch(request, vhost_id, enabled=False)


@router.post("/{vhost_id}/delete", dependencies=[OPERATOR])
async def delete_vhost(request: Request, vhost_id: PathId) -> Response:
    """Delete a vhost whose server name was typed."""
    typed = await typed_name(request)
    async with gateway_work(request) as (work, gateway):
        name = (await vhosts.get_vhost(work.session, vhost_id)).server_name
        check_typed(typed, name, "vhost")
        await vhosts.delete_vhost(work, gateway, vhost_id)
    return see_other(LIST, told=f"Vhost {name} is deleted.", warning=warning_of(work))


async def _switch(request: Request, vhost_id: int, *, enabled: bool) -> Response:
    async with gateway_work(request) as (work, gateway):
        vhost = await vhosts.update_vhost(work, gateway, vhost_id, {"enabled": enabled})
    told = f"{vhost.server_name} is {'enabled' if enabled else 'disabled'}."
    return see_other(f"{LIST}/{vhost_id}", told=told, warning=warning_of(work))


async def _shown(session: AsyncSession, gateway: Gateway, vhost: VhostRow) -> dict[str, Any]:
    pool = None
    if vhost.default_pool_id is not None:
        pool = await session.get(PoolRow, vhost.default_pool_id)
    path, _ = render.vhost_paths(vhost.server_name)
    return {
        "pool": pool,
        "ips": rows.stored_ips(vhost.ip_rule_ips),
        "blocks": rows.stored_blocks(vhost.extra_blocks),
        "preview": await preview_vhost(session, gateway, vhost.id),
        "file_state": await asyncio.to_thread(_file_state, gateway, path),
    }


def _file_state(gateway: Gateway, path: str) -> FileState:
    """How a live file is, against what was written; "" when nobody wrote one and none is there."""
    try:
        there, written = gateway.generations.read(path), gateway.generations.written(path)
    except NotFound:
        return ""
    if there == written:
        return "as written" if there is not None else ""
    if there is None:
        return "missing"
    return "changed" if written is not None else "extra"

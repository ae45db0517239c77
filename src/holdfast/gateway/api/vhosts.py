"""Vhosts: ``/api/vhosts``."""

from fastapi import Response

from holdfast.gateway import queries
from holdfast.gateway.api.deps import GatewayDep, GatewayRoute, GatewayWork, PathId
from holdfast.gateway.api.out import vhost_out
from holdfast.gateway.api.schemas import (
    PreviewOut,
    VhostCreate,
    VhostDraftIn,
    VhostOut,
    VhostUpdate,
)
from holdfast.gateway.service import preview, vhosts
from holdfast.kernel.web.deps import PageDep, ReadDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/vhosts", tags=["vhosts"], route_class=GatewayRoute)


@router.get("")
async def list_vhosts(session: ReadDep, page: PageDep) -> list[VhostOut]:
    """Vhosts by server name."""
    rows, total = await queries.vhost_page(session, limit=page.limit, offset=page.offset)
    page.total(total)
    return [vhost_out(row) for row in rows]


@router.post("", status_code=201)
async def create_vhost(body: VhostCreate, work: GatewayWork, gateway: GatewayDep) -> VhostOut:
    """Add a vhost."""
    return vhost_out(await vhosts.create_vhost(work, gateway, body.draft()))


@router.post("/preview")
async def preview_draft(body: VhostDraftIn, session: ReadDep, gateway: GatewayDep) -> PreviewOut:
    """The file of a vhost that is not stored."""
    routes = [route.draft(0) for route in body.routes]
    return preview_out(await preview.preview_draft(session, gateway, body.draft(), routes))


@router.get("/{vhost_id}")
async def get_vhost(vhost_id: PathId, session: ReadDep) -> VhostOut:
    """One vhost."""
    return vhost_out(await vhosts.get_vhost(session, vhost_id))


@router.put("/{vhost_id}")
async def update_vhost(
    vhost_id: PathId, body: VhostUpdate, work: GatewayWork, gateway: GatewayDep
) -> VhostOut:
    """Change a vhost."""
    return vhost_out(await vhosts.update_vhost(work, gateway, vhost_id, body.given()))


@router.delete("/{vhost_id}", status_code=204, response_class=Response)
async def delete_vhost(vhost_id: PathId, work: GatewayWork, gateway: GatewayDep) -> None:
    """Delete a vhost with its routes."""
    await vhosts.delete_vhost(work, gateway, vhost_id)


@router.get("/{vhost_id}/preview")
async def preview_vhost(vhost_id: PathId, session: ReadDep, gateway: GatewayDep) -> PreviewOut:
    """The vhost's file as it would be written."""
    return preview_out(await preview.preview_vhost(session, gateway, vhost_id))


def preview_out(shown: preview.Preview) -> PreviewOut:
    """A preview for the API."""
    return PreviewOut(filepath=str(shown.path), content=shown.content)

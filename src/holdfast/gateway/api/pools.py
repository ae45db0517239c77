"""Pools, their members, credentials and node set-ups: ``/api/pools``."""

from typing import Annotated

from fastapi import Query, Response

from holdfast.gateway import queries
from holdfast.gateway.api.deps import GatewayDep, GatewayRoute, GatewayWork, PathId
from holdfast.gateway.api.out import member_out, node_config_out, pool_out
from holdfast.gateway.api.schemas import (
    CredentialsIn,
    CredentialsOut,
    FileOut,
    MemberConfigsOut,
    MemberCreate,
    MemberOut,
    MemberUpdate,
    NodeConfigIn,
    NodeConfigOut,
    NodeConfigQuery,
    PoolCreate,
    PoolOut,
    PoolUpdate,
)
from holdfast.gateway.service import credentials, members, nodeconfig, pools
from holdfast.kernel.clock import row_time
from holdfast.kernel.errors import BadRequest
from holdfast.kernel.web.deps import OPERATOR, PageDep, ReadDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/pools", tags=["pools"], route_class=GatewayRoute)
NODE_TYPES = ("nanio-only", "nginx-only", "nginx-nanio")


@router.get("")
async def list_pools(session: ReadDep, page: PageDep) -> list[PoolOut]:
    """Pools by name."""
    rows, total = await queries.pool_page(session, limit=page.limit, offset=page.offset)
    page.total(total)
    return [pool_out(row) for row in rows]


@router.post("", status_code=201)
async def create_pool(body: PoolCreate, work: GatewayWork, gateway: GatewayDep) -> PoolOut:
    """Add a pool."""
    return pool_out(await pools.create_pool(work, gateway, body.draft()))


@router.get("/{pool_id}")
async def get_pool(pool_id: PathId, session: ReadDep) -> PoolOut:
    """One pool."""
    return pool_out(await pools.get_pool(session, pool_id))


@router.put("/{pool_id}")
async def update_pool(
    pool_id: PathId, body: PoolUpdate, work: GatewayWork, gateway: GatewayDep
) -> PoolOut:
    """Change a pool."""
    return pool_out(await pools.update_pool(work, gateway, pool_id, body.given()))


@router.delete("/{pool_id}", status_code=204, response_class=Response)
async def delete_pool(pool_id: PathId, work: GatewayWork, gateway: GatewayDep) -> None:
    """Delete a pool that nothing uses."""
    await pools.delete_pool(work, gateway, pool_id)


@router.get("/{pool_id}/members")
async def list_members(pool_id: PathId, session: ReadDep) -> list[MemberOut]:
    """Members of a pool, oldest first."""
    return [member_out(row) for row in await members.list_members(session, pool_id)]


@router.post("/{pool_id}/members", status_code=201)
async def add_member(
    pool_id: PathId, body: MemberCreate, work: GatewayWork, gateway: GatewayDep
) -> MemberOut:
    """Add a server to a pool."""
    return member_out(await members.add_member(work, gateway, pool_id, body.draft()))


@router.get("/{pool_id}/members/{member_id}")
async def get_member(pool_id: PathId, member_id: PathId, session: ReadDep) -> MemberOut:
    """One member."""
    return member_out(await members.get_member(session, pool_id, member_id))


@router.put("/{pool_id}/members/{member_id}")
async def update_member(
    pool_id: PathId,
    member_id: PathId,
    body: MemberUpdate,
    work: GatewayWork,
    gateway: GatewayDep,
) -> MemberOut:
    """Change a member."""
    changed = await members.update_member(work, gateway, pool_id, member_id, body.given())
    return member_out(changed)


@router.delete("/{pool_id}/members/{member_id}", status_code=204, response_class=Response)
async def remove_member(
    pool_id: PathId, member_id: PathId, work: GatewayWork, gateway: GatewayDep
) -> None:
    """Remove a member."""
    await members.remove_member(work, gateway, pool_id, member_id)


@router.get("/{pool_id}/credentials")
async def show_credentials(
    pool_id: PathId, session: ReadDep, gateway: GatewayDep
) -> CredentialsOut:
    """The keys that a pool is reached with, masked."""
    return credentials_out(await credentials.show_credentials(session, gateway, pool_id))


@router.put("/{pool_id}/credentials")
async def set_credentials(
    pool_id: PathId, body: CredentialsIn, work: GatewayWork, gateway: GatewayDep
) -> CredentialsOut:
    """Store a pool's keys, sealed."""
    stored = await credentials.set_credentials(work, gateway, pool_id, body.draft())
    return credentials_out(stored)


@router.delete("/{pool_id}/credentials")
async def remove_credentials(
    pool_id: PathId, work: GatewayWork, gateway: GatewayDep
) -> dict[str, bool | int]:
    """Forget a pool's keys."""
    await credentials.remove_credentials(work, gateway, pool_id)
    return {"ok": True, "pool_id": pool_id}


@router.get("/{pool_id}/node-config-summary")
async def node_config_summary(pool_id: PathId, session: ReadDep) -> list[MemberConfigsOut]:
    """The newest set-ups that were generated for each member."""
    return [
        MemberConfigsOut(
            member=member_out(member), recent_configs=[node_config_out(row) for row in configs]
        )
        for member, configs in await nodeconfig.summary(session, pool_id)
    ]


@router.get("/{pool_id}/members/{member_id}/node-config", dependencies=[OPERATOR])
async def node_config(
    pool_id: PathId,
    member_id: PathId,
    work: GatewayWork,
    query: Annotated[NodeConfigQuery, Query()],
) -> NodeConfigOut:
    """The files that set up a member's machine; keys in a URL end up in logs, so prefer POST.

    That they were made is kept, so it is no call for viewers.
    """
    if query.type not in NODE_TYPES:
        raise BadRequest(
            f"Unknown node type: {query.type!r}", hint=f"use one of {', '.join(NODE_TYPES)}"
        )
    return await _generate(work, pool_id, member_id, query.body())


@router.post("/{pool_id}/members/{member_id}/node-config")
async def make_node_config(
    pool_id: PathId, member_id: PathId, body: NodeConfigIn, work: GatewayWork
) -> NodeConfigOut:
    """The files that set up a member's machine."""
    return await _generate(work, pool_id, member_id, body)


async def _generate(
    work: GatewayWork, pool_id: int, member_id: int, body: NodeConfigIn
) -> NodeConfigOut:
    wish = nodeconfig.NodeWish(
        node_type=body.node_type,
        data_dir=body.data_dir,
        nanio_port=body.nanio_port,
        nanio_host=body.nanio_host,
        nanio_region=body.nanio_region,
        access_key=body.access_key.get_secret_value(),
        secret_key=body.secret_key.get_secret_value(),
    )
    made = await nodeconfig.generate(work, pool_id, member_id, wish)
    return NodeConfigOut(
        node_type=made.node_type,
        member_address=made.member_address,
        files=[FileOut(path=file.path, content=file.content) for file in made.files],
        instructions=made.instructions,
    )


def credentials_out(shown: credentials.ShownCredentials) -> CredentialsOut:
    """What is shown of credentials, for the API."""
    return CredentialsOut(
        pool_id=shown.pool_id,
        access_key_masked=shown.access_key_masked,
        endpoint_url=shown.endpoint_url,
        region=shown.region,
        source=shown.source,
        created_at=row_time(shown.created_at),
        updated_at=row_time(shown.updated_at),
    )

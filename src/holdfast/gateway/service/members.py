"""Members of a pool: add, change, remove."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import MemberDraft, role_for
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.service import rows
from holdfast.gateway.service.checks import check_member
from holdfast.gateway.service.moving import servers_stay
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.tables import MemberRow, PoolRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, NotFound
from holdfast.kernel.work import Work


async def list_members(session: AsyncSession, pool_id: int) -> Sequence[MemberRow]:
    """The members of a pool, oldest first. Raises ``NotFound``."""
    await get_pool(session, pool_id)
    return await queries.members_of(session, pool_id)


async def get_member(session: AsyncSession, pool_id: int, member_id: int) -> MemberRow:
    """The member. Raises ``NotFound``."""
    await get_pool(session, pool_id)
    member = await session.get(MemberRow, member_id)
    if member is None or member.pool_id != pool_id:
        raise NotFound("Member not found", hint="holdfast member list")
    return member


async def add_member(work: Work, gateway: Gateway, pool_id: int, draft: MemberDraft) -> MemberRow:
    """Add a server. Raises ``NotFound``, ``Invalid``, ``BadRequest``, ``Conflict``."""
    pool = await get_pool(work.session, pool_id)
    draft = check_member(draft)
    await _check_address_free(work.session, pool, draft.address)
    moment = now()
    member = MemberRow(
        **{**dataclasses.asdict(draft), "role": role_for(pool.type, draft.role)},
        pool_id=pool_id,
        created_at=moment,
        updated_at=moment,
    )
    async with servers_stay(work.session, gateway, pool):
        work.session.add(member)
        await work.session.flush()
    work.audit("create", "pool_member", member.id, after=rows.row_fields(member))
    _tell(work, gateway, pool, "member.created", member)
    return member


async def update_member(
    work: Work, gateway: Gateway, pool_id: int, member_id: int, changes: Mapping[str, Any]
) -> MemberRow:
    """Change a server. Raises ``NotFound``, ``Invalid``, ``BadRequest``, ``Conflict``."""
    member = await get_member(work.session, pool_id, member_id)
    pool = await get_pool(work.session, pool_id)
    old = rows.member_draft(member)
    new = check_member(dataclasses.replace(old, **changes))
    if new == old:
        return member
    if new.address != old.address:
        await _check_address_free(work.session, pool, new.address)
    before = rows.row_fields(member)
    values = {**dataclasses.asdict(new), "role": role_for(pool.type, new.role)}
    async with servers_stay(work.session, gateway, pool):
        for name, value in values.items():
            setattr(member, name, value)
        member.updated_at = now()
    work.audit("update", "pool_member", member.id, before=before, after=rows.row_fields(member))
    _tell(work, gateway, pool, "member.updated", member)
    return member


async def set_enabled(
    work: Work, gateway: Gateway, pool_id: int, member_ids: Collection[int], *, enabled: bool
) -> int:
    """Enable or disable several servers of a pool; gives how many were changed.

    The last enabled one is not taken out among others, by oversight. Raises ``NotFound`` and
    ``Conflict``.
    """
    known = {member.id: member for member in await list_members(work.session, pool_id)}
    if missing := set(member_ids) - known.keys():
        raise NotFound(
            f"Member {min(missing)} not found", hint="somebody has removed it: look again"
        )
    changing = [known[number] for number in member_ids if known[number].enabled is not enabled]
    left = {member.id for member in known.values() if member.enabled} - set(member_ids)
    if changing and not enabled and not left:
        raise Conflict(
            "No enabled member would be left: the pool would answer 502",
            hint="leave one out; the last one can be disabled by itself",
        )
    for member in changing:
        await update_member(work, gateway, pool_id, member.id, {"enabled": enabled})
    return len(changing)


async def remove_member(work: Work, gateway: Gateway, pool_id: int, member_id: int) -> None:
    """Remove a server; the last one too: the pool then answers 502.

    Raises ``NotFound``, and ``Conflict`` for one that a move talks to.
    """
    member = await get_member(work.session, pool_id, member_id)
    pool = await get_pool(work.session, pool_id)
    work.audit("delete", "pool_member", member.id, before=rows.row_fields(member))
    _tell(work, gateway, pool, "member.deleted", member)
    async with servers_stay(work.session, gateway, pool):
        await work.session.delete(member)
        await work.session.flush()


def _tell(work: Work, gateway: Gateway, pool: PoolRow, kind: str, member: MemberRow) -> None:
    data = {"id": member.id, "pool_id": pool.id, "pool": pool.name, "address": member.address}
    work.emit("gateway", kind, data)
    mark_changed(work, gateway, pools=[pool.name])


async def _check_address_free(session: AsyncSession, pool: PoolRow, address: str) -> None:
    members = await queries.members_of(session, pool.id)
    if any(member.address == address for member in members):
        raise Conflict(
            f"Pool '{pool.name}' already has a member {address}",
            hint="raise its weight instead of naming it twice",
        )

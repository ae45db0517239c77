"""Named queries on members that do not answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.tables import MemberRow, PoolRow, RouteRow, SilentMemberRow, VhostRow


@dataclass(frozen=True, slots=True)
class SilentMember:
    """A member that is enabled and took no connection when it was last asked."""

    pool_id: int
    pool: str
    address: str
    problem: str
    since: datetime


async def enabled_addresses(session: AsyncSession) -> dict[int, str]:
    """The enabled members, by id."""
    query = select(MemberRow.id, MemberRow.address).where(MemberRow.enabled)
    return {row[0]: row[1] for row in await session.execute(query)}


async def silent_ids(session: AsyncSession) -> dict[int, str]:
    """The members that did not answer, with what was wrong."""
    query = select(SilentMemberRow.member_id, SilentMemberRow.problem)
    return {row[0]: row[1] for row in await session.execute(query)}


async def keep_silent(session: AsyncSession, problems: Mapping[int, str], moment: datetime) -> None:
    """Remember that these members do not answer, and no others; since when stays as it was."""
    known = {row.member_id: row for row in await session.scalars(select(SilentMemberRow))}
    gone = known.keys() - problems.keys()
    await session.execute(delete(SilentMemberRow).where(SilentMemberRow.member_id.in_(gone)))
    there = set(await session.scalars(select(MemberRow.id)))
    for number in problems.keys() & there:
        if number in known:
            known[number].problem = problems[number]
        else:
            row = SilentMemberRow(member_id=number, problem=problems[number], since=moment)
            session.add(row)
    await session.flush()


async def silent_members(session: AsyncSession, *, limit: int) -> Sequence[SilentMember]:
    """Enabled members that do not answer, by pool."""
    query = (
        select(
            PoolRow.id,
            PoolRow.name,
            MemberRow.address,
            SilentMemberRow.problem,
            SilentMemberRow.since,
        )
        .join(MemberRow, MemberRow.id == SilentMemberRow.member_id)
        .join(PoolRow, PoolRow.id == MemberRow.pool_id)
        .where(MemberRow.enabled)
        .order_by(PoolRow.name, MemberRow.id)
        .limit(limit)
    )
    return [SilentMember(*row) for row in await session.execute(query)]


async def silent_in(
    session: AsyncSession, pool_ids: Sequence[int]
) -> dict[int, dict[int, SilentMemberRow]]:
    """Of each of these pools the enabled members that do not answer, by id."""
    query = (
        select(MemberRow.pool_id, SilentMemberRow)
        .join(SilentMemberRow, SilentMemberRow.member_id == MemberRow.id)
        .where(MemberRow.pool_id.in_(pool_ids), MemberRow.enabled)
    )
    found: dict[int, dict[int, SilentMemberRow]] = {number: {} for number in pool_ids}
    for pool_id, row in await session.execute(query):
        found[pool_id][row.member_id] = row
    return found


async def enabled_in(session: AsyncSession, pool_ids: Sequence[int]) -> dict[int, tuple[int, bool]]:
    """How many enabled members each of these pools has, and whether clients are sent to it."""
    members = select(func.count()).where(MemberRow.pool_id == PoolRow.id, MemberRow.enabled)
    routed = exists().where(RouteRow.pool_id == PoolRow.id, RouteRow.enabled)
    is_default = exists().where(VhostRow.default_pool_id == PoolRow.id)
    query = select(
        PoolRow.id, members.correlate(PoolRow).scalar_subquery(), or_(routed, is_default)
    ).where(PoolRow.id.in_(pool_ids))
    return {row[0]: (row[1], bool(row[2])) for row in await session.execute(query)}

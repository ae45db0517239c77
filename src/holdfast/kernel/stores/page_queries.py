"""What the pages of stores read: a part of the list, and those that could not be reached."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.web.console.listing import Listing, like

SORTS = {
    "name": StoreRow.name,
    "kind": StoreRow.kind,
    "root": StoreRow.root,
    "checked": StoreRow.checked_at,
    "updated": StoreRow.updated_at,
}
STATES = {
    "reached": StoreRow.reachable.is_(True),
    "not-reached": StoreRow.reachable.is_(False),
    "not-checked": StoreRow.reachable.is_(None),
}


async def store_lines(session: AsyncSession, asked: Listing) -> tuple[Sequence[StoreRow], int]:
    """A page of stores, and how many fit the search; it looks in name, place and description."""
    query = select(StoreRow)
    if asked.q:
        looked_in = (StoreRow.name, StoreRow.root, StoreRow.description, StoreRow.options)
        pattern = like(asked.q)
        query = query.where(or_(*(c.ilike(pattern, escape="\\") for c in looked_in)))
    if kind := asked.others.get("kind"):
        query = query.where(StoreRow.kind == kind)
    if (state := asked.others.get("state", "")) in STATES:
        query = query.where(STATES[state])
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    column = SORTS[asked.sort]
    order = column.desc() if asked.descending else column.asc()
    page = query.order_by(order, StoreRow.id).limit(asked.rows).offset(asked.offset)
    return (await session.scalars(page)).all(), total


async def kinds_in_use(session: AsyncSession) -> Sequence[str]:
    """The kinds of the stores that are there."""
    query = select(StoreRow.kind).distinct().order_by(StoreRow.kind)
    return (await session.scalars(query)).all()


async def not_reached(session: AsyncSession, *, limit: int) -> Sequence[StoreRow]:
    """Stores that could not be listed when they were last checked."""
    query = select(StoreRow).where(StoreRow.reachable.is_(False)).order_by(StoreRow.name)
    return (await session.scalars(query.limit(limit))).all()

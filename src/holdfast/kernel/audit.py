"""Who did what, before and after, and what nginx said: part of the change's own transaction."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Index, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base
from holdfast.kernel.sorting import Sorts, order_by


class AuditRow(Base, kw_only=True):
    """One change. ``before_json`` and ``after_json`` are JSON texts without secrets."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_entity", "entity_type", "entity_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(index=True)
    entity_type: Mapped[str]
    entity_id: Mapped[str | None]
    before_json: Mapped[str | None]
    after_json: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(index=True)
    nginx_reload_ok: Mapped[bool | None] = mapped_column(default=None)
    nginx_reload_output: Mapped[str | None] = mapped_column(default=None)


AUDIT_SORTS: Sorts = {
    "created": AuditRow.id.expression,
    "who": AuditRow.actor.expression,
    "what": AuditRow.action.expression,
    "kind": AuditRow.entity_type.expression,
}


async def audit_page(  # noqa: PLR0913 - the ways to narrow a list, by name
    session: AsyncSession,
    *,
    limit: int,
    offset: int,
    entity_type: str | None = None,
    entity_id: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    words: str = "",
    sort: str = "-created",
) -> tuple[Sequence[AuditRow], int]:
    """Changes, newest first, and how many in all.

    Of one kind of thing or one thing, made between two moments; ``words``: by this person, or an
    action, or in what it was before or after. Raises ``Invalid`` for another ``sort`` than one of
    `AUDIT_SORTS`, or one with a dash.
    """
    query = select(AuditRow)
    if entity_type:
        query = query.where(AuditRow.entity_type == entity_type)
    if entity_id:
        query = query.where(AuditRow.entity_id == entity_id)
    if start:
        query = query.where(AuditRow.created_at >= start)
    if end:
        query = query.where(AuditRow.created_at <= end)
    if words:
        looked_in = (AuditRow.actor, AuditRow.action, AuditRow.before_json, AuditRow.after_json)
        query = query.where(or_(*(c.icontains(words, autoescape=True) for c in looked_in)))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    order = (order_by(AUDIT_SORTS, sort), AuditRow.id.desc())
    # What was before and after is long: it is read of the rows that are shown, not sorted along.
    shown = query.with_only_columns(AuditRow.id).order_by(*order).limit(limit).offset(offset)
    page = select(AuditRow).where(AuditRow.id.in_(shown)).order_by(*order)
    return (await session.scalars(page)).all(), total


async def audited_kinds(session: AsyncSession) -> Sequence[str]:
    """The kinds of things that were ever changed."""
    query = select(AuditRow.entity_type).distinct().order_by(AuditRow.entity_type)
    return (await session.scalars(query)).all()

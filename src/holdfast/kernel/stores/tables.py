"""Rows of stores: places where bytes live, and how they are reached."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from holdfast.kernel.db import Base


class StoreRow(Base, kw_only=True):
    """A store. ``kind``: ``s3``, or a kind of remote as rclone names it (``sftp``, ``local``)."""

    __tablename__ = "store"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(index=True)
    root: Mapped[str] = mapped_column(default="")
    """Where it begins: ``bucket/prefix`` for s3, a path for the others."""
    options: Mapped[str] = mapped_column(Text, default="{}")
    """JSON: rclone's options without the secret ones."""
    secrets_enc: Mapped[str] = mapped_column(Text, default="")
    """JSON of the secret options, sealed; empty: none."""
    host_keys: Mapped[str] = mapped_column(Text, default="")
    """Of sftp: the lines of known_hosts, as seen at first use."""
    description: Mapped[str] = mapped_column(default="")
    reachable: Mapped[bool | None] = mapped_column(default=None)
    """Whether it could be listed when it was last checked; None: not checked since it changed."""
    checked_at: Mapped[datetime | None] = mapped_column(default=None)
    check_told: Mapped[str] = mapped_column(Text, default="{}")
    """JSON of that check: what the store can do, or what was wrong."""
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    def forget_check(self) -> None:
        """It is another one now than the one that was checked."""
        self.reachable, self.checked_at, self.check_told = None, None, "{}"


async def store_page(
    session: AsyncSession, *, limit: int, offset: int, words: str = ""
) -> tuple[Sequence[StoreRow], int]:
    """Stores by name, and how many there are in all; ``words``: in the name."""
    query = select(StoreRow)
    if words:
        query = query.where(StoreRow.name.icontains(words, autoescape=True))
    total = await session.scalar(select(func.count()).select_from(query.subquery())) or 0
    page = query.order_by(StoreRow.name).limit(limit).offset(offset)
    return (await session.scalars(page)).all(), total


async def store_named(session: AsyncSession, name: str) -> StoreRow | None:
    """The store of this name."""
    return await session.scalar(select(StoreRow).where(StoreRow.name == name))


async def stores_of_kind(session: AsyncSession, kind: str) -> Sequence[StoreRow]:
    """Those of a kind, the oldest first."""
    query = select(StoreRow).where(StoreRow.kind == kind).order_by(StoreRow.id)
    return (await session.scalars(query)).all()

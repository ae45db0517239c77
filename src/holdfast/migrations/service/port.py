"""What the gateway asks of migrations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.ports import ActiveMove, BucketMove, Restored
from holdfast.kernel.services import Services
from holdfast.kernel.work import Work
from holdfast.migrations import tables
from holdfast.migrations.service.destination import check_destination
from holdfast.migrations.service.restoring import restore
from holdfast.migrations.service.starting import default_options, put_in
from holdfast.migrations.service.wish import Wish
from holdfast.migrations.write_hold import WriteHold


class Named(Protocol):
    """A row of the gateway, as far as it matters here."""

    id: Any


class Port:
    """Implements ``holdfast.gateway.ports.MigrationPort``."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def write_hold(self) -> WriteHold:
        """A pause of writes that has not begun."""
        root = self._services.settings.nginx_root
        return WriteHold(root, self._services.get(Gateway).flags)

    async def start(
        self, work: Work, *, vhost: Named, bucket: str, source: Named, destination: Named
    ) -> int:
        """Start moving a bucket in the caller's transaction. Raises ``TooMany``, ``Conflict``."""
        wish = Wish(
            bucket=bucket,
            source_id=source.id,
            destination_id=destination.id,
            options=default_options(self._services.settings),
        )
        row = await put_in(work, self._services, wish, first_vhost_id=vhost.id)
        return row.id

    async def check_destination(self, *, bucket: str, source_id: int, destination_id: int) -> None:
        """What would stop the move a moment after its start. Raises ``Conflict``."""
        wish = Wish(
            bucket=bucket,
            source_id=source_id,
            destination_id=destination_id,
            options=default_options(self._services.settings),
        )
        await check_destination(self._services, wish, make=False)

    async def active_moves(self, session: AsyncSession) -> list[ActiveMove]:
        """Every migration that has not ended."""
        return [
            ActiveMove(
                id=row.id,
                bucket=row.bucket,
                pool_ids=frozenset({row.src_pool_id, row.dst_pool_id}),
            )
            for row in await tables.active_migrations(session)
        ]

    async def active_with_pool(self, session: AsyncSession, pool_id: int) -> list[int]:
        """Ids of unfinished migrations from or to this pool."""
        return [row.id for row in await tables.active_with_pool(session, pool_id)]

    async def active_for_bucket(
        self, session: AsyncSession, bucket: str, pool_id: int
    ) -> int | None:
        """The unfinished migration of this bucket from or to this pool."""
        for row in await tables.active_of_bucket(session, bucket):
            if pool_id in {row.src_pool_id, row.dst_pool_id}:
                return row.id
        return None

    async def moves_of(
        self, session: AsyncSession, bucket: str, *, limit: int
    ) -> Sequence[BucketMove]:
        """The newest migrations of buckets of this name, newest first."""
        return [
            BucketMove(
                id=row.id,
                src_pool_id=row.src_pool_id,
                dst_pool_id=row.dst_pool_id,
                phase=row.phase,
                bytes_total=row.bytes_total,
                begun_at=row.started_at or row.created_at,
                finished_at=row.finished_at,
            )
            for row in await tables.moves_of_bucket(session, bucket, limit=limit)
        ]

    async def restore(
        self, work: Work, *, folder: Path | None = None, only_ended: bool = False
    ) -> Restored:
        """Rows of what the records on disk tell; unfinished migrations go on."""
        return await restore(work, self._services, folder=folder, only_ended=only_ended)

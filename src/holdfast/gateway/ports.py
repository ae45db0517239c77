"""What the gateway asks of those who move buckets; they register, it never calls upwards."""

from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.work import Work


class MigrationPort(Protocol):
    """Starts and knows live migrations."""

    async def start(
        self, work: Work, *, vhost: VhostRow, bucket: str, source: PoolRow, destination: PoolRow
    ) -> int:
        """Start moving a bucket, in the caller's transaction; gives the migration's id.

        Raises ``TooMany`` at the limit, ``Conflict`` when the bucket is already moving.
        """
        ...

    async def active_with_pool(self, session: AsyncSession, pool_id: int) -> list[int]:
        """Ids of unfinished migrations from or to this pool."""
        ...

    async def active_for_bucket(
        self, session: AsyncSession, bucket: str, pool_id: int
    ) -> int | None:
        """The unfinished migration of this bucket from or to this pool."""
        ...


@dataclass(slots=True)
class Ports:
    """Who registered; a gateway alone works without."""

    migrations: MigrationPort | None = None

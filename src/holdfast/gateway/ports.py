"""What the gateway asks of those who move buckets; they register, it never calls upwards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.tables import PoolRow, VhostRow
from holdfast.kernel.work import Work


@dataclass(slots=True)
class Restored:
    """Migrations that records on disk tell of, and which of them could not be taken."""

    active: int = 0
    completed: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketMove:
    """One migration of a bucket, as its page lists it."""

    id: int
    src_pool_id: int
    dst_pool_id: int
    phase: str
    bytes_total: int
    begun_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveMove:
    """A migration that has not ended."""

    id: int
    bucket: str
    pool_ids: frozenset[int]
    """Source and destination."""


class WriteHold(Protocol):
    """A short pause of the writes of some buckets."""

    async def begin(self, pools: Mapping[tuple[str, str], tuple[str, str]]) -> None:
        """Return when nothing is on its way into these buckets, and later writes wait.

        ``pools``: for each vhost and bucket the alias of its pool and of the one that it may go to.
        Their flags are ``hold`` then. May be called again, for others.
        """
        ...

    async def end(self) -> None:
        """Let the writes go; call it when the flags are what they shall be."""
        ...


class MigrationPort(Protocol):
    """Starts and knows live migrations."""

    def write_hold(self) -> WriteHold:
        """A pause that has not begun."""
        ...

    async def start(
        self, work: Work, *, vhost: VhostRow, bucket: str, source: PoolRow, destination: PoolRow
    ) -> int:
        """Start moving a bucket, in the caller's transaction; gives the migration's id.

        Raises ``TooMany`` at the limit, ``Conflict`` when the bucket is already moving.
        """
        ...

    async def check_destination(self, *, bucket: str, source_id: int, destination_id: int) -> None:
        """Before `start`, outside of transactions: a move would overwrite what is not a copy.

        Raises ``Conflict``.
        """
        ...

    async def active_moves(self, session: AsyncSession) -> Sequence[ActiveMove]:
        """Every migration that has not ended."""
        ...

    async def active_with_pool(self, session: AsyncSession, pool_id: int) -> list[int]:
        """Ids of unfinished migrations from or to this pool."""
        ...

    async def active_for_bucket(
        self, session: AsyncSession, bucket: str, pool_id: int
    ) -> int | None:
        """The unfinished migration of this bucket from or to this pool."""
        ...

    async def moves_of(
        self, session: AsyncSession, bucket: str, *, limit: int
    ) -> Sequence[BucketMove]:
        """The newest migrations of buckets of this name, newest first."""
        ...

    async def restore(
        self, work: Work, *, folder: Path | None = None, only_ended: bool = False
    ) -> Restored:
        """Make rows of the records in ``folder`` (ours by default); unfinished ones go on.

        Pools and vhosts are found by name. With ``only_ended`` unfinished ones are left out.
        """
        ...


@dataclass(slots=True)
class Ports:
    """Who registered; a gateway alone works without."""

    migrations: MigrationPort | None = None

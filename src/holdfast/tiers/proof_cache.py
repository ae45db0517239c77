"""What was found out about the contents of files, kept as long as they are as they were then."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import cast

from sqlalchemy import Insert, Table, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.tiers.model import DAY_SECONDS, Candidate
from holdfast.tiers.running import Run
from holdfast.tiers.tables import TierProofRow

USE_NOTED_DAYS = 30
"""How late it may be noted that something known was of use: not each run writes each row."""
_ROWS_AT_ONCE = 500
Inode = tuple[int, int]
Known = dict[tuple[int, int, str], str]
"""Digests by device, inode and kind."""


async def has_proofs(session: AsyncSession, tier_id: int) -> bool:
    """Whether anything was found out about a tier's files."""
    query = select(TierProofRow.inode).where(TierProofRow.tier_id == tier_id).limit(1)
    return await session.scalar(query) is not None


def _by_device(inodes: Collection[Inode]) -> Iterator[tuple[int, list[int]]]:
    for device, found in groupby(sorted(inodes), key=lambda one: one[0]):
        yield device, [inode for _, inode in found]


def day_of(moment: datetime) -> int:
    """As `TierProofRow.used_day` has it."""
    return int(moment.timestamp()) // DAY_SECONDS


async def forget(run: Run, inodes: Sequence[Inode]) -> None:
    """Of files that are gone, nothing need be known."""
    async with run.ctx.write() as work:
        for device, gone in _by_device(inodes):
            query = delete(TierProofRow).where(
                TierProofRow.tier_id == run.tier.id,
                TierProofRow.device == device,
                TierProofRow.inode.in_(gone),
            )
            await work.session.execute(query)


async def cached(
    session: AsyncSession, tier_id: int, files: Sequence[Candidate], today: int = 0
) -> tuple[Known, set[Inode]]:
    """What is known of files that are as they were then, and whose rows were long of no use."""
    old: set[Inode] = set()
    by_inode = {(file.device, file.inode): file for file in files}
    known: Known = {}
    for start in range(0, len(files), _ROWS_AT_ONCE):
        part = files[start : start + _ROWS_AT_ONCE]
        query = select(
            TierProofRow.device,
            TierProofRow.inode,
            TierProofRow.kind,
            TierProofRow.digest,
            TierProofRow.used_day,
            TierProofRow.size_bytes,
            TierProofRow.mtime_ns,
            TierProofRow.ctime_ns,
        ).where(
            TierProofRow.tier_id == tier_id,
            TierProofRow.device.in_({file.device for file in part}),
            TierProofRow.inode.in_({file.inode for file in part}),
        )
        for device, inode, kind, digest, used_day, *then in await session.execute(query):
            file = by_inode.get((device, inode))
            if file is not None and then == [file.size_bytes, file.mtime_ns, file.ctime_ns]:
                known[device, inode, kind] = digest
                if used_day < today - USE_NOTED_DAYS:
                    old.add((device, inode))
    return known, old


async def note_use(
    session: AsyncSession, tier_id: int, inodes: Collection[Inode], today: int
) -> None:
    """What is known of these files was of use."""
    for device, found in _by_device(inodes):
        query = update(TierProofRow).where(
            TierProofRow.tier_id == tier_id,
            TierProofRow.device == device,
            TierProofRow.inode.in_(found),
        )
        values = query.values(used_day=today).execution_options(synchronize_session=False)
        await session.execute(values)


async def keep(
    session: AsyncSession, tier_id: int, files: Sequence[Candidate], fresh: Known, today: int
) -> None:
    """Keep what was found out about files, as they are."""
    if not fresh:
        return
    by_inode = {(file.device, file.inode): file for file in files}
    rows = []
    for (device, inode, kind), digest in fresh.items():
        file = by_inode[device, inode]
        row = {"tier_id": tier_id, "device": device, "inode": inode, "kind": kind}
        times = {"mtime_ns": file.mtime_ns, "ctime_ns": file.ctime_ns}
        told = {"size_bytes": file.size_bytes, "digest": digest, "used_day": today}
        rows.append({**row, **times, **told})
    await session.execute(_upsert(session), rows)


def _upsert(session: AsyncSession) -> Insert:
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    given = (sqlite if is_sqlite else postgresql).insert(cast("Table", TierProofRow.__table__))
    told = ("size_bytes", "mtime_ns", "ctime_ns", "digest", "used_day")
    upsert: Insert = given.on_conflict_do_update(
        index_elements=["tier_id", "device", "inode", "kind"],
        set_={name: given.excluded[name] for name in told},
    )
    return upsert

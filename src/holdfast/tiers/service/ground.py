"""What the folders that a tier names are on the disk, looked at before a transaction.

A disk that does not answer holds whoever looks at it. In a transaction it would hold up everybody
who writes; there, `check_same` only makes sure that what was looked at is what is kept.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import Conflict, Invalid
from holdfast.kernel.services import Services
from holdfast.kernel.stores.place import below
from holdfast.kernel.stores.tables import StoreRow
from holdfast.tiers import queries, scan
from holdfast.tiers.mounts import mount_point
from holdfast.tiers.service import roots
from holdfast.tiers.service.draft import TierDraft
from holdfast.tiers.service.rooms import check_disk_answers, patiently, rooms_of
from holdfast.tiers.tables import TierRow

LOCAL = "local"
"""The kind of the stores whose folders are on this machine."""
Names = Sequence[tuple[str, bytes]]
"""Of tiers, with their roots."""


@dataclass(frozen=True, slots=True)
class StoredAt:
    """The folder on this machine in which a store has a tier's tree."""

    name: str
    path: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Folders that were found to fit. ``root``: ``asked`` without symlinks."""

    asked: bytes
    root: bytes
    mounted_at: bytes
    """Where the root's file system is mounted."""
    stored_at: tuple[StoredAt, ...]
    """Of the stores that are on this machine."""


async def look(
    services: Services,
    draft: TierDraft,
    *,
    own_id: int | None = None,
    beside: Names = (),
    stores_elsewhere: bool = False,
) -> Ground:
    """Whether a tier can be on these folders.

    ``beside``: tiers that are made with it. ``stores_elsewhere``: its stores are made with it too,
    and are not on this machine.

    Raises ``Invalid`` and ``Conflict`` with the reason, ``Unavailable`` for a disk that does not
    answer. ``own_id``: the tier that is to change.
    """
    async with services.database.read() as session:
        rows = [row for row in await queries.all_tiers(session) if row.id != own_id]
        stored_at = () if stores_elsewhere else await _stored_at(session, draft)
    for path in (draft.path, *(one.path for one in stored_at)):
        await check_disk_answers(services, path)
    others = [*((row.name, row.root) for row in rows), *beside]
    root = await patiently(partial(_checked, services, draft, others, stored_at))
    await _check_mounted_once(services, root, others)
    mounted_at = await patiently(partial(mount_point, root))
    return Ground(asked=draft.path, root=root, mounted_at=mounted_at, stored_at=stored_at)


async def check_same(session: AsyncSession, draft: TierDraft, ground: Ground) -> None:
    """Raises ``Conflict`` when a draft names other folders than those looked at."""
    if draft.path != ground.asked or await _stored_at(session, draft) != ground.stored_at:
        raise Conflict("the tier or its store was changed meanwhile", hint="look and try again")


async def check_store_moves(services: Services, store: StoreRow, root: str) -> None:
    """Raises ``Conflict`` for a root that brings a store into or around a tier that stands on it.

    To be called outside of a transaction.
    """
    if store.kind != LOCAL or not root.startswith("/"):
        return
    async with services.database.read() as session:
        rows = await queries.tiers_on_store(session, store.id)
    for row in rows:
        for store_id, prefix in _sides(row):
            if store_id != store.id:
                continue
            path = os.fsencode(below(root, prefix))
            await check_disk_answers(services, path)
            await check_disk_answers(services, row.root)
            await patiently(partial(roots.check_not_stored_in, row.root, store.name, path))


def _checked(
    services: Services, draft: TierDraft, others: Names, stored_at: Sequence[StoredAt]
) -> bytes:
    root = roots.checked_root(draft.path, data_dir=services.settings.data_dir)
    roots.check_apart(root, others)
    for one in stored_at:
        roots.check_not_stored_in(root, one.name, one.path)
    options = draft.options
    if options.freezable and not options.allow_noatime and scan.keeps_no_atime(root):
        raise Invalid(
            f"the file system of {roots.shown(root)} is mounted with noatime: "
            "nobody can tell what was read",
            hint="mount it with relatime, or allow it: --allow-noatime",
        )
    return root


async def _check_mounted_once(services: Services, root: bytes, others: Names) -> None:
    """Raises ``Conflict`` for another tier's folder; of those that answer."""
    rooms = await rooms_of(services).of([root, *(other for _, other in others)])
    mine = rooms[root]
    for name, other in others:
        its = rooms[other]
        if mine and its and (mine.device, mine.inode) == (its.device, its.inode):
            raise Conflict(
                f"{roots.shown(root)} is the folder of the tier {name!r}, mounted once more"
            )


async def _stored_at(session: AsyncSession, draft: TierDraft) -> tuple[StoredAt, ...]:
    """Raises ``Invalid`` for stores that are not there, and prefixes that lead out of them."""
    found = []
    for store_id, prefix in _sides(draft):
        below("", prefix)
        if store_id is None:
            continue
        row = await session.get(StoreRow, store_id)
        if row is None:
            raise Invalid(f"there is no store {store_id}", hint="see: holdfast store list")
        if row.kind == LOCAL and row.root.startswith("/"):
            found.append(StoredAt(row.name, os.fsencode(below(row.root, prefix))))
    return tuple(found)


def _sides(tier: TierDraft | TierRow) -> tuple[tuple[int | None, str], ...]:
    return (tier.store_id, tier.prefix), (tier.second_store_id, tier.second_prefix)

"""One folder of a tier: what lies right in it, here and on its store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.kernel.errors import AppError
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import open_place
from holdfast.tiers import queries
from holdfast.tiers.browsing import Seen, stored_entries
from holdfast.tiers.here import Here, local_entries
from holdfast.tiers.names import to_text
from holdfast.tiers.service.rooms import check_there
from holdfast.tiers.tables import TierRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file or folder. ``path``: relative to the tier's root, in text form."""

    name: str
    path: str
    is_folder: bool
    size_bytes: int
    here: bool | None
    """None: the folder cannot be read."""
    stored: bool | None
    """None: the store could not be asked."""
    frozen: bool = False
    """It left with a freeze, and is not here."""
    differing: bool = False

    @property
    def missing(self) -> bool:
        """On the store, and not here: a pull would bring it."""
        return bool(self.stored) and self.here is False


@dataclass(frozen=True, slots=True)
class Folder:
    """The entries of a folder, folders first; ``problem``: why its store could not be asked."""

    entries: Sequence[Entry]
    problem: AppError | None
    unreadable: str = ""
    """Why the folder cannot be read on this machine, or something in it; empty: it can."""


async def look_into(services: Services, row: TierRow, below: bytes) -> Folder:
    """What lies right in a folder of a tier, and what its store has of it.

    Raises ``Conflict`` for too much, ``Unavailable`` when the tier's folder cannot be looked at.
    """
    problem: AppError | None = None
    there: dict[bytes, Seen | None] | None = None
    await check_there(services, row.root)
    here = await asyncio.to_thread(local_entries, row.root, below)
    try:
        async with services.database.read() as session:
            place = await open_place(session, services, row.store_id, row.prefix)
        there = await stored_entries(services.get(RcloneHub), place, below)
    except AppError as error:
        problem = error
    gone = [path for path, seen in (there or {}).items() if seen and path not in here.files]
    async with services.database.read() as session:
        frozen = await queries.left_below(session, row.id, gone)
    found = [_entry(path, here, there, frozen) for path in {**here.files, **(there or {})}]
    unreadable = next((f"{to_text(p)}: {why}" for p, why in here.unreadable.items()), "")
    ordered = sorted(found, key=lambda one: (not one.is_folder, one.name))
    return Folder(ordered, problem, unreadable)


def _entry(
    path: bytes,
    here: Here[Seen | None],
    there: dict[bytes, Seen | None] | None,
    frozen: set[bytes],
) -> Entry:
    mine, its = here.files.get(path), (there or {}).get(path)
    shown, is_here = mine or its, path in here.files
    return Entry(
        name=to_text(path).rpartition("/")[2],
        path=to_text(path),
        is_folder=(here.files if is_here else there or {}).get(path) is None,
        size_bytes=shown.size_bytes if shown else 0,
        here=True if is_here else False if here.knows(path) else None,
        stored=None if there is None else path in there,
        frozen=path in frozen,
        differing=_differ(mine, its) if there and is_here and path in there else False,
    )


def _differ(mine: Seen | None, its: Seen | None) -> bool:
    """None is a folder."""
    if mine is None or its is None:
        return (mine is None) != (its is None)
    if mine.is_link or its.is_link:
        return mine.is_link != its.is_link
    return mine.size_bytes != its.size_bytes

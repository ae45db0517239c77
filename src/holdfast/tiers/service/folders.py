"""One folder of a tier: what lies right in it, here and on its store."""

import asyncio
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import AppError
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import Place, open_place
from holdfast.tiers.browsing import Seen, stored_entries
from holdfast.tiers.differing import differences
from holdfast.tiers.here import Here, local_entries
from holdfast.tiers.left import Left, left_in
from holdfast.tiers.names import to_text
from holdfast.tiers.service.lost import lost_of
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
    differing: bool | None = False
    """None: it may be another one, it was changed at another time."""
    lost: bool = False
    """It was frozen, and no store of the tier has it any more; never of a folder."""

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
    place: Place | None = None
    await check_there(services, row.tier())
    here = await asyncio.to_thread(local_entries, row.root, below)
    try:
        async with services.database.read() as session:
            place = await open_place(session, services, row.store_id, row.prefix)
        there = await stored_entries(services.get(RcloneHub), place, below)
    except AppError as error:
        problem = error
    folders = {path for path, seen in {**here.files, **(there or {})}.items() if seen is None}
    async with services.database.read() as session:
        found = await left_in(session, row.id, below, depth=1, known=folders)
    left = {path: one for path, one in found.files.items() if path != below}
    lost: set[bytes] = set()
    if there is not None:
        asking = partial(stored_entries, services.get(RcloneHub), below=below)
        try:
            lost = await lost_of(services, row, left, here, there, asking)
        except AppError as error:
            problem = error
    differ: Mapping[bytes, bool | None] = {}
    if place is not None and there is not None:
        both = {path: (here.files[path], there[path]) for path in here.files.keys() & there.keys()}
        async with services.database.read() as session:
            differ = await _differences(session, row.id, place, both)
    look = _Look(here, there, left, found.folders, lost, differ)
    names = dict.fromkeys((*here.files, *(there or {}), *left, *found.folders))
    entries = [look.entry(path) for path in names]
    unreadable = next((f"{to_text(p)}: {why}" for p, why in here.unreadable.items()), "")
    ordered = sorted(entries, key=lambda one: (not one.is_folder, one.name))
    return Folder(ordered, problem, unreadable)


@dataclass(frozen=True, slots=True)
class _Look:
    """All that was found in a folder."""

    here: Here[Seen | None]
    there: dict[bytes, Seen | None] | None
    left: Mapping[bytes, Left]
    left_folders: Container[bytes]
    lost: Container[bytes]
    differing: Mapping[bytes, bool | None]

    def entry(self, path: bytes) -> Entry:
        """What is told of one thing."""
        here, there = self.here, self.there
        mine, its = here.files.get(path), (there or {}).get(path)
        is_here, is_there = path in here.files, path in (there or {})
        on_a_side = (here.files if is_here else there or {}).get(path) is None
        shown = mine or its or self.left.get(path)
        is_folder = on_a_side if is_here or is_there else path in self.left_folders
        return Entry(
            name=to_text(path).rpartition("/")[2],
            path=to_text(path),
            is_folder=is_folder,
            size_bytes=shown.size_bytes if shown and not is_folder else 0,
            here=True if is_here else False if here.knows(path) else None,
            stored=None if there is None else is_there,
            frozen=(path in self.left or path in self.left_folders) and not is_here,
            differing=self.differing.get(path, False),
            lost=path in self.lost,
        )


async def _differences(
    session: AsyncSession,
    tier_id: int,
    place: Place,
    both: Mapping[bytes, tuple[Seen | None, Seen | None]],
) -> dict[bytes, bool | None]:
    """None in ``both`` is a folder."""
    files = {path: (one, two) for path, (one, two) in both.items() if one and two}
    differ = await differences(session, tier_id, place, files)
    return differ | {path: one != two for path, (one, two) in both.items() if path not in files}

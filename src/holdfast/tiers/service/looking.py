"""A folder of a tier as it is now: what is here, on the store, frozen, differing, missing, lost."""

import asyncio
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from holdfast.kernel.errors import NotFound
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import Place, open_place
from holdfast.tiers import queries
from holdfast.tiers.browsing import Seen, stored_below, stored_entries, stored_files
from holdfast.tiers.differing import differences
from holdfast.tiers.here import Here, local_files
from holdfast.tiers.left import Left, left_in
from holdfast.tiers.names import to_text
from holdfast.tiers.present import absolute
from holdfast.tiers.service.lost import lost_of
from holdfast.tiers.service.rooms import check_there, locate
from holdfast.tiers.tables import TierRow

MOST_UNREADABLE = 100
"""Of the folders that cannot be read, the first of them are named."""
COUNTED = ("files", "bytes", "local", "remote", "frozen", "differing", "missing", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One file. ``path``: relative to the tier's root."""

    path: bytes
    size_bytes: int
    """As it is here, else on the store."""
    local: bool | None
    """None: its folder cannot be read."""
    remote: bool
    frozen: bool
    """It left with a freeze, and is not here."""
    differing: bool | None
    """It is another one on either side; None: it may be, they were changed at other times."""
    lost: bool
    """It was frozen and is gone from here, and no store of the tier has it any more."""

    @property
    def missing(self) -> bool:
        """On the store, and not here: a pull would bring it."""
        return self.remote and self.local is False

    def as_json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "path": to_text(self.path),
            "bytes": self.size_bytes,
            "local": self.local,
            "remote": self.remote,
            "frozen": self.frozen,
            "differing": self.differing,
            "missing": self.missing,
            "lost": self.lost,
        }


async def list_files(
    services: Services, path: bytes, *, depth: int, limit: int, offset: int = 0
) -> tuple[list[Listed], int]:
    """Files below a folder (or the one file) in their order, and how many there are.

    ``depth``: folders deep, 0: all. Raises ``BadRequest`` outside every tier, ``Unavailable`` when
    the tier's folder cannot be looked at, ``NotFound`` for what is neither here nor on the store,
    ``Conflict`` when there are too many files to look at, and what the store has to say.
    """
    found = await _look(services, path, depth)
    return found.files[offset : offset + limit], len(found.files)


async def tree(services: Services, path: bytes, *, depth: int) -> dict[str, Any]:
    """The folder with its files and folders, each folder with the counts of what it holds.

    ``depth`` and failures as of `list_files`. What lies deeper is not counted: the folders that it
    lies in are told as not looked into.
    """
    found = await _look(services, path, depth)
    below = found.below
    top = _folder(to_text(below).rpartition("/")[2], to_text(below))
    for each in found.files:
        _put(top, each, below)
    for folder in sorted(found.deeper):
        *_, last = _way(top, folder[len(below) + 1 :] if below else folder)
        last["looked_into"] = False
    unreadable = [{"path": to_text(name), "error": why} for name, why in found.unreadable.items()]
    return {**top, "unreadable": unreadable[:MOST_UNREADABLE]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a store has of a folder of a tier."""

    below: bytes
    """The folder (or file) that was asked for, relative to the tier's root."""
    files: dict[bytes, Seen]
    """In the order of their paths, which are relative to the tier's root."""
    here: frozenset[bytes]
    """Those of them that are local too, or in a folder that cannot be read."""
    lost: dict[bytes, Left]
    """What it had when it was frozen, and has no more; only where it was asked for."""
    is_known: bool
    """False when nothing of that name is there, on the store or here, as far as can be told."""


async def list_stored(
    services: Services,
    path: bytes,
    *,
    depth: int,
    with_times: bool = False,
    with_lost: bool = False,
) -> Stored:
    """What the store has below a folder, or the one file. Raises as `list_files` does."""
    row, below = await place_of(services, path)
    async with services.database.read() as session:
        place = await open_place(session, services, row.store_id, row.prefix)
    here, there = await asyncio.gather(
        asyncio.to_thread(local_files, row.root, below, depth=depth),
        stored_files(services.get(RcloneHub), place, below, depth=depth, with_times=with_times),
    )
    lost: dict[bytes, Left] = {}
    if with_lost:
        left, _ = await _left(services, row, below, depth, here, here.too_deep)
        gone = await _lost(services, row, below, depth, here, there, left)
        lost = {name: left[name] for name in sorted(gone)}
    # on S3 a folder is no thing: nobody can tell an empty one from one that is not there
    is_known = bool(there or lost) or place.s3 is not None
    is_known = is_known or await is_somewhere(services, row, place, below)
    return Stored(
        below=below,
        files=dict(sorted(there.items())),
        here=frozenset(name for name in there if name in here.files or not here.knows(name)),
        lost=lost,
        is_known=is_known,
    )


async def is_somewhere(services: Services, row: TierRow, place: Place, below: bytes) -> bool:
    """Whether a folder without files is one, here or on the store, as far as can be told."""
    if not below or await asyncio.to_thread(os.path.lexists, absolute(row.root, below)):
        return True
    # an empty folder shows in the one it lies in; asked for by itself it looks like none
    around = below.rpartition(b"/")[0]
    return below in await stored_entries(services.get(RcloneHub), place, around)


def nowhere(path: bytes) -> NotFound:
    """What is said of a path that nothing is known of."""
    told = f"{to_text(path)} is neither here nor on the store"
    return NotFound(told, hint="is it spelt right?")


def _put(top: dict[str, Any], each: Listed, below: bytes) -> None:
    told = each.as_json()
    inner = each.path[len(below) + 1 :] if below else each.path  # empty: the one file
    around, _, name = inner.rpartition(b"/")
    here = top
    for here in _way(top, around):
        _count(here, told)
    here["entries"].append({"name": to_text(name) or top["name"], **told})


def _way(top: dict[str, Any], inner: bytes) -> Iterator[dict[str, Any]]:
    """The folders on the way to one below ``top``, from ``top`` on; they are made."""
    here = top
    yield here
    for name in to_text(inner).split("/") if inner else ():
        path = f"{here['path']}/{name}" if here["path"] else name
        here = here["folders"].setdefault(name, _folder(name, path))
        yield here


def _folder(name: str, path: str) -> dict[str, Any]:
    counts = {**dict.fromkeys(COUNTED, 0), "may_differ": 0}
    return {"name": name, "path": path, "looked_into": True, **counts, "folders": {}, "entries": []}


def _count(folder: dict[str, Any], told: dict[str, Any]) -> None:
    folder["files"] += 1
    folder["may_differ"] += told["differing"] is None
    folder["bytes"] += told["bytes"]
    for name in COUNTED[2:]:
        folder[name] += bool(told[name])


async def place_of(services: Services, path: bytes) -> tuple[TierRow, bytes]:
    """The tier that an absolute path lies in, and where in it. Raises as `list_files` does."""
    async with services.database.read() as session:
        known = {row.root: row for row in await queries.all_tiers(session)}
    ((root, below),) = await locate(services, [path], known)
    row = known[root]
    await check_there(services, row.tier())
    return row, below


@dataclass(frozen=True, slots=True)
class _Found:
    below: bytes
    """What was asked for, relative to the tier's root."""
    files: list[Listed]
    unreadable: dict[bytes, str]
    deeper: set[bytes]
    """Folders that were not looked into: here, on the store, or that files left from."""


async def _look(services: Services, path: bytes, depth: int) -> _Found:
    row, below = await place_of(services, path)
    async with services.database.read() as session:
        place = await open_place(session, services, row.store_id, row.prefix)
    here, stored = await asyncio.gather(
        asyncio.to_thread(local_files, row.root, below, depth=depth),
        stored_below(services.get(RcloneHub), place, below, depth=depth, with_times=True),
    )
    there, too_deep = stored.files, here.too_deep | stored.deeper
    left, deeper = await _left(services, row, below, depth, here, too_deep)
    names = sorted({*here.files, *there, *left})
    if not names and not await is_somewhere(services, row, place, below):
        raise nowhere(path)
    lost = await _lost(services, row, below, depth, here, there, left)
    on_both = here.files.keys() & there.keys()
    both = {name: (here.files[name], there[name]) for name in on_both}
    async with services.database.read() as session:
        differ = await differences(session, row.id, place, both)
    look = _Look(here, there, left, lost, differ)
    listed = [look.listed(name) for name in names]
    return _Found(below, listed, here.unreadable, too_deep | deeper)


async def _left(
    services: Services,
    row: TierRow,
    below: bytes,
    depth: int,
    here: Here[Seen],
    known: Iterable[bytes],
) -> tuple[dict[bytes, Left], set[bytes]]:
    async with services.database.read() as session:
        found = await left_in(session, row.id, below, depth=depth, known=known)
    files = {path: left for path, left in found.files.items() if path not in here.files}
    return files, found.folders


async def _lost(
    services: Services,
    row: TierRow,
    below: bytes,
    depth: int,
    here: Here[Seen],
    there: Container[bytes],
    left: Mapping[bytes, Left],
) -> set[bytes]:
    hub = services.get(RcloneHub)
    asking = partial(stored_files, hub, below=below, depth=depth)
    return await lost_of(services, row, left, here, there, asking)


@dataclass(frozen=True, slots=True)
class _Look:
    """All that was found."""

    here: Here[Seen]
    there: Mapping[bytes, Seen]
    left: Mapping[bytes, Left]
    lost: Container[bytes]
    differing: Mapping[bytes, bool | None]

    def listed(self, path: bytes) -> Listed:
        """What is told of one file."""
        is_here, is_there = path in self.here.files, path in self.there
        shown = self.here.files.get(path) or self.there.get(path) or self.left.get(path)
        return Listed(
            path=path,
            size_bytes=shown.size_bytes if shown else 0,
            local=True if is_here else False if self.here.knows(path) else None,
            remote=is_there,
            frozen=path in self.left,
            differing=self.differing.get(path, False),
            lost=path in self.lost,
        )

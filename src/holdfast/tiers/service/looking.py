"""A folder of a tier as it is now: what is here, on the store, frozen, differing, missing."""

import asyncio
import os
from dataclasses import dataclass
from typing import Any

from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.place import open_place
from holdfast.tiers import queries
from holdfast.tiers.browsing import Seen, local_files, stored_files
from holdfast.tiers.names import to_text
from holdfast.tiers.present import absolute
from holdfast.tiers.service.roots import located
from holdfast.tiers.tables import TierRow

COUNTED = ("files", "bytes", "local", "remote", "frozen", "differing", "missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One file. ``path``: relative to the tier's root."""

    path: bytes
    size_bytes: int
    """As it is here, else on the store."""
    local: bool
    remote: bool
    frozen: bool
    """It left with a freeze, and is not here."""
    differing: bool
    """It is on both sides with another size."""

    @property
    def missing(self) -> bool:
        """On the store, and not here: a pull would bring it."""
        return self.remote and not self.local

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
        }


async def list_files(
    services: Services, path: bytes, *, depth: int, limit: int, offset: int = 0
) -> tuple[list[Listed], int]:
    """Files below a folder (or the one file) in their order, and how many there are.

    ``depth``: folders deep, 0: all. Raises ``BadRequest`` outside every tier, ``Conflict`` when
    there are too many to look at, and what the store has to say.
    """
    found = await _look(services, path, depth)
    return found[offset : offset + limit], len(found)


async def tree(services: Services, path: bytes, *, depth: int) -> dict[str, Any]:
    """The folder with its files and folders, each folder with the counts of what it holds.

    ``depth`` and failures as of `list_files`; what lies deeper is not counted.
    """
    _, below = await _place_of(services, path)
    top = _folder(to_text(below).rpartition("/")[2], to_text(below))
    for each in await _look(services, path, depth):
        _put(top, each, below)
    return top


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a store has of a folder of a tier."""

    below: bytes
    """The folder (or file) that was asked for, relative to the tier's root."""
    files: dict[bytes, Seen]
    """In the order of their paths, which are relative to the tier's root."""
    here: frozenset[bytes]
    """Those of them that are local too."""
    is_known: bool
    """False when nothing of that name is there, on the store or here, as far as can be told."""


async def list_stored(
    services: Services, path: bytes, *, depth: int, with_times: bool = False
) -> Stored:
    """What the store has below a folder, or the one file. Raises as `list_files` does."""
    row, below = await _place_of(services, path)
    async with services.database.read() as session:
        place = await open_place(session, services, row.store_id, row.prefix)
    here, there = await asyncio.gather(
        asyncio.to_thread(local_files, row.root, below, depth=depth),
        stored_files(services.get(RcloneHub), place, below, depth=depth, with_times=with_times),
    )
    is_known = bool(there) or not below or place.s3 is not None
    return Stored(
        below=below,
        files=dict(sorted(there.items())),
        here=frozenset(name for name in there if name in here),
        is_known=is_known or await asyncio.to_thread(os.path.lexists, absolute(row.root, below)),
    )


def _put(top: dict[str, Any], each: Listed, below: bytes) -> None:
    told = each.as_json()
    inner = each.path[len(below) + 1 :] if below and each.path != below else each.path
    *folders, name = to_text(inner).split("/") if each.path != below else [top["name"]]
    here = top
    _count(here, told)
    for folder in folders:
        path = f"{here['path']}/{folder}" if here["path"] else folder
        here = here["folders"].setdefault(folder, _folder(folder, path))
        _count(here, told)
    here["entries"].append({"name": name, **told})


def _folder(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "path": path, **dict.fromkeys(COUNTED, 0), "folders": {}, "entries": []}


def _count(folder: dict[str, Any], told: dict[str, Any]) -> None:
    folder["files"] += 1
    folder["bytes"] += told["bytes"]
    for name in COUNTED[2:]:
        folder[name] += told[name]


async def _place_of(services: Services, path: bytes) -> tuple[TierRow, bytes]:
    async with services.database.read() as session:
        known = {row.root: row for row in await queries.all_tiers(session)}
    root, below = await asyncio.to_thread(located, path, known)
    return known[root], below


async def _look(services: Services, path: bytes, depth: int) -> list[Listed]:
    row, below = await _place_of(services, path)
    async with services.database.read() as session:
        place = await open_place(session, services, row.store_id, row.prefix)
    here, there = await asyncio.gather(
        asyncio.to_thread(local_files, row.root, below, depth=depth),
        stored_files(services.get(RcloneHub), place, below, depth=depth),
    )
    gone = [path for path in there if path not in here]
    async with services.database.read() as session:
        frozen = await queries.left_below(session, row.id, gone)
    names = sorted({*here, *there})
    return [_listed(name, here.get(name), there.get(name), frozen=name in frozen) for name in names]


def _listed(path: bytes, here: Seen | None, there: Seen | None, *, frozen: bool) -> Listed:
    differing = False
    if here is not None and there is not None:
        sizes_differ = here.size_bytes != there.size_bytes and not here.is_link
        differing = sizes_differ or here.is_link != there.is_link
    shown = here or there
    return Listed(
        path=path,
        size_bytes=shown.size_bytes if shown else 0,
        local=here is not None,
        remote=there is not None,
        frozen=frozen,
        differing=differing,
    )

"""Proves that each store of a tier holds the very bytes of a local file.

What was found out is kept with the file's identity and times, and on the store's side with its path
and version mark: what has not changed is never read twice.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.tiers import asking, hashing
from holdfast.tiers.asking import Told
from holdfast.tiers.holding import Stays
from holdfast.tiers.listing import ListingTotals
from holdfast.tiers.merge import Listed
from holdfast.tiers.model import Candidate, Proof, Skip
from holdfast.tiers.proof_cache import Known, cached, day_of, keep, note_use
from holdfast.tiers.running import Run

COMPARED_AT_ONCE = 4
MARKS_APART_SECONDS = 2.0
"""A change has another mark than one that was so much earlier: many stores keep whole seconds."""

Pair = tuple[Candidate, tuple[Listed, ...]]
Listings = Sequence[ListingTotals]
"""Of each place, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What proves a file: the hash of its content here, and what each store said."""

    kind: HashKind
    digest: str
    links: int
    """Names of the file, all of which leave."""
    stores: dict[str, Told]
    """By the name that `place_name` gives a place."""

    def to_json(self) -> str:
        """As kept in the journal."""
        return json.dumps(self.to_kept())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls.from_kept(json.loads(text))

    def to_kept(self) -> dict[str, Any]:
        """As a plan keeps it."""
        stores = {
            name: [told.size_bytes, told.mark, told.kind, told.digest]
            for name, told in self.stores.items()
        }
        return {"kind": self.kind, "digest": self.digest, "links": self.links, "stores": stores}

    @classmethod
    def from_kept(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_kept` gave."""
        stores = {
            name: Told(size, mark, HashKind(kind) if kind else None, digest)
            for name, (size, mark, kind, digest) in kept["stores"].items()
        }
        kind = HashKind(kept["kind"])
        return cls(kind=kind, digest=kept["digest"], links=kept["links"], stores=stores)

    def stands(self, name: str, now: Told) -> bool:
        """Whether a place still holds the content, by what it says now."""
        known = {told.kind: told.digest for told in self.stores.values()} | {self.kind: self.digest}
        if now.digest and now.kind in known:
            return known[now.kind] == now.digest
        # A mark may be no more than a time, and times can be kept: it counts last.
        before = self.stores.get(name)
        if before is None or not now.mark:
            return False
        return (now.mark, now.size_bytes) == (before.mark, before.size_bytes)


async def prove(
    run: Run, block: Sequence[Pair], listings: Listings, *, again: bool = False
) -> list[Proven | Stays]:
    """For each file of a block: what proves it, or why it stays.

    ``again``: each store is asked, also for what it has said before. Raises what is wrong with a
    store.
    """
    today = day_of(run.ctx.now())
    async with run.ctx.read() as session:
        known, old = await cached(session, run.tier.id, [file for file, _ in block], today)
    fresh: Known = {}
    said = {} if again else known
    sides = [
        await _stored(run, number, block, listings[number], said, fresh)
        for number in range(len(run.places))
    ]
    stored = [tuple(side[row] for side in sides) for row in range(len(block))]
    local = await _local(run, block, stored, known, fresh)
    if fresh or old:
        async with run.ctx.write() as work:
            await note_use(work.session, run.tier.id, old, today)
            await keep(work.session, run.tier.id, [file for file, _ in block], fresh, today)
    rows = zip(block, stored, local, strict=True)
    names = [place_name(place) for place in run.places]
    return [_judged(names, file, told, hashes) for (file, _), told, hashes in rows]


async def known_same(run: Run, block: Sequence[Pair], kind: HashKind | None) -> list[bool | None]:
    """Whether the first store has the content of each file, as far as that was found out before.

    None: it was not, or one of both has changed since. Reads no file and asks no store. ``kind``:
    of which hash the listing's digests are.
    """
    async with run.ctx.read() as session:
        return await known_of(session, run.tier.id, run.places[0], block, kind)


async def known_of(
    session: AsyncSession,
    tier_id: int,
    place: Place,
    block: Sequence[Pair],
    kind: HashKind | None,
) -> list[bool | None]:
    """The same of any place of a tier."""
    known, _ = await cached(session, tier_id, [file for file, _ in block])
    name = place_name(place)
    found: list[bool | None] = []
    for file, (listed, *_) in block:
        told = _as_listed(listed, kind) or _as_known(listed, known.get(_told_key(file, name)))
        here = known.get(_key(file, told.kind)) if told and told.kind else None
        found.append(None if here is None or told is None else here == told.digest)
    return found


def _judged(
    names: Sequence[str],
    file: Candidate,
    stored: tuple[Told | Stays, ...],
    hashes: hashing.Hashes | Stays,
) -> Proven | Stays:
    told = []
    for one in stored:
        if isinstance(one, Stays):
            return one
        told.append(one)
    if isinstance(hashes, Stays):
        return hashes
    for one in told:
        if one.size_bytes != file.size_bytes:
            return Stays(Skip.OTHER_SIZE)
        if one.kind is None or not one.digest:
            return Stays(Skip.NOT_PROVABLE)
        if hashes[one.kind] != one.digest:
            return Stays(Skip.OTHER_CONTENT)
    if not told or told[0].kind is None:
        return Stays(Skip.NOT_PROVABLE)
    kind = told[0].kind
    stores = dict(zip(names, told, strict=True))
    return Proven(kind=kind, digest=hashes[kind], links=file.links, stores=stores)


async def _stored(
    run: Run,
    number: int,
    block: Sequence[Pair],
    listing: ListingTotals,
    known: Known,
    fresh: Known,
) -> list[Told | Stays]:
    """What one place holds of each file; what is not in its listing for free is asked for.

    A mark that is not the listing's is not kept: it is too young to tell one change from the next.
    """
    place = run.places[number]
    name = place_name(place)
    found: dict[bytes, Told | Stays] = {}
    for file, sides in block:
        listed = sides[number]
        told = _as_listed(listed, listing.hash_kind)
        told = told or _as_known(listed, known.get(_told_key(file, name)))
        if told is not None:
            found[file.path] = told
    missing = [(file, sides[number]) for file, sides in block if file.path not in found]
    if missing:
        found |= await _asked(run, place, [file.path for file, _ in missing], listing)
        for file, listed in missing:
            answer = found[file.path]
            if not isinstance(answer, Told):
                continue
            if answer.mark != listed.version:
                found[file.path] = answer._replace(mark="")
            elif answer.kind and answer.digest and answer.mark:
                fresh[_told_key(file, name)] = f"{answer.mark} {answer.kind} {answer.digest}"
    return [found[file.path] for file, _ in block]


def _as_listed(listed: Listed, kind: HashKind | None) -> Told | None:
    if kind is None or not listed.digest:
        return None
    return Told(listed.size_bytes, listed.version, kind, listed.digest)


def _as_known(listed: Listed, known: str | None) -> Told | None:
    """What was found out before, if the store still has that version."""
    if not known or not listed.version:
        return None
    mark, kind, digest = known.rsplit(" ", 2)
    if mark != listed.version:
        return None
    return Told(size_bytes=listed.size_bytes, mark=mark, kind=HashKind(kind), digest=digest)


async def _asked(
    run: Run, place: Place, paths: Sequence[bytes], listing: ListingTotals
) -> dict[bytes, Told | Stays]:
    answers = await run.ask(run.ctx.services, place, paths, run.work)
    found: dict[bytes, Told | Stays] = {}
    for path in paths:
        told = answers.get(path)
        found[path] = Stays(Skip.MISSING_ON_STORE) if told is None else told
    if run.tier.options.proof is Proof.COMPARE:
        hashless = [
            (path, told)
            for path, told in found.items()
            if isinstance(told, Told) and not told.digest
        ]
        if hashless and place.s3 is None:
            await asyncio.sleep(listing.ended + MARKS_APART_SECONDS - time.monotonic())
        found |= await _read_all(run, place, hashless)
    return found


async def _read_all(
    run: Run, place: Place, files: Iterable[tuple[bytes, Told]]
) -> dict[bytes, Told | Stays]:
    """The hashes of contents that are read from a store, some at a time."""
    found: dict[bytes, Told | Stays] = {}
    waiting = iter(files)

    async def worker() -> None:
        for path, told in waiting:
            found[path] = await _read_one(run, place, path, told)

    await asking.together(worker() for _ in range(COMPARED_AT_ONCE))
    return found


async def _read_one(run: Run, place: Place, path: bytes, told: Told) -> Told | Stays:
    read = await asking.content_hash(run.ctx.services, place, path)
    if read is None:
        return Stays(Skip.MISSING_ON_STORE)
    size, digest = read
    if size != told.size_bytes:
        return Stays(Skip.OTHER_CONTENT, "its content has another length than the store says")
    return Told(size_bytes=size, mark=told.mark, kind=HashKind.SHA256, digest=digest)


async def _local(
    run: Run,
    block: Sequence[Pair],
    stored: Sequence[tuple[Told | Stays, ...]],
    known: Known,
    fresh: Known,
) -> list[hashing.Hashes | Stays]:
    """The hashes that the stores' are compared with; files that stay anyhow are not read."""
    needed: list[hashing.Wanted] = []
    have: list[dict[HashKind, str]] = []
    for (file, _), told in zip(block, stored, strict=True):
        kinds = _kinds(file, told)
        have.append({kind: known[_key(file, kind)] for kind in kinds if _key(file, kind) in known})
        needed.append((file, kinds - set(have[-1])))
    rows = [row for row, (_, kinds) in enumerate(needed) if kinds]
    hashed = await hashing.hash_files(run.tier.root, [needed[row] for row in rows])
    found: list[hashing.Hashes | Stays] = list(have)
    for row, hashes in zip(rows, hashed, strict=True):
        if isinstance(hashes, Stays):
            found[row] = hashes
            continue
        found[row] = {**have[row], **hashes}
        for kind, digest in hashes.items():
            fresh[_key(needed[row][0], kind)] = digest
    return found


def _kinds(file: Candidate, stored: tuple[Told | Stays, ...]) -> set[HashKind]:
    kinds: set[HashKind] = set()
    for told in stored:
        if isinstance(told, Stays) or told.kind is None or not told.digest:
            return set()
        if told.size_bytes != file.size_bytes:
            return set()
        kinds.add(told.kind)
    return kinds


def _key(file: Candidate, kind: str) -> tuple[int, int, str]:
    return file.device, file.inode, kind


def _told_key(file: Candidate, name: str) -> tuple[int, int, str]:
    """What a place says is of a path: a file keeps its identity when its folder is renamed."""
    return _key(file, f"{name}:{hashlib.sha256(file.path).hexdigest()[:32]}")


def place_name(place: Place) -> str:
    """Under which what is known of a place is kept: what lies elsewhere has another name."""
    if place.s3 is not None:
        parts = [place.s3.endpoint, place.s3.bucket, place.s3.prefix]
    else:
        parts = [place.kind, place.remote.root, json.dumps(place.remote.address, sort_keys=True)]
    return "on:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

"""What a transfer brought: checked, given to its owner, and stamped, so that it is not cold."""

import os
import stat as modes
from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.tiers.holding import folder, open_root
from holdfast.tiers.merge import Count
from holdfast.tiers.model import Tier
from holdfast.tiers.present import LINK_SUFFIX, at_home, read_records
from holdfast.tiers.pull_plan import FETCH, FOLDERS, Wanted, read_wanted
from holdfast.tiers.running import Run, block_of, tallying
from holdfast.tiers.tables import TierPulledRow, key_of

BLOCK_FILES = 1000
LEFT = "left"
DETAILS = "fetched.jsonl"


@dataclass(slots=True)
class Settled:
    """What of a plan is there now, and what is not."""

    arrived: Count = field(default_factory=Count)
    left: Count = field(default_factory=Count)
    not_given: int = 0
    """Files that could not be given to the owner that the tier names."""


async def settle(run: Run, plan: Path) -> Settled:
    """Check, own and stamp what arrived of a plan; what did not is written to ``left``.

    It can be done again: it looks at the whole plan, and leaves what doing it once leaves.
    """
    found = Settled()
    part = plan / (DETAILS + ".part")
    part.unlink(missing_ok=True)
    wanted = read_wanted(plan / FETCH)
    with (plan / LEFT).open("wb") as left, tallying(part) as tally:
        while block := block_of(wanted, BLOCK_FILES):
            seen = await to_thread(_look_at, run.tier, block)
            found.not_given += seen.not_given
            await _stamp(run, [at_home(one.path) for one in seen.arrived])
            for one in seen.arrived:
                tally.done(at_home(one.path), one.size_bytes, "pulled")
            left.writelines(one.record() for one in seen.left)
            found.left += Count(len(seen.left), sum(one.size_bytes for one in seen.left))
        found.arrived = Count(tally.files, tally.size_bytes)
    part.rename(plan / DETAILS)
    if run.tier.options.uid is not None or run.tier.options.gid is not None:
        await to_thread(_own_folders, run.tier, plan / FOLDERS)
    return found


@dataclass(slots=True)
class _Seen:
    arrived: list[Wanted] = field(default_factory=list)
    left: list[Wanted] = field(default_factory=list)
    not_given: int = 0


def _look_at(tier: Tier, block: Sequence[Wanted]) -> _Seen:
    seen = _Seen()
    root = open_root(tier.root)
    try:
        for parent, group in groupby(block, _parent):
            wanted = list(group)
            with ExitStack() as stack:
                try:
                    here = stack.enter_context(folder(root, parent))
                except OSError:
                    seen.left += wanted
                else:
                    _look_in(tier, here, wanted, seen)
    finally:
        os.close(root)
    return seen


def _look_in(tier: Tier, here: int, wanted: Sequence[Wanted], seen: _Seen) -> None:
    for one in wanted:
        name = at_home(one.path).rpartition(b"/")[2]
        if _is_whole(here, name, one):
            seen.arrived.append(one)
            seen.not_given += not _give(tier, here, name)
        else:
            seen.left.append(one)


def _is_whole(here: int, name: bytes, one: Wanted) -> bool:
    try:
        found = os.stat(name, dir_fd=here, follow_symlinks=False)
    except OSError:
        return False
    kind = modes.S_ISLNK if one.path.endswith(LINK_SUFFIX) else modes.S_ISREG
    return kind(found.st_mode) and found.st_size == one.size_bytes


def _give(tier: Tier, here: int, name: bytes) -> bool:
    """Whether it belongs to whom the tier names now."""
    uid, gid = tier.options.uid, tier.options.gid
    if uid is None and gid is None:
        return True
    try:
        os.chown(
            name,
            -1 if uid is None else uid,
            -1 if gid is None else gid,
            dir_fd=here,
            follow_symlinks=False,
        )
    except OSError:
        return False
    return True


def _own_folders(tier: Tier, made: Path) -> None:
    root = open_root(tier.root)
    try:
        for path in read_records(made):
            parent, _, name = path.rpartition(b"/")
            try:
                with folder(root, parent) as here:
                    _give(tier, here, name)
            except OSError:
                continue  # it was not made
    finally:
        os.close(root)


def make_folders(tier: Tier, folders: Path, taken: Callable[[bytes], bool]) -> int:
    """Make the folders of a file, parents first, that are not there; says how many it made."""
    made = 0
    root = open_root(tier.root)
    try:
        for path in sorted(set(read_records(folders))):
            parent, _, name = path.rpartition(b"/")
            if taken(path):
                try:
                    with folder(root, parent) as here:
                        os.mkdir(name, dir_fd=here)
                        _give(tier, here, name)
                except OSError:
                    continue  # something is there, or a symlink is on the way
                made += 1
    finally:
        os.close(root)
    return made


def _parent(one: Wanted) -> bytes:
    return one.path.rpartition(b"/")[0]


async def _stamp(run: Run, paths: Sequence[bytes]) -> None:
    if paths:
        async with run.ctx.write() as work:
            await stamp_pulled(work.session, run.tier.id, paths, run.ctx.now())


async def stamp_pulled(
    session: AsyncSession, tier_id: int, paths: Sequence[bytes], moment: datetime
) -> None:
    """Keep that these files of a tier were pulled now."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    given = (sqlite if is_sqlite else postgresql).insert(TierPulledRow)
    stamp = given.on_conflict_do_update(
        index_elements=["tier_id", "path_hash"], set_={"pulled_at": given.excluded.pulled_at}
    )
    rows = [
        {"tier_id": tier_id, "path_hash": key_of(path), "path": path, "pulled_at": moment}
        for path in paths
    ]
    await session.execute(stamp, rows)

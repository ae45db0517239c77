"""What a transfer brought: given its place and its owner, and stamped, so that it is not cold.

Nothing is replaced: what came into being meanwhile under a file's name is kept, and told.
"""

import errno
import json
import os
import stat as modes
from asyncio import to_thread
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.errors import Conflict
from holdfast.tiers import queries
from holdfast.tiers.holding import MADE, Stays, folder, opened_root, told
from holdfast.tiers.inheriting import Inherited, give_access, inherited_from
from holdfast.tiers.merge import Count
from holdfast.tiers.model import Skip, Tier
from holdfast.tiers.present import LINK_SUFFIX, at_home, read_records
from holdfast.tiers.pull_plan import FETCH, Wanted, read_wanted
from holdfast.tiers.renaming import copy_new, move_new, sync_file_system
from holdfast.tiers.running import Run, Stop, Tally, block_of, in_threads, tallying, to_the_end
from holdfast.tiers.staging import Staging, staging
from holdfast.tiers.tables import TierPulledRow, key_of

BLOCK_FILES = 1000
LEFT = "left"
DETAILS = "fetched.jsonl"
PLACING = "placing"
"""The block of files that are given their places, while it is not known which have theirs."""
LONGEST_LINK = 4096
_TRIED = ".owner"
_Whole = tuple[Wanted, int]
"""A file that was fetched, and its inode."""
_Ready = tuple[bytes, list[_Whole]]
"""A folder, and what was fetched for it."""


@dataclass(slots=True)
class Settled:
    """What became of a plan."""

    left: Count = field(default_factory=Count)
    """Not there."""
    not_given: int = 0
    """Files that could not be given to the owner that the tier names."""


@dataclass(slots=True)
class _Block:
    arrived: list[Wanted] = field(default_factory=list)
    left: list[Wanted] = field(default_factory=list)
    stays: list[tuple[Wanted, Stays]] = field(default_factory=list)
    not_given: int = 0


async def settle(run: Run, plan: Path, source: str = FETCH, tally: Tally | None = None) -> Settled:
    """Give what was fetched of a plan its place, own and stamp it, symlinks last.

    What was not fetched is written to ``left``; what cannot have its place is told to ``tally``. It
    goes on where it was ended.
    """
    await to_the_end(_conclude(run, plan))
    found = Settled()
    left_now = plan / (LEFT + ".part")
    with staging(run.tier.root, run.ctx.job_id) as stage, left_now.open("wb") as left:
        await to_thread(sync_file_system, stage.own)  # what has its name has its content
        for links in (False, True):
            wanted = (one for one in read_wanted(plan / source) if _is_link(one) is links)
            while block := await to_thread(block_of, wanted, BLOCK_FILES):
                seen = await _settle_block(run, plan, stage, block)
                found.not_given += seen.not_given
                found.left += Count(len(seen.left), sum(one.size_bytes for one in seen.left))
                left.writelines(one.record() for one in seen.left)
                if tally is not None:
                    _tell_stays(seen, tally)
    left_now.replace(plan / LEFT)
    return found


def _tell_stays(seen: _Block, tally: Tally) -> None:
    for one, stays in seen.stays:
        tally.stays(at_home(one.path), one.size_bytes, stays.reason, stays.detail)


async def _settle_block(run: Run, plan: Path, stage: Staging, block: Sequence[Wanted]) -> _Block:
    seen = _Block()
    try:
        await in_threads([partial(_place_block, run.tier, plan, stage, block, seen)])
    finally:  # also when cancelled
        await to_the_end(_tell(run, plan, seen.arrived))
    return seen


def _place_block(
    tier: Tier, plan: Path, stage: Staging, block: Sequence[Wanted], seen: _Block, stop: Stop
) -> None:
    ready: list[_Ready] = []
    for parent, group in groupby(block, _parent):
        there = _staged(stage, parent, list(group), seen)
        ready += [(parent, there)] if there else []
    if not ready:
        return
    _begin(plan, ready)
    for parent, there in ready:
        try:
            made = partial(_give, tier)
            with (
                told(),
                folder(stage.own, parent) as staged,
                folder(stage.root, parent, make=MADE, made=made) as here,
            ):
                _place_in(tier, staged, here, [one for one, _ in there], seen, stop)
        except Stays as stays:
            seen.stays += [(one, _in_the_way(stays)) for one, _ in there]


def _staged(stage: Staging, parent: bytes, wanted: Sequence[Wanted], seen: _Block) -> list[_Whole]:
    """The files of a folder that were fetched whole."""
    there: list[_Whole] = []
    with ExitStack() as stack:
        staged = None
        with suppress(OSError):
            staged = stack.enter_context(folder(stage.own, parent))
        for one in wanted:
            inode = _inode(staged, one) if staged is not None else None
            if inode is None:
                seen.left.append(one)
            else:
                there.append((one, inode))
    return there


def _inode(staged: int, one: Wanted) -> int | None:
    try:
        found = os.stat(_name(one.path), dir_fd=staged, follow_symlinks=False)
    except OSError:
        return None
    whole = modes.S_ISREG(found.st_mode) and found.st_size == one.size_bytes
    return found.st_ino if whole else None


def _place_in(
    tier: Tier, staged: int, here: int, wanted: Sequence[Wanted], seen: _Block, stop: Stop
) -> None:
    inherited = inherited_from(here)
    for one in wanted:
        if stop:
            return
        try:
            with told():
                seen.not_given += not _place(tier, staged, here, one, inherited)
        except Stays as stays:
            seen.stays.append((one, _in_the_way(stays)))
        else:
            seen.arrived.append(one)


def _place(tier: Tier, staged: int, here: int, one: Wanted, inherited: Inherited) -> bool:
    """Move a file to its place, or make its symlink; whether it belongs to whom it should."""
    name = _name(one.path)
    if _is_link(one):
        return _make_link(tier, staged, here, name)
    give_access(staged, name, inherited)
    given = _give(tier, staged, name, inherited.group)
    try:
        move_new(staged, name, here, name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy_new(staged, name, here, name)
    return given


def _make_link(tier: Tier, staged: int, here: int, name: bytes) -> bool:
    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=staged)
    try:
        target, found = os.read(opened, LONGEST_LINK), os.fstat(opened)
    finally:
        os.close(opened)
    name = at_home(name)
    if b"\0" in target or found.st_size != len(target):
        raise Stays(Skip.NO_NAME, "a symlink cannot lead there")
    try:
        os.symlink(target, name, dir_fd=here)
    except FileExistsError:
        with suppress(OSError):
            if os.readlink(name, dir_fd=here) == target:  # we made it, and were ended
                return True
        raise
    times = (found.st_atime_ns, found.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=here, follow_symlinks=False)
    return _give(tier, here, name)


def _give(tier: Tier, here: int, name: bytes, group: int | None = None) -> bool:
    """Whether it belongs to whom the tier names now. ``group``: when the tier names none."""
    uid, gid = tier.options.uid, tier.options.gid
    gid = group if gid is None else gid
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


def check_owner(tier: Tier, job_id: str) -> None:
    """Raises ``Conflict`` when nothing can be given to whom the tier names, before it is fetched.

    Who is no root may give away no file, and what has another owner may be of no use to anybody.
    """
    uid, gid = tier.options.uid, tier.options.gid
    if uid is None and gid is None:
        return
    with staging(tier.root, job_id) as stage:
        tried = os.open(_TRIED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=stage.own)
        try:
            os.fchown(tried, -1 if uid is None else uid, -1 if gid is None else gid)
        except OSError as error:
            names = {"user": uid, "group": gid}
            wanted = " and ".join(f"{name} {one}" for name, one in names.items() if one is not None)
            raise Conflict(
                f"files cannot be given to {wanted}: {error.strerror}",
                hint="only root may (or who has CAP_CHOWN); without an owner: "
                f"holdfast tier update {tier.name} --uid none --gid none",
            ) from error
        finally:
            os.close(tried)
            os.unlink(_TRIED, dir_fd=stage.own)


def _in_the_way(stays: Stays) -> Stays:
    """As people are told of something that came into being while a file was fetched."""
    if stays.reason is Skip.EXISTS:
        return Stays(Skip.EXISTS, "something came there meanwhile")
    if stays.reason in {Skip.GONE, Skip.CHANGED}:
        return Stays(Skip.EXISTS, "the way to it is no folder any more")
    return stays


def _begin(plan: Path, ready: Sequence[_Ready]) -> None:
    """Write which files are about to be given their places, and how long the report is."""
    details = plan / DETAILS
    size = details.stat().st_size if details.exists() else 0
    files = [
        [one.path.decode("latin-1"), one.size_bytes, inode]
        for _, there in ready
        for one, inode in there
    ]
    part = plan / (PLACING + ".part")
    part.write_text(json.dumps({"details": size, "files": files}))
    part.replace(plan / PLACING)


async def _conclude(run: Run, plan: Path) -> None:
    """Tell of the block that a killed process was about to place, as far as it did."""
    if (plan / PLACING).exists():
        kept = json.loads((plan / PLACING).read_bytes())
        arrived = await to_thread(_placed, run.tier, kept["files"])
        if (plan / DETAILS).exists():
            os.truncate(plan / DETAILS, kept["details"])
        await _tell(run, plan, arrived)


def _placed(tier: Tier, files: Sequence[tuple[str, int, int]]) -> list[Wanted]:
    found: list[Wanted] = []
    with opened_root(tier.root) as root:
        for text, size, inode in files:
            path = text.encode("latin-1")
            with suppress(OSError), folder(root, path.rpartition(b"/")[0]) as here:
                if os.stat(_name(path), dir_fd=here, follow_symlinks=False).st_ino == inode:
                    found.append(Wanted(path, size, b""))
    return found


async def _tell(run: Run, plan: Path, arrived: Sequence[Wanted]) -> None:
    """Stamp files, and put them in the report: from here on they are known to be there."""
    await _stamp(run, [at_home(one.path) for one in arrived])
    with tallying(plan / DETAILS) as tally:
        for one in arrived:
            tally.done(at_home(one.path), one.size_bytes, "pulled")
    (plan / PLACING).unlink(missing_ok=True)


def make_folders(tier: Tier, folders: Path, taken: Callable[[bytes], bool]) -> int:
    """Make the folders of a sorted file that are not there; says how many it made."""
    made = 0

    def give(here: int, name: bytes) -> None:
        nonlocal made
        made += 1
        _give(tier, here, name)

    with opened_root(tier.root) as root:
        for path in read_records(folders):
            if taken(path):
                # Otherwise something is there, or a symlink is on the way.
                with suppress(OSError), folder(root, path, make=MADE, made=give):
                    pass
    return made


def _is_link(one: Wanted) -> bool:
    return one.path.endswith(LINK_SUFFIX)


def _parent(one: Wanted) -> bytes:
    return one.path.rpartition(b"/")[0]


def _name(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


async def _stamp(run: Run, paths: Sequence[bytes]) -> None:
    if paths:
        async with run.ctx.write() as work:
            await stamp_pulled(work.session, run.tier.id, paths, run.ctx.now())


async def stamp_pulled(
    session: AsyncSession, tier_id: int, paths: Sequence[bytes], moment: datetime
) -> None:
    """Keep that these files of a tier were pulled now, and are no more frozen."""
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
    await queries.note_return(session, tier_id, paths)

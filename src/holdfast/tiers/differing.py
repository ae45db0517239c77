"""Whether a file is another one here than on its store, as far as shows without reading either.

What was compared before counts first, then sizes, then times: a file that was edited keeps its size
more often than its time. What they leave open stays open; only a verify reads contents.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.tiers.browsing import Seen, keeps_times
from holdfast.tiers.merge import Listed
from holdfast.tiers.model import Candidate
from holdfast.tiers.proof import Pair, known_of
from holdfast.tiers.proof_cache import has_proofs
from holdfast.tiers.pull_plan import SAME_TIME_NS


def seem_to_differ(mine: Seen, its: Seen, *, keeps_times: bool) -> bool | None:
    """None: they have one size, and were changed at other times.

    ``keeps_times``: whether the store has a file's own time of change; else it has the time when it
    was put there, and only a later change here says something.
    """
    if mine.is_link or its.is_link:
        return mine.is_link != its.is_link
    if mine.size_bytes != its.size_bytes:
        return True
    if mine.modified_ns is None or its.modified_ns is None:
        return False
    later_ns = mine.modified_ns - its.modified_ns
    return None if later_ns > SAME_TIME_NS or (keeps_times and -later_ns > SAME_TIME_NS) else False


async def differences(
    session: AsyncSession,
    tier_id: int,
    place: Place,
    both: Mapping[bytes, tuple[Seen, Seen]],
) -> dict[bytes, bool | None]:
    """Of files that are on both sides, by their paths; of a store's quick listing."""
    keeps = keeps_times(place)
    seem = {path: seem_to_differ(*two, keeps_times=keeps) for path, two in both.items()}
    pairs = [_pair(path, *both[path], keeps_times=keeps) for path in seem if not seem[path]]
    return {**seem, **await known_differences(session, tier_id, place, pairs, None)}


async def known_differences(
    session: AsyncSession,
    tier_id: int,
    place: Place,
    pairs: Sequence[Pair],
    kind: HashKind | None,
) -> dict[bytes, bool]:
    """Of those whose contents were compared before, and that are as they were then.

    ``kind``: of the digests of the listing.
    """
    if not pairs or not await has_proofs(session, tier_id):
        return {}
    same = await known_of(session, tier_id, place, pairs, kind)
    told = zip(pairs, same, strict=True)
    return {file.path: not is_same for (file, _), is_same in told if is_same is not None}


def _pair(path: bytes, mine: Seen, its: Seen, *, keeps_times: bool) -> Pair:
    device, inode, ctime_ns = mine.identity
    moment = mine.modified_ns or 0
    file = Candidate(path, mine.size_bytes, device, inode, 1, moment, ctime_ns, moment)
    version = str(its.modified_ns) if keeps_times and its.modified_ns is not None else ""
    return file, (Listed(path, its.size_bytes, "", version, b""),)

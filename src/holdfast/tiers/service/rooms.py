"""How full the file systems of tiers are, asked without waiting for one that does not answer."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TypeVar

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services
from holdfast.tiers.model import Tier, nearest_root
from holdfast.tiers.mounts import check_mounted
from holdfast.tiers.service.roots import Room, located, room_of, shown

log = get_logger(__name__)
T = TypeVar("T")
LONGEST_WAIT_SECONDS = 1.0
"""Of a page."""
PATIENCE_SECONDS = 10.0
"""Of a call that cannot go on without it: an automount takes its time."""


class Rooms:
    """One object a process: a dead mount is asked once, whatever number of pages want to know."""

    def __init__(self) -> None:
        self._asked: dict[bytes, asyncio.Task[Room | None]] = {}

    async def of(
        self, roots: Iterable[bytes], *, seconds: float = LONGEST_WAIT_SECONDS
    ) -> dict[bytes, Room | None]:
        """The room of each root; None: it is gone, or does not answer within ``seconds``."""
        wanted = {root: self._ask(root) for root in roots}
        if wanted:
            await asyncio.wait(wanted.values(), timeout=seconds)
        return {root: task.result() if task.done() else None for root, task in wanted.items()}

    async def answers(self, path: bytes) -> bool:
        """Whether the disk of a path says anything, and be it that nothing is there."""
        task = self._ask(path)
        await asyncio.wait([task], timeout=PATIENCE_SECONDS)
        return task.done()

    def _ask(self, root: bytes) -> "asyncio.Task[Room | None]":
        known = self._asked.get(root)
        if known is not None and not known.done():
            return known
        self._asked = {path: task for path, task in self._asked.items() if not task.done()}
        task = self._asked[root] = asyncio.ensure_future(asyncio.to_thread(_room, root))
        return task


def rooms_of(services: Services) -> Rooms:
    """The rooms of this process."""
    return services.find(Rooms) or services.add(Rooms())


async def check_there(services: Services, tier: Tier) -> None:
    """Raises ``Unavailable`` when its folder is gone, is not mounted, or its disk is silent."""
    found = await rooms_of(services).of([tier.root], seconds=PATIENCE_SECONDS)
    if found[tier.root] is None:
        raise Unavailable(
            f"the tier's folder {shown(tier.root)} is not there, or its disk does not answer",
            hint="is its disk mounted?",
        )
    await patiently(partial(check_mounted, tier))


async def is_there(services: Services, tier: Tier) -> bool:
    """Whether its folder can be used; tells in the log why not."""
    try:
        await check_there(services, tier)
    except Unavailable as error:
        log.warning("tier cannot be used", tier=tier.name, why=error.message)
        return False
    return True


async def check_disk_answers(services: Services, path: bytes) -> None:
    """Raises ``Unavailable`` for a path whose disk says nothing, not even that it is not there."""
    if not await rooms_of(services).answers(path):
        raise _silent(path)


async def patiently(look: Callable[[], T]) -> T:
    """What a function that blocks gives, in a thread. Raises ``Unavailable`` when it takes long."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await asyncio.to_thread(look)
    except TimeoutError:
        raise Unavailable("the disk does not answer", hint="is it mounted?") from None


async def locate(
    services: Services, paths: Sequence[bytes], known: Collection[bytes]
) -> list[tuple[bytes, bytes]]:
    """`located` of each path among the roots of tiers, as long as their disks answer.

    Never to be called in a transaction. Raises what `located` does, and ``Unavailable``.
    """
    for root in {found for path in paths if (found := nearest_root(known, path)) is not None}:
        await check_disk_answers(services, root)
    return await patiently(lambda: [located(path, known) for path in paths])


def _silent(path: bytes) -> Unavailable:
    return Unavailable(f"the disk of {shown(path)} does not answer", hint="is it mounted?")


def used_percent(room: Room) -> float:
    """How full it is."""
    whole = room.used + room.available
    return 100.0 * room.used / whole if whole else 0.0


def _room(root: bytes) -> Room | None:
    try:
        return room_of(root)
    except OSError:
        return None

"""How full the file systems of tiers are, asked without waiting for one that does not answer."""

import asyncio
from collections.abc import Iterable

from holdfast.kernel.services import Services
from holdfast.tiers.service.roots import Room, room_of

LONGEST_WAIT_SECONDS = 1.0


class Rooms:
    """One object a process: a dead mount is asked once, whatever number of pages want to know."""

    def __init__(self) -> None:
        self._asked: dict[bytes, asyncio.Task[Room | None]] = {}

    async def of(self, roots: Iterable[bytes]) -> dict[bytes, Room | None]:
        """The room of each root; None: it is gone, or does not answer."""
        wanted = {root: self._ask(root) for root in roots}
        if wanted:
            await asyncio.wait(wanted.values(), timeout=LONGEST_WAIT_SECONDS)
        return {root: task.result() if task.done() else None for root, task in wanted.items()}

    def _ask(self, root: bytes) -> "asyncio.Task[Room | None]":
        known = self._asked.get(root)
        if known is None or known.done():
            known = asyncio.ensure_future(asyncio.to_thread(_room, root))
            self._asked[root] = known
        return known


def rooms_of(services: Services) -> Rooms:
    """The rooms of this process."""
    return services.find(Rooms) or services.add(Rooms())


def used_percent(room: Room) -> float:
    """How full it is."""
    whole = room.used + room.available
    return 100.0 * room.used / whole if whole else 0.0


def _room(root: bytes) -> Room | None:
    try:
        return room_of(root)
    except OSError:
        return None

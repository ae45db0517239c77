"""The routing flags of one bucket on all its virtual hosts, and the drain of what is in flight."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from holdfast.gateway.flags import Flag, FlagState, RouteFlags, counter_key
from holdfast.kernel.clock import iso_time, now
from holdfast.migrations.gate import Hold, Place

T = TypeVar("T")
FIRST_LOOK_SECONDS = 0.002
LONGEST_LOOK_SECONDS = 0.25
TELL_AFTER_SECONDS = 2.0


class Counters(Protocol):
    """What nginx tells of itself."""

    async def busy(self, counter: str) -> bool:
        """Whether a request is in flight that was counted under this key.

        Raises ``Unavailable``.
        """
        ...

    async def lost_a_worker(self) -> bool:
        """Whether a worker died since the last call: log lines may be missing.

        Raises ``Unavailable``.
        """
        ...

    async def outlive(self, counters: Collection[str]) -> None:
        """Take counters for 0 once every present worker is gone. Raises ``Unavailable``."""
        ...


@dataclass(frozen=True, slots=True)
class Pools:
    """Aliases of the two pools in a flag."""

    source: str
    destination: str


class Switch:
    """Sets the flags; everything blocking runs in a thread."""

    def __init__(
        self, flags: RouteFlags, places: Sequence[Place], pools: Pools, gate_port: int
    ) -> None:
        self.places = tuple(places)
        self._flags, self._pools, self._gate_port = flags, pools, gate_port
        self._turn = asyncio.Lock()

    async def _do(self, action: Callable[[], T]) -> T:
        """In a thread, in turn, to its end: a flag must never be set after a later one."""

        async def in_turn() -> T:
            async with self._turn:
                return await asyncio.to_thread(action)

        return await to_the_end(in_turn())

    def flags(self) -> list[Flag | None]:
        """As they are on disk now, one a virtual host."""
        return [self._flags.get(vhost, bucket) for vhost, bucket in self.places]

    def histories(self) -> list[list[Flag]]:
        """Flags that each virtual host has had, oldest first, to the one that is live."""
        found = []
        for place, live in zip(self.places, self.flags(), strict=True):
            epoch = live.epoch if live else 0
            found.append([f for f in self._flags.history(*place) if f.epoch <= epoch])
        return found

    def is_static(self, *, on_destination: bool) -> bool:
        """Whether every virtual host sends everything to that one pool already."""
        pool = self._pools.destination if on_destination else self._pools.source
        return all(
            flag is not None and flag.state is FlagState.STATIC and flag.pool_alias == pool
            for flag in self.flags()
        )

    def turned(self) -> list[bool]:
        """Which virtual hosts read from the destination, in the order of `places`."""
        return [
            flag is not None and flag.state in {FlagState.HOLDD, FlagState.DST}
            for flag in self.flags()
        ]

    async def set(self, state: FlagState, *, on_destination: bool = False) -> None:
        """Switch every virtual host to a new epoch of ``state``.

        Live and durable when this returns.

        ``on_destination`` chooses the pool of a static flag. Raises ``OSError``: then some may be
        switched.
        """
        states = [state] * len(self.places)
        await self._do(lambda: self._set(states, on_destination=on_destination))

    async def renew(self) -> bool:
        """Begin a new epoch of ``src``, if that is the state everywhere; tells whether it was."""

        def renew() -> bool:
            if any(flag is None or flag.state is not FlagState.SRC for flag in self.flags()):
                return False
            self._set([FlagState.SRC] * len(self.places), on_destination=False)
            return True

        return await self._do(renew)

    async def set_each(self, states: Sequence[FlagState]) -> None:
        """Switch each virtual host to a state of its own, in the order of `places`."""
        await self._do(lambda: self._set(states, on_destination=False))

    def _set(self, states: Sequence[FlagState], *, on_destination: bool) -> None:
        new = []
        for (vhost, bucket), state in zip(self.places, states, strict=True):
            epoch = self._flags.next_epoch(vhost, bucket)
            new.append((vhost, bucket, self._flag(epoch, state, on_destination=on_destination)))
        if len(new) == 1:
            self._flags.set_flag(*new[0])
        else:
            self._flags.set_many(new)

    def _flag(self, epoch: int, state: FlagState, *, on_destination: bool) -> Flag:
        pools = self._pools
        if state is FlagState.STATIC:
            pool = pools.destination if on_destination else pools.source
            return Flag(epoch=epoch, state=state, pool_alias=pool)
        port = None if state is FlagState.SRC else self._gate_port
        return Flag(
            epoch=epoch,
            state=state,
            pool_alias=pools.source,
            target_alias=pools.destination,
            gate_port=port,
        )

    def older_counters(self, *, with_current: bool = False) -> list[str]:
        """Counters of every epoch before the one that is live, and (if asked for) of that one."""
        found: list[str] = []
        for vhost, bucket in self.places:
            current = self._flags.get(vhost, bucket)
            epoch = current.epoch if current else 0
            found.extend(self._flags.counter_keys(vhost, bucket, before=epoch))
            if with_current and current:
                found.append(counter_key(vhost, bucket, current))
        return found

    async def pin(self, uploads: Sequence[str]) -> None:
        """Keep these uploads (percent-encoded ids) on the source, on every virtual host."""
        await self._do(lambda: self._pin(uploads))

    def _pin(self, uploads: Sequence[str]) -> None:
        for vhost, bucket in self.places:
            for upload in uploads:
                self._flags.pin(vhost, bucket, upload)

    async def unpin(self, uploads: Sequence[str]) -> None:
        """These uploads have ended."""

        def unpin() -> None:
            for vhost, bucket in self.places:
                for upload in uploads:
                    self._flags.unpin(vhost, bucket, upload)

        await self._do(unpin)

    async def unpin_all(self) -> None:
        """No upload is kept on the source any more."""

        def unpin() -> None:
            for vhost, bucket in self.places:
                self._flags.unpin_all(vhost, bucket)

        await self._do(unpin)

    def pins(self) -> frozenset[str]:
        """Uploads kept on the source on any virtual host, percent-encoded."""
        return frozenset().union(*(self._flags.pins(*place) for place in self.places))

    async def prune(self) -> None:
        """Forget the epochs of the past; call it when their counters are 0."""

        def prune() -> None:
            for vhost, bucket in self.places:
                current = self._flags.get(vhost, bucket)
                if current is not None:
                    self._flags.prune(vhost, bucket, below=current.epoch)

        await self._do(prune)


async def drain_in_hold(counters: Counters, hold: Hold, keys: Sequence[str]) -> None:
    """Return when nothing is in flight under ``keys``, and nothing can be any more.

    Later ones wait at the gate.
    """
    left = list(keys)
    pause = FIRST_LOOK_SECONDS
    while True:
        busy = []
        for key in left:
            hold.close_for(key)
            if await counters.busy(key):
                hold.open_for(key)
                busy.append(key)
        if not busy:
            return
        left = busy
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.02)


async def first_busy(counters: Counters, keys: Sequence[str]) -> str | None:
    """A counter that is not 0 now, or None."""
    for key in keys:
        if await counters.busy(key):
            return key
    return None


async def drained(
    counters: Counters, keys: Sequence[str], tell: Callable[[str], Awaitable[None]]
) -> None:
    """Return when every counter was seen at 0 once; nobody waits for it but us.

    ``tell`` is called once with what is waited for, when it takes long.
    """
    left = list(keys)
    since, started = iso_time(now()), time.monotonic()
    told = False
    pause = FIRST_LOOK_SECONDS
    while True:
        left = [key for key in left if await counters.busy(key)]
        if not left:
            return
        if not told and time.monotonic() - started > TELL_AFTER_SECONDS:
            told = True
            await tell(f"waiting for an upload running since {since} or earlier")
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_LOOK_SECONDS)


async def to_the_end(action: Awaitable[T]) -> T:
    """Finish it even when cancelled meanwhile; the cancellation is raised afterwards."""
    task: asyncio.Future[T] = asyncio.ensure_future(action)
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
    if interrupted is not None:
        if not task.cancelled():
            task.exception()
        raise interrupted
    return task.result()


async def together(*actions: Awaitable[Any]) -> None:
    """Do them at once; the first failure ends the others and is raised itself."""
    if not actions:
        return
    tasks = [asyncio.ensure_future(action) for action in actions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

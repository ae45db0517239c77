"""A short pause of the writes of buckets that are not moved: see `holdfast.gateway.leaving`."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from holdfast.gateway.flags import Flag, FlagState, RouteFlags
from holdfast.migrations.gate import Gate, Hold, Place
from holdfast.migrations.switch import Counters, drain_in_hold, to_the_end
from holdfast.migrations.watch import NginxWatch


class WriteHold:
    """Implements ``holdfast.gateway.ports.WriteHold``.

    When this process dies in between, the gate is refused and nginx lets writes go to the pool that
    the flag names first, where they went before.
    """

    def __init__(self, nginx_root: Path, flags: RouteFlags) -> None:
        self._flags = flags
        self._counters: Counters = NginxWatch(nginx_root)
        self._opened = AsyncExitStack()
        self._gate: Gate | None = None
        self._places: set[Place] = set()

    async def begin(self, pools: Mapping[Place, tuple[str, str]]) -> None:
        """Return when nothing is on its way into these buckets, and later writes wait.

        ``pools``: for each the alias of its pool and of the one that it may go to. Raises
        ``Unavailable`` when nginx does not tell what is on its way, and ``OSError``.
        """
        if self._gate is None:
            self._gate = await self._opened.enter_async_context(Gate())
        port = self._gate.port
        flags: list[tuple[str, str, Flag]] = []
        counters: list[str] = []
        for place, (source, target) in pools.items():
            epoch = self._flags.next_epoch(*place)
            counters += self._flags.counter_keys(*place, before=epoch)
            flag = Flag(
                epoch=epoch,
                state=FlagState.HOLD,
                pool_alias=source,
                target_alias=target,
                gate_port=port,
            )
            flags.append((*place, flag))
        hold = Hold(counters)
        self._places |= set(pools)
        self._gate.close(pools, hold)
        await to_the_end(asyncio.to_thread(self._flags.set_many, flags))
        await drain_in_hold(self._counters, hold, counters)

    async def end(self) -> None:
        """Let the writes go; call it when the flags are what they shall be."""
        if self._gate is not None:
            self._gate.open(self._places)
            self._gate = None
            await self._opened.aclose()

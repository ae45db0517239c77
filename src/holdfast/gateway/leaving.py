"""A bucket that changes pools without a move has nothing on the pool that it leaves.

It was looked at before the transaction; a write may have come since, or be on its way. So writes
wait for a moment: none is on its way any more, it is looked at once more, the flag changes, and
those that wait go to the new pool.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from holdfast.gateway.context import Gateway
from holdfast.gateway.flag_change import FlagChange, Place
from holdfast.gateway.ports import WriteHold
from holdfast.gateway.render_model import pool_alias
from holdfast.kernel.errors import Conflict
from holdfast.kernel.work import Work


class Left(Protocol):
    """The pool that a bucket leaves, asked outside of the database."""

    @property
    def pool_name(self) -> str:
        """As it was called when it was asked first."""
        ...

    async def has_something(self) -> bool:
        """Whether it has objects or unfinished uploads of the bucket."""
        ...


@dataclass(frozen=True, slots=True)
class Leaving:
    """The buckets of one change that leave a pool for which they must be empty."""

    flags: FlagChange
    left: Mapping[Place, Left]
    hold: WriteHold
    limit_seconds: float

    async def prove(self, which: Callable[[Place], bool]) -> None:
        """Return when these buckets are empty and stay so until the transaction has ended.

        Raises ``Conflict`` when one is not, or when a write to it lasts too long.
        """
        left = {place: left for place, left in self.left.items() if which(place)}
        if not left:
            return
        pools = {p: (pool_alias(left[p].pool_name), self.flags.wanted[p]) for p in left}
        if any(
            before and before.serving_alias != pools[p][0]
            for p in left
            if (before := self.flags.before[p])
        ):
            raise Conflict(
                f"the route of bucket {_names(left)} was changed meanwhile: nothing was changed",
                hint="look at it, and send it again",
            )
        try:
            async with asyncio.timeout(self.limit_seconds):
                await self.hold.begin(pools)
                found = await asyncio.gather(*(one.has_something() for one in left.values()))
        except TimeoutError:
            raise Conflict(
                f"a write to bucket {_names(left)} did not end within {self.limit_seconds:g} s, "
                "and the new pool would hide its object: nothing was changed",
                hint="send it again when the upload is over, or send allow_orphan",
            ) from None
        if any(found):
            raise Conflict(
                f"bucket {_names(left)} was empty a moment ago and is not now: nothing was changed",
                hint="send it again",
            )


async def plan_leaving(
    work: Work, gateway: Gateway, flags: FlagChange, left: Mapping[Place, Left]
) -> Leaving | None:
    """What must be proved before these flags change; None: nothing, or nginx serves nobody."""
    port = gateway.ports.migrations
    asked = {place: pool for place, pool in left.items() if place in flags.wanted}
    if port is None or not asked or not (await gateway.nginx.status()).live:
        return None
    hold = port.write_hold()
    work.on_rollback(hold.end)
    work.after_commit(hold.end)
    return Leaving(flags, asked, hold, gateway.settings.migration_max_hold_seconds)


def _names(left: Mapping[Place, Left]) -> str:
    return ", ".join(sorted({repr(bucket) for _, bucket in left}))

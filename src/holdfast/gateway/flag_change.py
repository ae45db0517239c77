"""The routing flags that a transaction changes, with the way back."""

import asyncio
import dataclasses
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.flags import Flag, FlagState, RouteFlags
from holdfast.gateway.render_model import pool_alias

_FEW = 1
Place = tuple[str, str]
"""Vhost and bucket."""


@dataclass(slots=True)
class FlagChange:
    """Flags to set and to remove; empty when the disk says already what the rows say."""

    flags: RouteFlags
    wanted: dict[Place, str] = field(default_factory=dict)
    """The alias of the pool that each bucket goes to."""
    removed: set[Place] = field(default_factory=set)
    before: dict[Place, Flag | None] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    """Vhosts that had no flag ever before."""

    def __bool__(self) -> bool:
        return bool(self.wanted or self.removed)

    @property
    def sends_elsewhere(self) -> bool:
        """Whether any of these buckets goes to another pool than before."""
        flags = ((self.before[place], alias) for place, alias in self.wanted.items())
        moved = (flag is None or flag.serving_alias != alias for flag, alias in flags)
        return bool(self.removed) or any(moved)

    def changes_later(self, early: Collection[Place]) -> bool:
        """Whether any that is there already changes, besides those that change ``early``."""
        return any(flag is not None and place not in early for place, flag in self.before.items())

    @classmethod
    async def plan(
        cls,
        session: AsyncSession,
        gateway: Gateway,
        places: Collection[Place],
        vhosts: Collection[str],
    ) -> Self:
        """Compare rows with flags, for these places and for every bucket of these vhosts."""
        change = cls(gateway.flags)
        if not (places or vhosts):
            return change
        known = await _rows(session, places, vhosts)
        looked_at = set(places) | {(route.vhost, route.bucket) for route in known}
        for vhost in vhosts:
            looked_at |= {(vhost, bucket) for _, bucket, _ in gateway.flags.list(vhost)}
        routed = {(route.vhost, route.bucket): route for route in known}
        for place in looked_at:
            change._compare(place, routed.get(place))
        return change

    def _compare(self, place: Place, route: "queries.RoutedBucket | None") -> None:
        now = self.flags.get(*place)
        if route is None:
            if now is not None:
                self.removed.add(place)
                self.before[place] = now
            return
        if now is not None and route.migration_id is not None:
            return  # the migration writes it, and knows better than the row: the flag is its truth
        in_hand = now is not None and now.state is not FlagState.STATIC
        if now is None or in_hand or now.pool_alias != pool_alias(route.pool):
            self.wanted[place] = pool_alias(route.pool)
            self.before[place] = now

    async def remove(self, which: Callable[[Place], bool]) -> None:
        """Take some flags away: these buckets fall to the default pool at once."""
        places = [place for place in self.removed if which(place)]
        await _run(lambda: self._remove_all(places), len(places))

    async def set(self, which: Callable[[Place], bool]) -> None:
        """Set some flags: live for the next request."""
        wanted = {place: alias for place, alias in self.wanted.items() if which(place)}
        await _run(lambda: self._set_all(wanted), len(wanted))

    async def undo(self) -> None:
        """Put back what was there; epochs go on. The second time there is nothing left to do."""
        await _run(self._undo_all, len(self.before))

    def _remove_all(self, places: Collection[Place]) -> None:
        for place in places:
            self.flags.remove(*place)

    def _set_all(self, wanted: Mapping[Place, str]) -> None:
        self.made |= {vhost for vhost, _ in wanted if not (self.flags.root / vhost).exists()}
        flags = [(*place, self._static(place, alias)) for place, alias in wanted.items()]
        if len(flags) == 1:
            self.flags.set_flag(*flags[0])
        else:
            self.flags.set_many(flags)

    def _static(self, place: Place, alias: str) -> Flag:
        epoch = self.flags.next_epoch(*place)
        return Flag(epoch=epoch, state=FlagState.STATIC, pool_alias=alias)

    def _undo_all(self) -> None:
        for place, flag in self.before.items():
            if self.flags.get(*place) == flag:
                continue
            if flag is None:
                self.flags.remove(*place)
            else:
                epoch = self.flags.next_epoch(*place)
                self.flags.set_flag(*place, dataclasses.replace(flag, epoch=epoch))
        for vhost in self.made:
            shutil.rmtree(self.flags.root / vhost, ignore_errors=True)
        self.before, self.made = {}, set()


async def _rows(
    session: AsyncSession, places: Collection[Place], vhosts: Collection[str]
) -> list["queries.RoutedBucket"]:
    found = await queries.routed_buckets(session, vhosts=vhosts) if vhosts else []
    if places:
        narrow = await queries.routed_buckets(
            session,
            vhosts={vhost for vhost, _ in places},
            buckets={bucket for _, bucket in places},
        )
        found += [route for route in narrow if (route.vhost, route.bucket) in places]
    return found


async def _run(function: Callable[[], None], size: int) -> None:
    """One flag takes less than a thread; many would hold up everybody else."""
    if size > _FEW:
        await asyncio.to_thread(function)
    elif size:
        function()

"""After a machine died between two renames.

Some virtual hosts serve the destination, others the source.

Both sides were equal before the first of them turned. So what is missing on the destination is what
was written since through the others, and the dirty log names it: writes wait on all, these keys are
copied, and all turn.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdfast.gateway.flags import Flag, FlagState, counter_key
from holdfast.migrations.gate import Hold
from holdfast.migrations.move import Hopeless, Parts, failed_keys
from holdfast.migrations.switch import drain_in_hold

if TYPE_CHECKING:
    from holdfast.migrations.dirtylog import Change

MEND_SECONDS = 50.0
"""Writes that wait longer than nginx lets them are asked to come again."""


class Mend:
    """Brings every virtual host to the destination; call `run` again when it fails."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._counters: set[str] = set()
        """Of mutations that may have gone to the source since the first virtual host turned."""
        self._copied: Counter[Change] = Counter()

    async def run(self) -> None:
        """Return when every virtual host serves the destination.

        Raises as copying does: then writes go on where each virtual host's flag sends them.
        """
        parts = self._parts
        switch = parts.switch
        behind = [is_behind(flag, parts.move.destination.alias) for flag in switch.flags()]
        for place, history, late in zip(switch.places, switch.histories(), behind, strict=True):
            if late:
                self._counters |= {counter_key(*place, flag) for flag in written_under(history)}
        hold = Hold(switch.older_counters(with_current=True))
        parts.nginx.gate.close(switch.places, hold)
        try:
            async with asyncio.timeout(MEND_SECONDS):
                await switch.set_each(
                    [FlagState.HOLD if late else FlagState.HOLDD for late in behind]
                )
                await drain_in_hold(parts.nginx.counters, hold, switch.older_counters())
                await self._copy()
                await self._pin()
                await switch.set(FlagState.HOLDD)
                parts.nginx.gate.relay(switch.places, parts.completer.answer)
                await switch.set(FlagState.DST)
        finally:
            parts.nginx.gate.open(switch.places)

    async def _copy(self) -> None:
        """What was copied by an earlier try is not copied again: the destination may be newer."""
        parts = self._parts
        logged = Counter(await parts.nginx.log.changes_under(self._counters))
        missing = logged - self._copied
        for change in missing:
            if change.unclear:
                await parts.report.note(
                    f"look yourself at what was written meanwhile: {change.unclear}"
                )
        report = await parts.copier.sync_many({key for change in missing for key in change.keys})
        for change, times in missing.items():
            if report.failed.keys().isdisjoint(change.keys):
                self._copied[change] += times
        if report.failed:
            raise Hopeless(failed_keys(report.failed))

    async def _pin(self) -> None:
        parts = self._parts
        uploads = [
            quote(upload.upload_id, safe="-_.~")
            async for page in parts.source.list_uploads(parts.move.bucket)
            for upload in page
        ]
        await parts.switch.pin(uploads)


def written_under(history: Sequence[Flag]) -> list[Flag]:
    """Flags of a virtual host that stayed behind, since both sides were proved equal.

    ``history``: to the one that is live. Both were equal in its last hold, which holds of earlier
    tries to mend may have followed, or a step back that was not made everywhere.
    """
    found: list[Flag] = []
    held = False
    for flag in reversed(history):
        if flag.state in {FlagState.HOLDD, FlagState.DST}:
            continue  # made, but the disk failed before it was live
        if flag.state is FlagState.STATIC or (held and flag.state is FlagState.SRC):
            break
        held = held or flag.state is FlagState.HOLD
        found.append(flag)
    return found


def is_behind(flag: Flag | None, destination: str) -> bool:
    """Whether this virtual host still serves the source."""
    if flag is None:
        return True
    if flag.state is FlagState.STATIC:
        return flag.pool_alias != destination
    return flag.state not in {FlagState.HOLDD, FlagState.DST}

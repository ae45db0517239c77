"""After a machine died between two renames.

Some virtual hosts serve the destination, others the source.

Both sides were equal before the first of them turned. So what is missing on the destination is what
was written since through the others, and the dirty log names it: writes wait on all, these keys are
copied, and all turn.
"""

import asyncio
from urllib.parse import quote

from holdfast.gateway.flags import Flag, FlagState, counter_key
from holdfast.migrations.gate import Hold
from holdfast.migrations.move import Hopeless, Parts, failed_keys
from holdfast.migrations.switch import drain_in_hold

MEND_SECONDS = 50.0
"""Shorter than nginx lets a write wait at the gate."""


async def bring_all_over(parts: Parts) -> None:
    """Return when every virtual host serves the destination.

    Raises as copying does: then nothing has changed.
    """
    switch = parts.switch
    flags = switch.flags()
    behind = [is_behind(flag, parts.move.destination.alias) for flag in flags]
    counters = [
        counter_key(vhost, bucket, flag)
        for (vhost, bucket), flag, late in zip(switch.places, flags, behind, strict=True)
        if late
    ]
    hold = Hold(switch.older_counters(with_current=True))
    parts.nginx.gate.close(switch.places, hold)
    try:
        async with asyncio.timeout(MEND_SECONDS):
            await switch.set_each([FlagState.HOLD if late else FlagState.HOLDD for late in behind])
            await drain_in_hold(parts.nginx.counters, hold, switch.older_counters())
            await _copy(parts, counters)
            await switch.set(FlagState.HOLDD)
            parts.nginx.gate.relay(switch.places, parts.completer.answer)
            await switch.set(FlagState.DST)
    finally:
        parts.nginx.gate.open(switch.places)


async def _copy(parts: Parts, counters: list[str]) -> None:
    changes = await parts.nginx.log.changes_under(counters)
    keys = {key for change in changes for key in change.keys}
    for change in changes:
        if change.unclear:
            await parts.report.note(
                f"look yourself at what was written meanwhile: {change.unclear}"
            )
    report = await parts.copier.sync_many(keys)
    if report.failed:
        raise Hopeless(failed_keys(report.failed))
    uploads = [
        quote(upload.upload_id, safe="-_.~")
        async for page in parts.source.list_uploads(parts.move.bucket)
        for upload in page
    ]
    await parts.switch.pin(uploads)


def is_behind(flag: Flag | None, destination: str) -> bool:
    """Whether this virtual host still serves the source."""
    if flag is None:
        return True
    if flag.state is FlagState.STATIC:
        return flag.pool_alias != destination
    return flag.state not in {FlagState.HOLDD, FlagState.DST}

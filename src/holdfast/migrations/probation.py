"""After the switch.

Uploads that were begun on the source end there, through the helper, until none is left.
"""

import time
from dataclasses import dataclass
from urllib.parse import quote, unquote

from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.migrations.model import probation_is_over
from holdfast.migrations.move import Parts
from holdfast.migrations.patience import patiently, pause

FIRST_LOOK_SECONDS = 0.1
LONGEST_LOOK_SECONDS = 15.0


@dataclass(slots=True)
class _Seen:
    parts: tuple[int, int]
    changed_at: float


class Probation:
    """Watches the pinned uploads of a bucket."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._seen: dict[str, _Seen] = {}
        self._last_live = time.monotonic()

    async def run(self) -> None:
        """Return when nothing needs the source any more."""
        parts = self._parts
        pinned = parts.switch.pins()
        had_pins = bool(pinned)
        look = FIRST_LOOK_SECONDS
        longest = min(LONGEST_LOOK_SECONDS, parts.move.options.upload_idle_seconds / 4)
        if pinned:
            await parts.report.note(f"waiting for {len(pinned)} uploads begun before the switch")
        while True:
            live = await self._live(pinned) if pinned else set()
            moment = time.monotonic()
            if live or parts.completer.in_flight:
                self._last_live = moment
            quiet = moment - max(self._last_live, parts.completer.last_seen)
            wanted = parts.move.options.probation_seconds
            if probation_is_over(
                had_pins=had_pins, live=len(live), quiet_seconds=quiet, wanted_seconds=wanted
            ):
                return
            pinned = frozenset(live)
            await pause(parts.report, look, cancellable=False)
            look = min(2 * look, longest) if live else FIRST_LOOK_SECONDS

    async def _live(self, pinned: frozenset[str]) -> set[str]:
        """Pinned uploads that somebody still works on."""
        parts = self._parts

        async def look() -> dict[str, str]:
            return {
                quote(upload.upload_id, safe="-_.~"): upload.key
                async for page in parts.source.list_uploads(parts.move.bucket)
                for upload in page
            }

        there = await patiently(
            parts.report, parts.move.options.give_up_after_seconds, look, cancellable=False
        )
        return {upload for upload in pinned & there.keys() if await self._moves(upload, there)}

    async def _moves(self, upload: str, there: dict[str, str]) -> bool:
        now = time.monotonic()
        parts = await self._parts_of(there[upload], unquote(upload))
        seen = self._seen.get(upload)
        if seen is None or seen.parts != parts:
            self._seen[upload] = _Seen(parts, now)
            return True
        if now - seen.changed_at < self._parts.move.options.upload_idle_seconds:
            return True
        await self._parts.report.note(
            f"an upload of {there[upload]!r} has been idle for long: it is left on the source"
        )
        return False

    async def _parts_of(self, key: str, upload: str) -> tuple[int, int]:
        """Number and size of the parts so far; the same as before when they cannot be told."""
        try:
            found = await self._parts.source.list_parts(self._parts.move.bucket, key, upload)
        except S3Error:
            return (0, 0)
        except AppError:
            return (-1, 0)
        return (len(found), sum(part.size_bytes for part in found))

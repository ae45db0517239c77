"""The switch: writes wait, what is in flight drains, the last keys are copied, the flags turn.

Or it steps back.

Nothing but the flags on disk says who serves, so nothing is written to the database while a hold is
open.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

from holdfast.gateway.flags import FlagState
from holdfast.kernel.clock import iso_time, now
from holdfast.kernel.errors import AppError
from holdfast.kernel.logging import get_logger
from holdfast.migrations.canary import Canary
from holdfast.migrations.copying import LOOK_SECONDS, Copying
from holdfast.migrations.gate import Hold
from holdfast.migrations.model import SWITCHED, HoldAttempt, Stage, backoff_seconds
from holdfast.migrations.move import Cancelled, Entrance, Parts, failed_keys
from holdfast.migrations.patience import pause, worded
from holdfast.migrations.switch import drain_in_hold, drained, first_busy, to_the_end, together

MAX_PINS = 10_000
_DRAIN = "the drain"
_UPLOAD = "waiting for an upload running since before the hold"
_NO_COUNTERS = "nginx did not answer on its control port"
log = get_logger(__name__)


class StepBack(Exception):
    """The attempt is over; writes go on at the source."""


@dataclass(slots=True)
class _Attempt:
    dirty_keys: int = 0
    pins: int = 0
    committed: bool = False
    hindrances: list[str] = field(default_factory=list)
    """What is not over yet, in words: why the attempt took too long when it does."""

    @contextmanager
    def hindered_by(self, words: str) -> Iterator[None]:
        """Take these words for the reason while the block runs, and when it fails."""
        self.hindrances.append(words)
        yield
        self.hindrances.remove(words)


class Cutover:
    """Tries to switch until it succeeds or somebody wants the end."""

    def __init__(self, parts: Parts, copying: Copying, canary: Canary | None) -> None:
        self._parts, self._copying, self._canary = parts, copying, canary

    async def run(self) -> None:
        """Return when every virtual host has the flag ``dst``.

        Raises `Cancelled` while the source serves.
        """
        parts = self._parts
        await parts.report.stage(Stage.CUTOVER, "both sides agree; switching")
        for warning in warnings_of(parts):
            await parts.report.warn(warning)
        number = 0
        while True:
            parts.check_cancelled()
            await self._leave_old_hold()
            await self._let_long_uploads_end()
            if not self._copying.ready():
                await self._copying.converge()
                continue
            number += 1
            if await self._attempt(number):
                return
            await pause(parts.report, backoff_seconds(number))
            await self._copying.converge()

    async def _leave_old_hold(self) -> None:
        """A flag that a full disk kept: after a crash it would look like part of the next hold.

        What was written under it since is copied; see `Mend`.
        """
        switch = self._parts.switch
        if any(flag is not None and flag.state is FlagState.HOLD for flag in switch.flags()):
            await switch.set(FlagState.SRC)
            await switch.unpin_all()

    async def _let_long_uploads_end(self) -> None:
        """Never hold for what cannot drain.

        Turn to a new epoch and let everything before it end by itself.
        """
        parts = self._parts
        counters = parts.switch.older_counters(with_current=True)
        if await first_busy(parts.nginx.counters, counters) is None:
            return
        await parts.switch.set(FlagState.SRC)
        async with self._copying.watched():
            await drained(parts.nginx.counters, counters, parts.report.note)

    async def _attempt(self, number: int) -> bool:
        parts, attempt = self._parts, _Attempt()
        hold = Hold(parts.switch.older_counters(with_current=True))
        started_at, started = iso_time(now()) or "", time.monotonic()
        parts.report.holding(is_open=True)
        parts.nginx.gate.close(parts.move.places, hold)
        result = SWITCHED
        try:
            async with asyncio.timeout(parts.move.options.max_hold_seconds):
                await self._hold(hold, attempt)
            await self._commit(attempt)
        except TimeoutError:
            result = self._why_too_long(hold, attempt)
        except StepBack as reason:
            result = str(reason)
        except Cancelled:
            result = "cancelled"
        except (AppError, OSError) as error:
            result = worded(error)
        finally:
            try:
                if not attempt.committed:
                    await to_the_end(self._step_back(attempt))
            finally:
                parts.nginx.gate.open(parts.move.places)
                parts.report.holding(is_open=False)
        seconds = time.monotonic() - started
        await self._tell(
            HoldAttempt(
                number=number,
                started_at=started_at,
                seconds=round(seconds, 3),
                dirty_keys=attempt.dirty_keys,
                pinned_uploads=attempt.pins,
                held_requests=hold.held_requests,
                result=result,
            )
        )
        return attempt.committed

    async def _tell(self, attempt: HoldAttempt) -> None:
        """Never fails: after the switch that would be taken for a failure before it."""
        try:
            await self._parts.report.held(attempt)
        except (AppError, OSError) as error:
            log.warning("an attempt at the switch was not recorded", error=worded(error))

    async def _hold(self, hold: Hold, attempt: _Attempt) -> None:
        """Everything between closing the gate and proving that both sides are equal."""
        parts = self._parts
        with attempt.hindered_by("the routing flag could not be set"):
            await parts.switch.set(FlagState.HOLD)
        await together(self._reach_gate(hold, attempt), self._drain(hold, attempt))
        with attempt.hindered_by("the dirty log could not be read"):
            await parts.nginx.log.read()
        with attempt.hindered_by("the last keys were not copied"):
            await self._last_keys(attempt)
        with attempt.hindered_by("the source did not list its uploads"):
            await self._pin_uploads(attempt)
        if parts.dirty.owed:
            raise StepBack(f"a full pass is owed: {parts.dirty.owed}")
        # Whoever cancels before this is written is heard; after it he is told that it is too late.
        await parts.report.stage(Stage.COMMIT, "")
        parts.check_cancelled()

    async def _drain(self, hold: Hold, attempt: _Attempt) -> None:
        parts = self._parts
        with attempt.hindered_by(_DRAIN):
            await drain_in_hold(parts.nginx.counters, hold, parts.switch.older_counters())

    async def _reach_gate(self, hold: Hold, attempt: _Attempt) -> None:
        """A write through each virtual host must arrive at our gate.

        Else nginx would let writes pass the hold.
        """
        canary = self._canary
        if canary is None:
            return

        async def knock(entrance: Entrance) -> None:
            with attempt.hindered_by(f"nginx did not ask at the gate for {entrance.name}"):
                await canary.knock(entrance, hold.seen(entrance.name))

        await together(*map(knock, self._parts.move.entrances))

    async def _last_keys(self, attempt: _Attempt) -> None:
        parts = self._parts
        keys = parts.dirty.take()
        attempt.dirty_keys = len(keys)
        try:
            report = await parts.copier.sync_many(keys) if keys else None
        except BaseException:
            parts.dirty.put_back(keys)
            raise
        if report and report.failed:
            parts.dirty.put_back(report.failed)
            raise StepBack(failed_keys(report.failed))
        if parts.copier.totals.uncertain_keys:
            raise StepBack("the destination did not answer to a write")

    async def _pin_uploads(self, attempt: _Attempt) -> None:
        parts = self._parts
        uploads = [
            upload.upload_id
            async for page in parts.source.list_uploads(parts.move.bucket)
            for upload in page
        ]
        if len(uploads) > MAX_PINS:
            raise StepBack(f"{len(uploads)} uploads are open on the source; {MAX_PINS} can be kept")
        await parts.switch.pin([quote(upload, safe="-_.~") for upload in uploads])
        attempt.pins = len(uploads)

    async def _commit(self, attempt: _Attempt) -> None:
        """Reads turn on every virtual host.

        Only then may a write reach the destination on any of them.
        """
        parts = self._parts
        await parts.switch.set(FlagState.HOLDD)
        self._let_go_on_destination(attempt)
        try:
            await parts.switch.set(FlagState.DST)
        except OSError as error:
            # Open gate and holdd mean the destination, so writes go on; the flag is set as soon as
            # it can be.
            log.warning("the flag could not be set yet", error=worded(error))

    def _let_go_on_destination(self, attempt: _Attempt) -> None:
        parts = self._parts
        attempt.committed = True
        parts.completer.switched_at = time.monotonic()
        parts.nginx.gate.relay(parts.move.places, parts.completer.answer)

    async def _step_back(self, attempt: _Attempt) -> None:
        """Return when the gate may be opened: every virtual host writes to the same pool then.

        That is the destination when all flags turned, though the disk failed at the last moment.
        """
        parts = self._parts
        while True:
            try:
                await parts.switch.set(FlagState.SRC)
                await parts.switch.unpin_all()
            except OSError as error:
                # An open gate and hold mean the source, counted and logged: safe until the next
                # try sets a flag.
                log.warning("the hold's flag stays for now", error=worded(error))
            else:
                return
            turned = parts.switch.turned()
            if all(turned):
                self._let_go_on_destination(attempt)
            if all(turned) or not any(turned):
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _why_too_long(self, hold: Hold, attempt: _Attempt) -> str:
        limit = self._parts.move.options.max_hold_seconds
        drain = _UPLOAD if hold.seen_busy else _NO_COUNTERS
        words = [drain if words == _DRAIN else words for words in attempt.hindrances]
        return f"{'; '.join(words)} (within {limit:g} s)"


def warnings_of(parts: Parts) -> list[str]:
    """What clients may notice after the switch, as far as the copy has shown it."""
    totals = parts.copier.totals
    found = [
        f"the destination does not keep the header {header} (for example of {key!r})"
        for header, key in sorted(totals.headers_lost.items())
    ]
    if totals.tagged_key:
        found.append(f"tags of objects are not moved (for example of {totals.tagged_key!r})")
    if totals.layout_unknown:
        found.append(
            f"{len(totals.layout_unknown)} objects get another ETag: their part layout is unknown "
            f"(for example {totals.layout_unknown[0]!r})"
        )
    for way, names in (
        ("from", parts.dirty.foreign_sources),
        ("into", parts.dirty.foreign_targets),
    ):
        found.extend(
            f"clients copy {way} bucket {name!r}: that is refused (501) unless both are on one pool"
            for name in sorted(names)
        )
    return found

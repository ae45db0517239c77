"""Copy, then rounds over what clients change meanwhile, until both sides are nearly equal."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

from holdfast.kernel.errors import AppError, Unavailable
from holdfast.migrations.compare import Comparison
from holdfast.migrations.contents import compare_contents
from holdfast.migrations.copier_model import SyncReport
from holdfast.migrations.dirtylog_room import FULL
from holdfast.migrations.model import Verify, may_hold, seconds_per_key
from holdfast.migrations.move import Amounts, Hopeless, Parts, failed_keys
from holdfast.migrations.patience import pause
from holdfast.migrations.preflight import check_tokens, refuse
from holdfast.migrations.switch import drained, first_busy

SETTLE_SECONDS = 1.0
"""What a dead copier had sent has arrived or is lost after this."""
LOOK_SECONDS = 0.2
MOST_REFUSALS = 3
SLOW_ROUNDS = 20
"""After so many rounds that do not get shorter, clients write faster than is copied."""


class Copying:
    """Makes the destination equal to the source while the source is written to."""

    def __init__(self, parts: Parts, comparison: Comparison) -> None:
        self._parts, self._comparison = parts, comparison
        self._passes = 0
        self._last_differed = 0
        self._refusals = 0

    async def first_pass(self) -> None:
        """Copy everything, then make sure that nothing begun before the tracking is missed.

        The pass counts only when every mutation that nobody logged (B1) was over before it began.
        """
        parts = self._parts
        untracked = parts.switch.older_counters()
        quiet = await first_busy(parts.nginx.counters, untracked) is None
        await self.full_pass()
        if not quiet:
            async with self.watched():
                await drained(parts.nginx.counters, untracked, parts.report.note)
            parts.dirty.owe("writes begun before the tracking are over only now")

    async def verify(self) -> None:
        """See that both sides are equal, but for what clients change meanwhile."""
        if self._last_differed:
            await self.full_pass()
        await check_tokens(self._parts)
        if self._parts.move.options.verify is Verify.HASH:
            async with self.watched():
                await compare_contents(self._parts)

    async def full_pass(self) -> None:
        """Compare both listings and make equal what differs."""
        parts = self._parts
        if self._passes >= parts.move.options.max_copy_passes:
            raise Hopeless(
                f"both sides are not equal after {self._passes} full passes",
                hint="look for objects that cannot be copied in the migration's log",
            )
        await parts.nginx.log.read()
        if parts.nginx.log.full:
            raise Unavailable(FULL, hint="make room on it; the move goes on then")
        if parts.dirty.owed:
            await parts.report.note(f"full pass: {parts.dirty.owed}")
        owed = parts.dirty.owed or "the last full pass did not end"
        parts.dirty.settle()
        try:
            await self._compare_and_copy()
        except BaseException:
            parts.dirty.owe(owed)
            raise
        self._passes += 1

    async def _compare_and_copy(self) -> None:
        parts = self._parts
        async with self.watched():
            found = await parts.copier.compare()
            totals = parts.copier.totals
            parts.tell_amounts(
                Amounts(
                    objects_total=found.source.objects,
                    bytes_total=found.source.size_bytes,
                    objects_done=found.source.objects
                    - found.to_copy.objects
                    - totals.objects_copied
                    - totals.objects_same,
                    bytes_done=found.source.size_bytes
                    - found.to_copy.size_bytes
                    - totals.bytes_copied,
                )
            )
            self._last_differed = found.to_copy.objects + found.to_delete.objects
            report = await parts.copier.sync_many(self._different())
        if report.failed:
            parts.dirty.owe("some objects could not be copied")
            await self._failed(report)

    async def converge(self) -> None:
        """Rounds until the last one is predicted to be short, and nothing but it is owed."""
        parts = self._parts
        for number in range(10**9):
            parts.check_cancelled()
            await parts.nginx.log.read()
            if parts.dirty.owed:
                await self.full_pass()
                continue
            await self._forget_uncertain()
            if self.ready() and (number or not parts.dirty.keys):
                self._passes = 0
                return
            await self._round()
            if number == SLOW_ROUNDS:
                await parts.report.note(
                    f"clients change keys as fast as they are copied: {len(parts.dirty.keys)} to go"
                )

    def ready(self) -> bool:
        """Whether a hold may begin."""
        parts = self._parts
        return not parts.copier.totals.uncertain_keys and may_hold(
            dirty_keys=len(parts.dirty.keys),
            per_key=parts.per_key_seconds,
            max_hold_seconds=parts.move.options.max_hold_seconds,
            full_pass_owed=bool(parts.dirty.owed),
        )

    async def _round(self) -> None:
        parts = self._parts
        keys = parts.dirty.take()
        started = time.monotonic()
        try:
            async with self.watched():
                report = await parts.copier.sync_many(keys)
        except BaseException:
            parts.dirty.put_back(keys)
            raise
        seconds = time.monotonic() - started
        parts.per_key_seconds = seconds_per_key(len(keys), seconds, parts.per_key_seconds)
        parts.dirty.put_back(report.failed)
        parts.tell_amounts()
        if report.failed:
            await self._failed(report)

    async def _failed(self, report: SyncReport) -> NoReturn:
        """Raises `Hopeless` for what is refused again and again, else ``Unavailable``.

        It is tried again.

        What cannot be overwritten (a crash may leave an object half written) is deleted first:
        nobody reads it there.
        """
        parts = self._parts
        words = failed_keys(report.failed)
        self._refusals += bool(report.refused)
        if self._refusals >= MOST_REFUSALS:
            raise Hopeless(words)
        for key in report.failed:
            with suppress(AppError):
                await parts.destination.delete(parts.move.bucket, key)
        raise Unavailable(words)

    async def _forget_uncertain(self) -> None:
        """Writes whose answer was lost may still land.

        Wait for that, and copy these keys once more.
        """
        uncertain = self._parts.copier.totals.uncertain_keys
        if uncertain:
            await pause(self._parts.report, SETTLE_SECONDS)
            self._parts.dirty.put_back(uncertain)
            uncertain.clear()

    async def _different(self) -> AsyncIterator[str]:
        async for batch in self._comparison.differences():
            for difference in batch:
                yield difference.key

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Meanwhile read the log and tell how far it is.

        Raises `Cancelled`, and `Hopeless` for what would be lost unasked.
        """
        async with alongside(self._watch):
            yield
        self._check_tags()

    def _check_tags(self) -> None:
        """Only while the source serves: later losing them is better than failing a client."""
        if key := self._parts.copier.totals.tagged_key:
            problem = f"object {key!r} has tags, which are not moved"
            refuse(self._parts.move.options, "tags", problem)

    async def _watch(self) -> None:
        parts = self._parts
        while True:
            parts.check_cancelled()
            self._check_tags()
            await parts.nginx.log.read()
            parts.tell_amounts()
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def alongside(watch: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run ``watch`` beside the block; what it raises ends the block and is raised itself."""
    body = asyncio.current_task()
    assert body is not None
    raised: list[BaseException] = []

    async def run() -> None:
        try:
            await watch()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - handed to the block, which raises it
            raised.append(error)
            body.cancel()

    task = asyncio.create_task(run())
    try:
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
    except asyncio.CancelledError:
        if raised and body.uncancel() == 0:
            raise raised[0] from None
        raise

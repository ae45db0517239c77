"""Drives one migration from where its flags say that it stands to its end.

``kill -9`` at any line is safe: the flags on disk are the truth, and `recovery_of` tells what they
mean.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import TypeVar, assert_never

from holdfast.gateway.flags import Flag, FlagState, RouteFlags
from holdfast.kernel.errors import AppError, Unavailable
from holdfast.kernel.logging import get_logger
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.canary import Canary
from holdfast.migrations.compare import Comparison
from holdfast.migrations.completes import Completer, Journal
from holdfast.migrations.copier import ObjectCopier
from holdfast.migrations.copier_bandwidth import TokenBucket
from holdfast.migrations.copying import SETTLE_SECONDS, Copying, alongside
from holdfast.migrations.cutover import Cutover
from holdfast.migrations.mend import Mend
from holdfast.migrations.model import (
    Recovery,
    Stage,
    backoff_seconds,
    contradicts,
    recovery_of,
)
from holdfast.migrations.move import Cancelled, Hopeless, Move, Nginx, Parts, Report, Side
from holdfast.migrations.patience import patiently, pause, tell, worded
from holdfast.migrations.preflight import check_before_move
from holdfast.migrations.probation import Probation
from holdfast.migrations.silence import tell_of_silence
from holdfast.migrations.switch import Pools, Switch

T = TypeVar("T")
WORKER_LOOK_SECONDS = 1.0
log = get_logger(__name__)


class Engine:
    """One migration of one process. Another process must not drive it at the same time."""

    def __init__(self, move: Move, report: Report, nginx: Nginx, flags: RouteFlags) -> None:
        self._move, self._report, self._nginx, self._flags = move, report, nginx, flags
        pools = Pools(move.source.alias, move.destination.alias)
        self._switch = Switch(flags, move.places, pools, nginx.gate.port)

    async def run(self) -> None:
        """Return when it is done, cancelled, or ended in error; `Report.over` was told which.

        When this task is cancelled the migration stays where its flags say, no hold is left open,
        and a later run goes on with it.
        """
        await self._patiently(self._see_flags)
        async with self._opened() as (parts, copying):
            todo = self._what_to_do()
            try:
                async with alongside(lambda: self._tell_of_silence(parts)):
                    if not await self._taken_over(parts, todo):
                        await self._to_destination(parts, copying, todo)
            except Cancelled:
                await self._end(
                    Stage.CANCELLED, "cancelled; the source serves", on_destination=False
                )
                return
            except (AppError, OSError) as error:
                await self._end(Stage.ERROR, worded(error), on_destination=False)
                return
            await self._after_switch(parts, finished=todo is Recovery.FINISH)

    async def _tell_of_silence(self, parts: Parts) -> None:
        source, destination = self._move.source.name, self._move.destination.name
        servers = ((source, parts.source), (destination, parts.destination))
        await tell_of_silence(self._report, servers)

    async def _see_flags(self) -> None:
        """Without its flags nobody can tell who serves. Raises ``Unavailable``."""
        if self._flags.lost:
            raise Unavailable(
                "the folder of the routing flags is not the one that was made",
                hint="is it on a file system that is not mounted?",
            )

    def _what_to_do(self) -> Recovery:
        """Raises `Hopeless` when flags name the source, though the destination has served."""
        source, destination = self._move.source, self._move.destination
        todo = recovery_of(self._switch.flags(), source=source.alias, destination=destination.alias)
        if contradicts(todo, self._move.reached):
            raise Hopeless(
                f"the routing flags send {self._move.bucket!r} to {source.name!r}, but "
                f"{destination.name!r} has served it already: nothing is copied",
                hint="find out who changed the flags, and point them to the pool that is right",
            )
        return todo

    async def _taken_over(self, parts: Parts, todo: Recovery) -> bool:
        """Bring flags that a dead process left into a state that this one drives.

        Tells whether the move is made.
        """
        match todo:
            case Recovery.START:
                return False
            case Recovery.FULL_PASS:
                await self._patiently(self._take_back)
                await pause(self._report, SETTLE_SECONDS)
                return False
            case Recovery.MEND:
                await self._note("virtual hosts disagree after a crash: all follow")
                await self._surely(Mend(parts).run)
                return True
            case Recovery.FORWARD | Recovery.PROBATION:
                self._nginx.gate.relay(self._move.places, parts.completer.answer)
                await self._surely(lambda: self._switch.set(FlagState.DST))
                return True
            case Recovery.FINISH:
                return True
            case _:
                assert_never(todo)

    async def _take_back(self) -> None:
        await self._switch.set(FlagState.SRC)
        await self._switch.unpin_all()

    async def _to_destination(self, parts: Parts, copying: Copying, todo: Recovery) -> None:
        move, report = self._move, self._report
        parts.check_cancelled()
        await self._patiently(lambda: report.stage(Stage.PREPARE, "checking both sides"))
        options = await self._patiently(
            lambda: check_before_move(move, parts, ours=todo is Recovery.FULL_PASS)
        )
        await self._patiently(lambda: report.admitted(options))
        if todo is Recovery.START:
            await self._patiently(self._take_back)
        canary = None
        if "canary" not in move.options.waived:
            canary = Canary(move.bucket, move.source, self._nginx.control_port)
        if canary is not None:
            await self._patiently(lambda: self._prove(parts, canary))
        async with alongside(lambda: self._watch_workers(parts)):
            await self._patiently(lambda: report.stage(Stage.COPY, "copying"))
            await self._patiently(copying.first_pass)
            await self._patiently(lambda: report.stage(Stage.CONVERGE, "comparing both sides"))
            await self._patiently(copying.verify)
            await self._patiently(copying.converge)
            await self._patiently(Cutover(parts, copying, canary).run)

    async def _prove(self, parts: Parts, canary: Canary) -> None:
        for entrance, flag in zip(self._move.entrances, self._switch.flags(), strict=True):
            assert isinstance(flag, Flag)
            await canary.prove(entrance, flag, self._nginx.counters, self._nginx.log, parts.dirty)

    async def _watch_workers(self, parts: Parts) -> None:
        """A worker of nginx that dies takes log lines with it, and leaves its counts behind."""
        counters, stuck, told = self._nginx.counters, list[str](), ""
        while True:
            with suppress(Unavailable):
                if await counters.lost_a_worker():
                    stuck = await self._begin_anew(parts)
            try:
                if stuck:
                    await counters.outlive(stuck)
                    stuck = []
            except Unavailable as error:  # else the move would wait for what died with the worker
                if told != (told := worded(error)):
                    await self._note(f"waiting: {told}")
            await asyncio.sleep(WORKER_LOOK_SECONDS)

    async def _begin_anew(self, parts: Parts) -> list[str]:
        """Owe a full compare, and count under another epoch; gives the counters of before."""
        parts.dirty.owe("a worker process of nginx died")
        await self._note("a worker of nginx died: everything is compared again")
        while not await self._switch.renew():  # noqa: ASYNC110 - the disk tells no event
            await asyncio.sleep(WORKER_LOOK_SECONDS)  # a hold is open: it steps back by itself
        return self._switch.older_counters()

    async def _note(self, message: str) -> None:
        """A line that is no reason to stop when it cannot be kept."""
        with suppress(Unavailable):
            await self._report.note(message)

    async def _after_switch(self, parts: Parts, *, finished: bool) -> None:
        """From here on there is no way but forward: failures are waited out."""
        report, name = self._report, self._move.destination.name
        if not finished:
            await self._surely(lambda: report.stage(Stage.PROBATION, f"{name} serves now"))
            await self._surely(Probation(parts).run)
        await self._end(Stage.DONE, f"{self._move.bucket} is on {name}", on_destination=True)
        await asyncio.to_thread(parts.completer.forget)

    async def _end(self, stage: Stage, message: str, *, on_destination: bool) -> None:
        """Record the end and make the flags static.

        Whoever records it may have set them already.
        """
        await self._surely(lambda: self._report.over(stage, message))
        if not self._switch.is_static(on_destination=on_destination):
            await self._surely(
                lambda: self._switch.set(FlagState.STATIC, on_destination=on_destination)
            )
        await self._surely(self._switch.unpin_all)
        self._nginx.gate.relay(self._move.places, None)
        await self._tidy()

    async def _surely(self, action: Callable[[], Awaitable[None]]) -> None:
        """Try until it succeeds: nobody is held up meanwhile, and giving up would help nobody."""
        for attempt in range(1, 10**9):
            try:
                await action()
            except (AppError, OSError) as error:
                if attempt == 1:
                    log.warning("tried again", bucket=self._move.bucket, error=worded(error))
                    await tell(self._report, f"waiting: {worded(error)}")
                await asyncio.sleep(backoff_seconds(attempt))
            else:
                if attempt > 1:
                    await tell(self._report, None)
                return

    async def _tidy(self) -> None:
        try:
            quiet = [
                not await self._nginx.counters.busy(counter)
                for counter in self._switch.older_counters()
            ]
            if all(quiet):
                await self._switch.prune()
            (self._move.folder / _scratch(self._move)).unlink(missing_ok=True)
        except (AppError, OSError) as error:
            log.info("old epochs stay", bucket=self._move.bucket, error=worded(error))

    async def _patiently(
        self, action: Callable[[], Awaitable[T]], *, cancellable: bool = True
    ) -> T:
        return await patiently(
            self._report, self._move.options.give_up_after_seconds, action, cancellable=cancellable
        )

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[Parts, Copying]]:
        move, options = self._move, self._move.options
        move.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(_client(move.source, options.transfers))
            destination = await stack.enter_async_context(
                _client(move.destination, options.transfers)
            )
            scratch = move.folder / _scratch(move)
            comparison = await stack.enter_async_context(await _scratch_file(scratch))
            rate = options.bandwidth_bytes_per_second
            copier = ObjectCopier(
                source,
                move.bucket,
                destination,
                move.bucket,
                transfers=options.transfers,
                bandwidth=TokenBucket(rate) if rate else None,
                comparison=comparison,
            )
            journal = Journal(move.folder / f"migration-{move.migration_id}.completes")
            dirty = await self._nginx.log.follow(move.places)
            stack.callback(self._nginx.log.leave, dirty)
            stack.callback(self._nginx.gate.relay, move.places, None)
            parts = Parts(
                move=move,
                report=self._report,
                nginx=self._nginx,
                switch=self._switch,
                source=source,
                destination=destination,
                copier=copier,
                completer=Completer(move.bucket, source, destination, copier, journal),
                dirty=dirty,
            )
            yield parts, Copying(parts, comparison)


def _client(side: Side, transfers: int) -> S3Client:
    return S3Client(
        side.endpoint, side.access_key, side.secret_key, side.region, limit=2 * transfers + 16
    )


async def _scratch_file(path: Path) -> Comparison:
    """What was proved before a restart is kept, unless a crash has spoilt the file."""

    def usable() -> bool:
        with closing(sqlite3.connect(path)) as file:
            try:
                return bool(file.execute("PRAGMA quick_check").fetchone() == ("ok",))
            except sqlite3.DatabaseError:
                return False

    def discard_if_spoilt() -> None:
        if path.exists() and not usable():
            path.unlink()

    await asyncio.to_thread(discard_if_spoilt)
    return Comparison(path)


def _scratch(move: Move) -> str:
    return f"migration-{move.migration_id}.scratch.sqlite"

"""Where migrations run: a thread with a loop of its own for the gate and every engine.

So a request or a job that keeps the main loop busy never lets a held write wait. Reports go back to
the loop that asked.
"""

import asyncio
import fcntl
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.gateway.flags import RouteFlags
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.nginx import control_port
from holdfast.migrations.dirtylog import DirtyLog
from holdfast.migrations.engine import Engine
from holdfast.migrations.gate import Gate
from holdfast.migrations.model import HoldAttempt, Options, Stage
from holdfast.migrations.move import Amounts, Move, Nginx, Report
from holdfast.migrations.watch import NginxWatch

START_SECONDS = 30.0


@dataclass(slots=True)
class _Running:
    loop: asyncio.AbstractEventLoop
    nginx: Nginx
    stop: asyncio.Event


class Driver:
    """Drives migrations in a thread that is started with the first one and ends with `close`."""

    def __init__(self, nginx_root: Path, flags: RouteFlags) -> None:
        self._root, self._flags = nginx_root, flags
        self._running: _Running | None = None
        self._thread: threading.Thread | None = None
        self._starting = asyncio.Lock()

    async def run(self, move: Move, report: Report) -> None:
        """`Engine.run` in the thread.

        Raises what it raises, and ``Unavailable`` when another process drives it.

        Cancelled, it returns only when the engine has let go: no hold is open then.
        """
        running = await self._started()
        home = asyncio.get_running_loop()
        ended = asyncio.Event()
        tasks: list[asyncio.Task[None]] = []

        def begin() -> None:
            task = running.loop.create_task(self._drive(running, move, _Bridge(report, home)))
            task.add_done_callback(lambda _: home.call_soon_threadsafe(ended.set))
            tasks.append(task)

        def end() -> None:
            tasks[0].cancel()  # begun before: calls keep their order

        running.loop.call_soon_threadsafe(begin)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            running.loop.call_soon_threadsafe(end)
            await ended.wait()
            raise
        tasks[0].result()

    async def _drive(self, running: _Running, move: Move, report: Report) -> None:
        with only_driver(move.folder / f"migration-{move.migration_id}.lock"):
            nginx = replace(running.nginx, counters=NginxWatch(self._root))
            await Engine(move, report, nginx, self._flags).run()

    async def close(self) -> None:
        """End the thread; engines must have ended before."""
        running, self._running = self._running, None
        if running is not None and self._thread is not None:
            running.loop.call_soon_threadsafe(running.stop.set)
            await asyncio.to_thread(self._thread.join)

    async def _started(self) -> _Running:
        async with self._starting:
            if self._running is None:
                home = asyncio.get_running_loop()
                ready: asyncio.Future[_Running] = home.create_future()
                self._thread = threading.Thread(
                    target=lambda: _thread_main(self._root, home, ready), name="holdfast-migrations"
                )
                self._thread.start()
                async with asyncio.timeout(START_SECONDS):
                    self._running = await ready
            return self._running


def _thread_main(
    root: Path, home: asyncio.AbstractEventLoop, ready: "asyncio.Future[_Running]"
) -> None:
    async def main() -> None:
        async with _nginx(root) as nginx:
            running = _Running(asyncio.get_running_loop(), nginx, asyncio.Event())
            home.call_soon_threadsafe(ready.set_result, running)
            await running.stop.wait()

    try:
        asyncio.run(main())
    except BaseException as error:  # noqa: BLE001 - handed to the one who waits for the start
        if not ready.done():
            home.call_soon_threadsafe(ready.set_exception, error)


@asynccontextmanager
async def _nginx(root: Path) -> AsyncIterator[Nginx]:
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(Gate())
        log = DirtyLog(root / "log" / "dirty.log")
        yield Nginx(counters=NginxWatch(root), log=log, gate=gate, control_port=control_port(root))


class only_driver:  # noqa: N801 - reads as a statement
    """The kernel lets go of the lock when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Unavailable("another process drives this migration") from None

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


class _Bridge:
    """A report that is written on another loop."""

    def __init__(self, report: Report, home: asyncio.AbstractEventLoop) -> None:
        self._report, self._home = report, home

    @property
    def cancelled(self) -> bool:
        return self._report.cancelled

    async def stage(self, stage: Stage, message: str) -> None:
        await self._there(lambda: self._report.stage(stage, message))

    async def note(self, message: str) -> None:
        await self._there(lambda: self._report.note(message))

    async def warn(self, message: str) -> None:
        await self._there(lambda: self._report.warn(message))

    async def trouble(self, message: str | None) -> None:
        await self._there(lambda: self._report.trouble(message))

    async def admitted(self, options: Options) -> None:
        await self._there(lambda: self._report.admitted(options))

    async def held(self, attempt: HoldAttempt) -> None:
        await self._there(lambda: self._report.held(attempt))

    async def over(self, stage: Stage, message: str) -> None:
        await self._there(lambda: self._report.over(stage, message))

    def amounts(self, amounts: Amounts) -> None:
        self._report.amounts(amounts)

    def holding(self, *, is_open: bool) -> None:
        self._report.holding(is_open=is_open)

    async def _there(self, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(), self._home))

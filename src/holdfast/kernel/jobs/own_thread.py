"""A worker beside the API in one process, on a thread and an event loop of its own.

A job that blocks its loop, by a long computation say, then stalls other jobs but no request.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

WorkerMain = Callable[[Callable[[], None], asyncio.Event], Awaitable[None]]
"""``main(started, stop)``: build everything anew (its own database object), call ``started()`` when
the worker runs, wait for ``stop``, and take everything down."""


def _ask_process_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.asynccontextmanager
async def in_own_thread(
    main: WorkerMain, *, on_death: Callable[[], None] = _ask_process_to_end
) -> AsyncIterator[None]:
    """Run a worker in a thread while the block runs. Raises what it raises.

    ``on_death``: called in the thread when the worker fails after its start, so that an API does
    not go on without its worker.
    """
    worker = _WorkerThread(main, on_death)
    worker.thread.start()
    try:
        await asyncio.wrap_future(worker.started)
        yield
    finally:
        worker.stop()
        await asyncio.to_thread(worker.thread.join)
    if worker.error:
        raise worker.error


class _WorkerThread:
    def __init__(self, main: WorkerMain, on_death: Callable[[], None]) -> None:
        self.started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="holdfast-worker")
        self._main = main
        self._on_death = on_death
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def stop(self) -> None:
        if self._loop and self._stop:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self._loop.call_soon_threadsafe(self._stop.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the thread was started
            if self.started.done():
                self.error = error
                self._on_death()
            else:
                self.started.set_exception(error)

    async def _work(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._main(lambda: self.started.set_result(None), self._stop)

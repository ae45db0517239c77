"""A worker beside the API in one process, on a thread and an event loop of its own.

A job that blocks its loop, by a long computation say, then stalls other jobs but no request.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

WorkerMain = Callable[[Callable[[], None], asyncio.Event], Awaitable[None]]
"""``main(started, stop)``: build everything anew (its own database object), call ``started()`` when
the worker runs, wait for ``stop``, and take everything down."""


@contextlib.asynccontextmanager
async def in_own_thread(main: WorkerMain) -> AsyncIterator[None]:
    """Run a worker in a thread while the block runs. Raises what its start raises."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[None] = loop.create_future()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def tell_started(error: BaseException | None = None) -> None:
        if started.done():
            return
        if error is None:
            started.set_result(None)
        else:
            started.set_exception(error)

    async def worker() -> None:
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))

        def now_started() -> None:
            loop.call_soon_threadsafe(tell_started)

        await main(now_started, stop)

    def run() -> None:
        try:
            asyncio.run(worker())
        except BaseException as error:
            loop.call_soon_threadsafe(tell_started, error)
            if started.done():
                raise

    thread = threading.Thread(target=run, name="holdfast-worker")
    thread.start()
    try:
        await started
        yield
    finally:
        for its_loop, stop in stops:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                its_loop.call_soon_threadsafe(stop.set)
        await asyncio.to_thread(thread.join)

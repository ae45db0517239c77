"""The process ``holdfast worker``: jobs and timers without the API."""

import asyncio
import signal

from holdfast.assembly import assemble, running
from holdfast.kernel import collector
from holdfast.kernel.config import LoadedSettings
from holdfast.kernel.services import Services


def work(loaded: LoadedSettings) -> None:
    """Run jobs until SIGTERM or SIGINT."""
    services = assemble(loaded)
    collector.keep_what_is_built()
    asyncio.run(_work(services))


async def _work(services: Services) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    async with running(services, with_worker=True):
        await asked_to_stop.wait()

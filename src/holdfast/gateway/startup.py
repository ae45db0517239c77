"""Before a process serves: a first generation, and agreement between the disk and the database."""

import asyncio

from holdfast.gateway import queries, render
from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import render_context
from holdfast.kernel.errors import AppError
from holdfast.kernel.logging import get_logger
from holdfast.kernel.nginx import change_lock, go_live
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Work

log = get_logger(__name__)


async def start(services: Services) -> None:
    """Make what nginx includes, and let the disk win where the database disagrees."""
    gateway = services.get(Gateway)
    async with services.database.write(SYSTEM) as work:
        await queries.lock_gateway(work.session)
        async with change_lock(gateway.settings.nginx_root):
            await _first_generation(work, gateway)


async def _first_generation(work: Work, gateway: Gateway) -> None:
    """An empty generation that the include line resolves to and that answers for itself."""
    generations = gateway.generations
    number = await asyncio.to_thread(generations.ensure)
    await asyncio.to_thread(gateway.flags.ensure)
    published = await queries.published(work.session)
    if set(generations.files()) == {"http.conf"} and not published.generation:
        number = generations.next_number()
        main = render.http_conf(
            await render_context(gateway),
            generation=number,
            directory=str(generations.directory(number)),
            pools=(),
        )
        candidate = await asyncio.to_thread(
            generations.prepare, main, author="holdfast", reason="first start"
        )
        try:
            outcome = await go_live(generations, gateway.nginx, candidate)
        except AppError as error:
            log.warning("nginx cannot be tested", error=error.message, hint=error.hint)
            number = generations.current() or 0
        else:
            number = outcome.generation
    published.generation = number

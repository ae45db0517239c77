"""Before a process serves: a first generation, and agreement between the disk and the database.

The disk wins: what nginx runs with goes on, and the rows follow it. It is looked at only where a
crash can have left a difference (another generation than the database knows, flags that are not the
rows' routes); what somebody edited by hand is drift, which is shown and not taken over.
"""

import asyncio
import shutil
from dataclasses import dataclass, field

from sqlalchemy import select

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.file_change import render_context
from holdfast.gateway.parse import parse_files
from holdfast.gateway.publish import hold_lock, never_published
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.service.adopt import adopt, adopt_plain_descriptions, drop_pools
from holdfast.gateway.service.follow import follow_flags
from holdfast.gateway.service.reading import keep_times
from holdfast.gateway.service.rebuild import keep_ids
from holdfast.gateway.tables import PublishedRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError
from holdfast.kernel.logging import get_logger
from holdfast.kernel.nginx import Candidate, go_live, take_back
from holdfast.kernel.nginx.generations import FIRST
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Work

log = get_logger(__name__)


@dataclass(slots=True)
class StartupDifferences:
    """What the database had otherwise than the disk when this process started."""

    texts: list[str] = field(default_factory=list)


async def start(services: Services) -> None:
    """Make what nginx includes, and let the disk win where the database disagrees."""
    gateway = services.get(Gateway)
    told = services.add(StartupDifferences())
    async with services.database.write(SYSTEM) as work:
        await queries.lock_gateway(work.session)
        await hold_lock(work, gateway)
        number = await asyncio.to_thread(gateway.generations.ensure)
        await asyncio.to_thread(gateway.flags.ensure)
        published = await queries.published(work.session)
        is_bare = await never_published(gateway, published)
        if (is_bare or not published.generation) and await _is_empty(work):
            told.texts = await _begin(work, gateway, published, number)
        elif is_bare:
            told.texts = [_rows_kept(gateway)]
        else:
            told.texts = await _agree(work, gateway, published, number)
            await _forget_folders(work, gateway)
    for text in told.texts:
        log.warning("database and disk differed", difference=text)


async def _is_empty(work: Work) -> bool:
    """Whether the database has nothing to publish."""
    _, pools = await queries.pool_page(work.session, limit=1, offset=0)
    _, vhosts = await queries.vhost_page(work.session, limit=1, offset=0)
    return not (pools or vhosts)


async def _begin(work: Work, gateway: Gateway, published: PublishedRow, number: int) -> list[str]:
    """With an empty disk: a generation that answers for itself. Else the operator decides."""
    if set(gateway.generations.files()) != {"http.conf"}:
        found = f"the database is empty, and generation {number} on disk is not"
        return [f"{found}: run holdfast rebuild to read it"]
    candidate = await _empty_generation(gateway)
    try:
        await go_live(gateway.generations, gateway.nginx, candidate)
    except AppError as error:
        log.warning("nothing can be tested yet", error=error.message, hint=error.hint)
        published.generation = number
    else:
        work.on_rollback(lambda: take_back(gateway.generations, gateway.nginx, candidate))
        published.generation = candidate.number
    return []


def _rows_kept(gateway: Gateway) -> str:
    """A disk that never had a change says nothing: it was lost or moved, or is a worker's own."""
    return (
        f"{gateway.settings.nginx_root} had no generation: the database is kept; where nginx reads "
        "it, write it with holdfast config rebuild"
    )


async def _empty_generation(gateway: Gateway) -> Candidate:
    generations = gateway.generations
    number = generations.next_number()
    main = http_conf(
        await render_context(gateway),
        generation=number,
        directory=str(generations.directory(number)),
        pools=(),
    )
    return await asyncio.to_thread(generations.prepare, main, author="holdfast", reason=FIRST)


async def _agree(work: Work, gateway: Gateway, published: PublishedRow, number: int) -> list[str]:
    told = []
    if published.generation != number:
        told.append(f"generation {number} is on disk, the database knew {published.generation}")
        published.generation = number
        await _reload(gateway, published, number)  # no flag is ahead of what nginx has loaded
        told += await _adopt_files(work, gateway)
    else:
        told += await follow_flags(work, gateway)
    if told:
        work.audit("adopt_disk", "config", None, after={"differences": told})
        work.emit("gateway", "config.adopted", {"differences": len(told)})
    return told


async def _forget_folders(work: Work, gateway: Gateway) -> None:
    """Folders of flags that a change left behind when it crashed: no vhost, and no flag in them."""
    if gateway.flags.lost:
        return
    known = set(await work.session.scalars(select(VhostRow.server_name)))
    for vhost in set(gateway.flags.hosts()) - known:
        aside = gateway.flags.hide_vhost(vhost)
        if aside is not None:
            await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)


async def _adopt_files(work: Work, gateway: Gateway) -> list[str]:
    files = await asyncio.to_thread(gateway.generations.files)
    spec = await asyncio.to_thread(parse_files, files, gateway.flags)
    told = [f"unreadable: {warning}" for warning in spec.warnings]
    if spec.warnings:
        return told  # half of the truth must not delete rows: the operator looks at the file first
    await keep_ids(work.session, spec)
    told += await adopt(work.session, spec)
    await keep_times(work.session, spec)
    told += await follow_flags(work, gateway, files_won=True)
    await adopt_plain_descriptions(work.session, spec)
    return told + await drop_pools(work.session, spec)


async def _reload(gateway: Gateway, published: PublishedRow, number: int) -> None:
    """A crash may have come before nginx was told."""
    status = await gateway.nginx.status()
    published.reload_pending = not status.live or status.loaded_generation != number
    if status.live and status.loaded_generation != number:
        before = await gateway.nginx.reload()
        published.last_reload_ok = await gateway.nginx.wait_loaded(number, before)
        published.last_reload_at = now()
        published.reload_pending = not published.last_reload_ok

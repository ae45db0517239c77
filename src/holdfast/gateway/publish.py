"""What is stored and what nginx runs with change together or not at all.

A service says what it changed (`mark_changed`). Right before the commit, once a transaction, the
rows are rendered to a new generation, nginx tests it, the link is switched, nginx reloads, routing
flags are set, and only then is the transaction committed. A refusal or failure undoes all of it.

Flags have an effect at once. So a change of flags is never ahead of what nginx has loaded: whatever
waits for a reload is loaded with it, also when the caller would wait.

Order of locks, everywhere: the database's writer first, then `change_lock`, which is held until the
commit is through, so that database and disk see changes in one order. Plain bucket routes are flags
only: no generation, no test, no reload.
"""

import asyncio
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import bucket_queries, file_queries, queries, render
from holdfast.gateway.context import Gateway
from holdfast.gateway.file_change import Files, changed_files, render_context
from holdfast.gateway.flag_change import FlagChange
from holdfast.gateway.handover import Handover, plan_handover
from holdfast.gateway.leaving import Left, plan_leaving
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.tables import PoolRow, PublishedRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, NginxRefused, Unavailable
from holdfast.kernel.logging import get_logger
from holdfast.kernel.nginx import Candidate, Outcome, change_lock, go_live, take_back
from holdfast.kernel.nginx.generations import FIRST, MAIN
from holdfast.kernel.nginx.program import TestResult
from holdfast.kernel.work import Work

log = get_logger(__name__)
PRUNED_EVERY = 25
RELOADED = "nginx was reloaded: the route of a bucket changed, and has an effect at once"


class Waiting(IntEnum):
    """What becomes of earlier changes that wait for a reload."""

    STAYS = 0
    LOADED = 1
    """They are loaded: nothing may wait any more."""
    REPLACED = 2
    """This change has all there is: what was written before does not count."""


@dataclass(slots=True)
class Change:
    """What a transaction has changed, by names: old ones too, so that a rename leaves no file."""

    gateway: Gateway
    pools: set[str] = field(default_factory=set)
    vhosts: set[str] = field(default_factory=set)
    flags: set[tuple[str, str]] = field(default_factory=set)
    flags_of: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    left: dict[tuple[str, str], Left] = field(default_factory=dict)
    waiting: Waiting = Waiting.STAYS
    warning: str = ""
    done: bool = False


_changes: "WeakKeyDictionary[Work, Change]" = WeakKeyDictionary()
_holding: "WeakSet[Work]" = WeakSet()


def mark_changed(
    work: Work,
    gateway: Gateway,
    *,
    pools: Iterable[str] = (),
    vhosts: Iterable[str] = (),
    flags: Iterable[tuple[str, str]] = (),
    flags_of: Iterable[str] = (),
    renamed: Mapping[str, str] = MappingProxyType({}),
    waiting: Waiting = Waiting.STAYS,
) -> None:
    """Publish at commit: pools, vhosts, flags of ``(vhost, bucket)``, and all flags of vhosts.

    ``renamed``: old and new names of pools, so that no request fails while flags are rewritten.
    """
    change = _changes.get(work)
    if change is None or change.done:
        change = _changes[work] = Change(gateway, warning=change.warning if change else "")
        work.before_commit("gateway", lambda: _publish(work, change))
    change.pools.update(pools)
    change.vhosts.update(vhosts)
    change.flags.update(flags)
    change.flags_of.update(flags_of)
    for old, new in renamed.items():
        earlier = {was: new for was, name in change.renamed.items() if name == old}
        change.renamed |= {old: new, **earlier}
    change.waiting = max(change.waiting, waiting)


def mark_left(work: Work, left: Mapping[tuple[str, str], Left]) -> None:
    """What was marked as changed leaves these pools, which must have nothing of the bucket then."""
    _changes[work].left.update(left)


def warning_of(work: Work) -> str:
    """What the caller of an accepted change must know: it is not live, and what to do."""
    change = _changes.get(work)
    return change.warning if change else ""


async def _publish(work: Work, change: Change) -> None:
    change.done = True
    await work.session.flush()
    await hold_lock(work, change.gateway)
    published = await queries.published(work.session)
    await _refuse_without_rows(change.gateway, published)
    if change.waiting is not Waiting.REPLACED:
        await refuse_without_files(work.session, change.gateway, change.pools | change.vhosts)
    files = await changed_files(work.session, change.gateway, change.pools, change.vhosts)
    flags = await FlagChange.plan(work.session, change.gateway, change.flags, change.flags_of)
    if not (files or flags or change.waiting is Waiting.LOADED):
        return
    handover = await _handover(work, change, flags, files)
    if work.dry_run:
        await _rehearse(work, change, files, handover)
        return
    await _load_what_waits(work, change, flags, files, published, early=bool(handover.early))
    leaving = await plan_leaving(work, change.gateway, flags, change.left)
    work.on_rollback(flags.undo)
    if leaving:
        await leaving.prove(lambda place: place in handover.early)
    await flags.remove(lambda place: place in handover.early)
    await flags.set(lambda place: place[0] in files.new_vhosts or place in handover.early)
    if files:
        await _switch(work, change, files, published, handover)
    work.on_rollback(flags.undo)  # before the way back of the switch: they may name a new pool
    if leaving:
        await leaving.prove(lambda place: place not in handover.early)
    if flags.changes_later(handover.early):
        await change.gateway.nginx.wait_left()
    await flags.set(lambda place: place[0] not in files.new_vhosts and place not in handover.early)
    await flags.remove(lambda place: place not in handover.early)
    for vhost in files.gone_vhosts:
        _forget_folder(work, change.gateway, vhost)


async def _handover(work: Work, change: Change, flags: FlagChange, files: Files) -> Handover:
    if not (files and flags):
        return Handover()
    record = await asyncio.to_thread(change.gateway.generations.record)
    names = await queries.pool_names(work.session)
    return plan_handover(
        flags,
        written={name for path in record.files if (name := render.pool_of(path))},
        coming={name for name, _ in names.values()},
        renamed=change.renamed,
        gone_vhosts=files.gone_vhosts,
    )


async def _load_what_waits(
    work: Work,
    change: Change,
    flags: FlagChange,
    files: Files,
    published: PublishedRow,
    *,
    early: bool,
) -> None:
    """Flags are read at each request: none may be set for what nginx does not know yet.

    ``early``: some flags change before the reload of this change.
    """
    waits = published.reload_pending
    needed = flags.sends_elsewhere or change.waiting is Waiting.LOADED
    if needed and not work.reload and (waits or not files.only_sidecars):
        work.reload, change.warning = True, RELOADED
    early |= any(vhost in files.new_vhosts for vhost, _ in flags.wanted)
    matters = change.waiting is not Waiting.REPLACED and (files.only_sidecars or early)
    if waits and work.reload and matters:
        await _reload_pending(change, published, needed=needed)


def _forget_folder(work: Work, gateway: Gateway, vhost: str) -> None:
    """A vhost that is no more leaves no folder of flags; what a crash leaves goes at the start."""
    flags = gateway.flags
    aside = flags.hide_vhost(vhost)
    if aside is None:
        return

    async def bring_back() -> None:
        flags.show_vhost(vhost, aside)

    async def remove() -> None:
        await asyncio.to_thread(shutil.rmtree, aside, ignore_errors=True)

    work.on_rollback(bring_back)
    work.after_commit(remove)


async def _refuse_without_rows(gateway: Gateway, published: PublishedRow) -> None:
    """A database that was lost must not become what nginx runs with.

    Raises ``Conflict`` while this one has published nothing and the disk holds somebody's files.
    """
    if published.generation:
        return
    if set(await asyncio.to_thread(gateway.generations.files)) - {MAIN}:
        raise Conflict(
            "the database is empty, and nginx runs with files that it does not know; "
            "nothing was changed",
            hint="read them: holdfast rebuild; to begin anew, use another nginx folder",
        )


async def refuse_without_files(
    session: AsyncSession, gateway: Gateway, changed: Collection[str] = ()
) -> None:
    """Raises ``Conflict`` where nothing lies of what the database publishes.

    A change would write the ``changed`` files alone, and nginx would lose all others.
    """
    if not await never_published(gateway, await queries.published(session)):
        return
    names = {*await session.scalars(select(PoolRow.name))}
    names |= {*await session.scalars(select(VhostRow.server_name))}
    if names - set(changed):
        raise Conflict(
            f"{gateway.settings.nginx_root} has nothing of what the database publishes; nothing "
            "was changed",
            hint="is it the folder that nginx reads? Then write all of it: holdfast config rebuild",
        )


async def never_published(gateway: Gateway, published: PublishedRow) -> bool:
    """Whether the disk has only its first, empty generation, and the database knows another."""
    generations = gateway.generations
    if not published.generation or generations.current() in {None, published.generation}:
        return False
    return (await asyncio.to_thread(generations.record)).reason == FIRST


async def hold_lock(work: Work, gateway: Gateway) -> None:
    """Take the lock of nginx's directory until this transaction has ended; once is enough."""
    if work in _holding:
        return
    _holding.add(work)
    stack = AsyncExitStack()
    await stack.enter_async_context(change_lock(gateway.settings.nginx_root))
    work.on_rollback(stack.aclose)
    work.after_commit(stack.aclose)


async def _prepare(work: Work, change: Change, files: Files, handover: Handover) -> Candidate:
    generations = change.gateway.generations
    number = generations.next_number()
    pools = [name for name, _ in (await queries.pool_names(work.session)).values()]
    main = http_conf(
        await render_context(change.gateway),
        generation=number,
        directory=str(generations.directory(number)),
        pools=pools,
        vhosts=await file_queries.served_vhosts(work.session),
        extra=await asyncio.to_thread(generations.extra),
        former=handover.former,
        shared=await bucket_queries.shared_servers(work.session),
    )
    reason = "; ".join(f"{row.action} {row.entity_type}" for row in work.audits[:3]) or "publish"
    return await asyncio.to_thread(
        generations.prepare,
        {**files.changed, **main},
        files.removed,
        author=work.actor.name,
        reason=reason,
    )


async def _rehearse(work: Work, change: Change, files: Files, handover: Handover) -> None:
    """Let nginx test what would be, and leave no trace."""
    if files.only_sidecars:
        return
    candidate = await _prepare(work, change, files, handover)
    try:
        refuse_if_bad(await change.gateway.nginx.test(candidate))
    finally:
        await asyncio.to_thread(change.gateway.generations.discard, candidate)


def refuse_if_bad(tested: TestResult) -> None:
    """Raises ``NginxRefused`` with nginx's words."""
    if not tested.ok:
        raise NginxRefused(
            "nginx refuses this configuration; nothing was changed",
            hint="read nginx's words in the details",
            details=tested.output,
        )


async def _switch(
    work: Work, change: Change, files: Files, published: PublishedRow, handover: Handover
) -> None:
    generations, nginx = change.gateway.generations, change.gateway.nginx
    candidate = await _prepare(work, change, files, handover)
    work.on_rollback(lambda: take_back(generations, nginx, candidate))
    work.after_commit(lambda: _prune(change.gateway, candidate.number))
    if files.only_sidecars:
        await asyncio.to_thread(generations.switch, candidate)
        published.generation = candidate.number
        return
    outcome = await go_live(generations, nginx, candidate, reload=work.reload)
    _record(work, change, outcome, published)


def _record(work: Work, change: Change, outcome: Outcome, published: PublishedRow) -> None:
    """Keep what nginx said: for the caller, the audit and the status page."""
    said = "\n".join(part for part in (outcome.output, outcome.remedy) if part)
    published.generation = outcome.generation
    published.reload_pending = not outcome.live
    published.last_output = said
    if outcome.live or outcome.remedy:
        published.last_reload_ok = outcome.live
        published.last_reload_at = now()
    if outcome.remedy:
        change.warning = outcome.remedy
        log.warning("change is not live", generation=outcome.generation, remedy=outcome.remedy)
    elif not outcome.live:
        change.warning = "tested and stored; live after the next reload"
    for row in work.audits:
        row.nginx_reload_ok = outcome.live if work.reload else None
        row.nginx_reload_output = said


async def _reload_pending(change: Change, published: PublishedRow, *, needed: bool) -> None:
    """Raises ``Unavailable`` when nginx does not load what is ``needed``."""
    nginx = change.gateway.nginx
    number = change.gateway.generations.current() or 0
    status = await nginx.status()
    if not status.live:
        change.warning = f"{status.problem}. {status.remedy}"
        return
    before = await nginx.reload()
    published.last_reload_ok = await nginx.wait_loaded(number, before)
    published.last_reload_at = now()
    published.reload_pending = not published.last_reload_ok
    if not published.reload_pending:
        return
    if needed:
        raise Unavailable(
            "nginx does not load an earlier change that waits for it; nothing was changed",
            hint="read its error log, mend what it names, then: holdfast config reload",
        )
    change.warning = "nginx did not load the newest generation: read its error log"


async def _prune(gateway: Gateway, number: int) -> None:
    """Now and then: it reads every record that is kept."""
    if number % PRUNED_EVERY == 0:
        await asyncio.to_thread(gateway.generations.prune)

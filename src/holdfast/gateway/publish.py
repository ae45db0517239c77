"""What is stored and what nginx runs with change together or not at all.

A service says what it changed (`mark_changed`). Right before the commit, once a transaction, the
rows are rendered to a new generation, nginx tests it, the link is switched, nginx reloads, routing
flags are set, and only then is the transaction committed. A refusal or failure undoes all of it.

Order of locks, everywhere: the database's writer first, then `change_lock`, which is held until the
commit is through, so that database and disk see changes in one order. Plain bucket routes are flags
only: no generation, no test, no reload.
"""

import asyncio
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from math import ceil
from types import MappingProxyType
from weakref import WeakKeyDictionary, WeakSet

from holdfast.gateway import file_queries, queries, render
from holdfast.gateway.context import Gateway
from holdfast.gateway.flag_change import FlagChange
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.render_model import RenderContext
from holdfast.gateway.service import rows
from holdfast.gateway.tables import PublishedRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, Conflict, NginxRefused
from holdfast.kernel.logging import get_logger
from holdfast.kernel.nginx import Candidate, Outcome, change_lock, go_live, take_back
from holdfast.kernel.nginx.generations import MAIN
from holdfast.kernel.nginx.program import TestResult
from holdfast.kernel.work import Work

log = get_logger(__name__)
PRUNED_EVERY = 25
GATE_MARGIN_SECONDS = 2
"""For the driver to step back in when a hold took too long."""
_UPDATED = re.compile(r"^(# .* updated:)\S*$", re.MULTILINE)


@dataclass(slots=True)
class Change:
    """What a transaction has changed, by names: old ones too, so that a rename leaves no file."""

    gateway: Gateway
    pools: set[str] = field(default_factory=set)
    vhosts: set[str] = field(default_factory=set)
    flags: set[tuple[str, str]] = field(default_factory=set)
    flags_of: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
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
    change.renamed.update(renamed)


def warning_of(work: Work) -> str:
    """What the caller of an accepted change must know: it is not live, and what to do."""
    change = _changes.get(work)
    return change.warning if change else ""


async def render_context(gateway: Gateway) -> RenderContext:
    """What files depend on beside the rows. Without an nginx program: its usual values."""
    nginx, root = gateway.nginx, gateway.settings.nginx_root
    longest_wait = ceil(gateway.settings.migration_max_hold_seconds) + GATE_MARGIN_SECONDS
    try:
        build, main = await nginx.build(), await nginx.main_file()
    except AppError:
        return RenderContext(
            nginx_dir=root, control_port=nginx.control_port, gate_timeout_seconds=longest_wait
        )
    return RenderContext(
        nginx_dir=root,
        control_port=nginx.control_port,
        gate_timeout_seconds=longest_wait,
        http2="directive" if build.http2 == "directive" else "listen",
        counts_requests=build.counts_requests,
        access_logs=main.access_logs,
        hash_sizes=not main.hash_sizes,
    )


@dataclass(frozen=True, slots=True)
class Files:
    """Texts by path, and paths that must go."""

    changed: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    new_vhosts: frozenset[str] = frozenset()
    """No generation knows them yet: their flags can be set before the switch."""
    gone_vhosts: frozenset[str] = frozenset()
    """No row knows them any more: their flags serve until the switch."""

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)

    @property
    def only_sidecars(self) -> bool:
        """True when nginx reads none of them."""
        return not any(path.endswith(".conf") for path in (*self.changed, *self.removed))


async def _publish(work: Work, change: Change) -> None:
    change.done = True
    await work.session.flush()
    await hold_lock(work, change.gateway)
    published = await queries.published(work.session)
    await _refuse_without_rows(change.gateway, published)
    files = await _files(work, change) if change.pools or change.vhosts else Files()
    flags = await FlagChange.plan(work.session, change.gateway, change.flags, change.flags_of)
    if not (files or flags):
        return
    if work.dry_run:
        await _rehearse(work, change, files)
        return
    work.on_rollback(flags.undo)
    await flags.remove(lambda vhost: vhost not in files.gone_vhosts)
    await flags.set(lambda vhost: vhost in files.new_vhosts)
    if files:
        await _switch(work, change, files, published)
    elif published.reload_pending and work.reload:
        await _reload_pending(change, published)
    work.on_rollback(flags.undo)  # before the way back of the switch: they may name a new pool
    await flags.set(lambda vhost: vhost not in files.new_vhosts)
    await flags.remove(lambda vhost: vhost in files.gone_vhosts)
    for vhost in files.gone_vhosts:
        _forget_folder(work, change.gateway, vhost)


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


async def hold_lock(work: Work, gateway: Gateway) -> None:
    """Take the lock of nginx's directory until this transaction has ended; once is enough."""
    if work in _holding:
        return
    _holding.add(work)
    stack = AsyncExitStack()
    await stack.enter_async_context(change_lock(gateway.settings.nginx_root))
    work.on_rollback(stack.aclose)
    work.after_commit(stack.aclose)


async def _files(work: Work, change: Change) -> Files:
    """The files of the changed pools and vhosts that are not on disk as they should be."""
    session, generations = work.session, change.gateway.generations
    wanted: dict[str, str] = {}
    possible: set[str] = set()
    for name in change.pools:
        possible.update(render.pool_paths(name))
    for name in change.vhosts:
        possible.update(render.vhost_paths(name))
    for pool in await rows.pool_specs(session, change.pools):
        wanted |= render.pool_files(pool)
    specs = await rows.vhost_specs(session, change.vhosts)
    context = await render_context(change.gateway)
    for vhost in specs:
        wanted |= render.vhost_files(vhost, context)
    on_disk = {path: generations.read(path) for path in possible}
    known = {name for name in change.vhosts if on_disk[render.vhost_paths(name)[0]] is not None}
    # An edit by hand may be what we would write: the record must say it too.
    written = generations.record().files
    digests = {path: sha256(text.encode()).hexdigest() for path, text in wanted.items()}
    return Files(
        {
            path: text
            for path, text in wanted.items()
            if (on_disk[path] != text or written.get(path) != digests[path])
            and not _only_younger(text, on_disk[path], written.get(path))
        },
        {p for p in possible - wanted.keys() if on_disk[p] is not None or p in written},
        frozenset(change.vhosts - known),
        frozenset(change.vhosts - {vhost.server_name for vhost in specs}),
    )


def _only_younger(text: str, there: str | None, written: str | None) -> bool:
    """True for a file of nginx's that would only get another time: that is worth no reload.

    The sidecar has the time of the last change.
    """
    if there is None or there == text or sha256(there.encode()).hexdigest() != written:
        return False
    return _UPDATED.sub(r"\1", text, count=1) == _UPDATED.sub(r"\1", there, count=1)


async def _prepare(work: Work, change: Change, files: Files) -> Candidate:
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
        former=change.renamed,
    )
    reason = "; ".join(f"{row.action} {row.entity_type}" for row in work.audits[:3]) or "publish"
    return await asyncio.to_thread(
        generations.prepare,
        {**files.changed, **main},
        files.removed,
        author=work.actor.name,
        reason=reason,
    )


async def _rehearse(work: Work, change: Change, files: Files) -> None:
    """Let nginx test what would be, and leave no trace."""
    if files.only_sidecars:
        return
    candidate = await _prepare(work, change, files)
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


async def _switch(work: Work, change: Change, files: Files, published: PublishedRow) -> None:
    generations, nginx = change.gateway.generations, change.gateway.nginx
    candidate = await _prepare(work, change, files)
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


async def _reload_pending(change: Change, published: PublishedRow) -> None:
    """A flag may name a pool that waits for a reload: the change is live only after it."""
    nginx, number = change.gateway.nginx, published.generation
    status = await nginx.status()
    if not status.live:
        change.warning = f"{status.problem}. {status.remedy}"
        return
    before = await nginx.reload()
    published.last_reload_ok = await nginx.wait_loaded(number, before)
    published.last_reload_at = now()
    published.reload_pending = not published.last_reload_ok
    if published.reload_pending:
        change.warning = "nginx did not load the newest generation: read its error log"


async def _prune(gateway: Gateway, number: int) -> None:
    """Now and then: it reads every record that is kept."""
    if number % PRUNED_EVERY == 0:
        await asyncio.to_thread(gateway.generations.prune)

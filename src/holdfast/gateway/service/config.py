"""The files that nginx runs with: state, test, reload, rebuild, restore, history, way back."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import select

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.publish import Waiting, mark_changed, refuse_without_files
from holdfast.gateway.service import drift
from holdfast.gateway.tables import PoolRow, PublishedRow, VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import NotFound
from holdfast.kernel.nginx import Generation, NginxStatus, change_lock, disk
from holdfast.kernel.nginx.generations import MAIN
from holdfast.kernel.services import Services
from holdfast.kernel.work import Work


@dataclass(frozen=True, slots=True)
class FileState:
    """One file of the live generation, as written and as it is."""

    path: str
    sha256_written: str | None
    sha256_now: str | None
    drifted: bool
    diff: str
    written_at: str


@dataclass(frozen=True, slots=True)
class ConfigState:
    """Everything the configuration page shows first."""

    files: list[FileState]
    published: PublishedRow
    nginx: NginxStatus
    generation: int | None


@dataclass(slots=True)
class Rebuilt:
    """What a rebuild wrote and removed: paths below the live generation, and flags."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


async def state(services: Services) -> ConfigState:
    """Files, drift, the last reload, and whether nginx runs with what is written."""
    gateway = services.get(Gateway)
    async with services.database.read() as session:
        drifted = {item.path: item for item in await drift.find(session, gateway)}
        published = await queries.published(session)
    number = gateway.generations.current()
    record = await asyncio.to_thread(gateway.generations.record)
    paths = sorted(record.files.keys() | drifted.keys())
    files = [await asyncio.to_thread(_file_state, gateway, path, record, drifted) for path in paths]
    return ConfigState(files, published, await gateway.nginx.status(), number)


async def validate(gateway: Gateway) -> tuple[bool, str]:
    """Let nginx test what is live on disk, with the operator's own file."""
    tested = await gateway.nginx.test_live()
    return tested.ok, tested.output


async def reload(work: Work, gateway: Gateway) -> tuple[bool, str]:
    """Test what is on disk and make nginx run with it; gives nginx's words.

    A dry run tells whether it could: what is on disk is good, and nginx would read it.
    """
    await refuse_without_files(work.session, gateway)
    if work.dry_run:
        return await _could_reload(gateway)
    async with change_lock(gateway.settings.nginx_root):
        ok, output = await _reload(gateway)
    published = await queries.published(work.session)
    published.last_reload_ok, published.last_reload_at = ok, now()
    published.last_output = output
    published.reload_pending = published.reload_pending and not ok
    work.audit("manual_reload", "config", None)
    work.emit("gateway", "config.reloaded", {"ok": ok})
    for row in work.audits:
        row.nginx_reload_ok, row.nginx_reload_output = ok, output
    return ok, output


async def rebuild(work: Work, gateway: Gateway) -> Rebuilt:
    """Make the disk what the rows say: files, flags, nothing more. A second one changes nothing."""
    session = work.session
    result = Rebuilt()
    before = await asyncio.to_thread(_snapshot, gateway)
    pools = set(await session.scalars(select(PoolRow.name)))
    vhosts = set(await session.scalars(select(VhostRow.server_name)))
    if not work.dry_run:
        await asyncio.to_thread(_restore_main, gateway)
    mark_changed(
        work,
        gateway,
        pools=pools | _names(before, "pools/"),
        vhosts=vhosts | _names(before, "vhosts/"),
        flags_of=vhosts | {vhost for vhost, _, _ in gateway.flags.list()},
        waiting=Waiting.REPLACED,
    )

    if work.dry_run:
        found = await drift.find(session, gateway)
        result.written = [item.path for item in found if item.kind != "extra"]
        result.removed = [item.path for item in found if item.kind == "extra"]
        return result

    work.audit("rebuild", "config", None)
    work.emit("gateway", "config.rebuilt", {})
    await work.settle()
    if gateway.flags.lost:
        await asyncio.to_thread(gateway.flags.make_ready)
    after = await asyncio.to_thread(_snapshot, gateway)
    result.written = sorted(path for path, text in after.items() if before.get(path) != text)
    result.removed = sorted(before.keys() - after.keys())
    return result


async def rewrite_file(work: Work, gateway: Gateway, given: str) -> tuple[str, bool]:
    """Put one file, or flag, back to what the rows say; gives its path and whether it went."""
    path = relative_path(gateway, given)
    kind, _, rest = path.partition("/")
    name = rest.removesuffix(".meta.json").removesuffix(".conf")
    if path == MAIN:
        if not work.dry_run:
            await asyncio.to_thread(_restore_main, gateway)
        _tell_restored(work, path)
        return path, False
    if kind == drift.ROUTES and len(rest.split("/")) == len(("vhost", "bucket", "cur")):
        vhost, bucket, _ = rest.split("/")
        mark_changed(work, gateway, flags=[(vhost, bucket)])
        known: Collection[Any] = await queries.routed_buckets(
            work.session, vhosts=[vhost], buckets=[bucket]
        )
    elif kind == "pools" and name:
        mark_changed(work, gateway, pools=[name])
        known = [row for row in [await queries.pool_named(work.session, name)] if row]
    elif kind == "vhosts" and name:
        mark_changed(work, gateway, vhosts=[name])
        known = [row for row in [await queries.vhost_named(work.session, name)] if row]
    else:
        raise NotFound(f"{given} is no pool's or vhost's file", hint="GET /api/config/status")
    if not known and gateway.generations.read(path) is None and kind != drift.ROUTES:
        raise NotFound(f"{given} is no pool's or vhost's file", hint="GET /api/config/status")
    _tell_restored(work, path)
    return path, not known


def _tell_restored(work: Work, path: str) -> None:
    work.audit("rewrite_file", "config", path)
    work.emit("gateway", "config.restored", {"path": path})


async def history(gateway: Gateway) -> list[Generation]:
    """The generations that are kept, newest first."""
    return await asyncio.to_thread(gateway.generations.history)


async def difference(gateway: Gateway, before: int, after: int) -> str:
    """Unified diff of two generations."""
    return await asyncio.to_thread(gateway.generations.diff, before, after)


def relative_path(gateway: Gateway, given: str) -> str:
    """A path as clients give it (absolute, or below the live generation) as we keep it.

    Raises ``NotFound`` for any other place of the machine: nothing else is ever read.
    """
    path = Path(given)
    if path.is_absolute():
        root = gateway.settings.nginx_root
        for base in (root / "live", root):
            if path.is_relative_to(base):
                path = path.relative_to(base)
                break
        else:
            raise NotFound(f"{given} is not a file of the gateway", hint="GET /api/config/status")
    if any(part in {"", ".", ".."} for part in str(path).split("/")) or "\0" in given:
        raise NotFound(f"{given!r} is not a file of the gateway", hint="GET /api/config/status")
    return str(path)


def shown_path(gateway: Gateway, path: str) -> str:
    """Where a file lies on this machine."""
    root = gateway.settings.nginx_root
    return str(root / path if path.startswith(f"{drift.ROUTES}/") else root / "live" / path)


async def _could_reload(gateway: Gateway) -> tuple[bool, str]:
    tested = await gateway.nginx.test_live()
    if not tested.ok:
        return False, tested.output
    status = await gateway.nginx.status()
    if not status.live:
        return False, f"{tested.output}\n{status.problem}. {status.remedy}"
    return True, tested.output


async def _reload(gateway: Gateway) -> tuple[bool, str]:
    ok, output = await _could_reload(gateway)
    if not ok:
        return False, output
    before = await gateway.nginx.reload()
    number = gateway.generations.current() or 0
    if not await gateway.nginx.wait_loaded(number, before):
        return False, f"{output}\nnginx did not load it: read its error log"
    return True, output


def _restore_main(gateway: Gateway) -> None:
    """The file that nginx includes follows from its generation: put it back when it drifted."""
    generations = gateway.generations
    text = generations.written(MAIN)
    if text is not None and generations.read(MAIN) != text:
        disk.replace_file(generations.live / MAIN, text)


def _snapshot(gateway: Gateway) -> dict[str, str]:
    """Every file and flag; ``http.conf`` has its generation's number in it, so it is left out."""
    found = gateway.generations.files()
    found.pop(MAIN, None)
    for vhost, bucket, flag in gateway.flags.list():
        found[drift.flag_path(vhost, bucket)] = flag.name.partition(".")[2]
    return found


def _names(files: Collection[str], folder: str) -> set[str]:
    return {
        path.removeprefix(folder).removesuffix(".meta.json").removesuffix(".conf")
        for path in files
        if path.startswith(folder)
    }


def _file_state(
    gateway: Gateway, path: str, record: Generation, drifted: dict[str, drift.Drifted]
) -> FileState:
    written, item = record.files.get(path), drifted.get(path)
    digest = written
    if item:
        text = gateway.generations.read(path) if not path.startswith(drift.ROUTES) else None
        digest = sha256(text.encode()).hexdigest() if text is not None else None
    return FileState(
        path=shown_path(gateway, path),
        sha256_written=written,
        sha256_now=digest,
        drifted=item is not None,
        diff=item.diff if item else "",
        written_at=record.created_at,
    )

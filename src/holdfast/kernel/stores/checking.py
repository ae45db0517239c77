"""Whether a store can be reached and listed, what it can do, and whose key its host shows."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.errors import AppError, BadRequest, Conflict, NotFound, Unavailable
from holdfast.kernel.process import ProcessFailed, stream
from holdfast.kernel.services import Services
from holdfast.kernel.stores.first_use import both_sides, host_of, named, trusted_at_first
from holdfast.kernel.stores.host_keys import HostKey, keys_in, known_lines, scan
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.model import Powers
from holdfast.kernel.stores.place import Place, S3Place, place_of
from holdfast.kernel.stores.rclone import NO_FOLDER, RcloneStore
from holdfast.kernel.stores.rclone_daemon import find_rclone, rclone_environment
from holdfast.kernel.stores.rclone_words import (
    HostKeyChanged,
    RcloneFailed,
    listing_failure,
    rclone_failure,
)
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.service import ENTITY, audited, get_store
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import Actor

CHECK_SECONDS = 90.0
_S3_HINTS = {
    "InvalidAccessKeyId": "the server does not know this access key",
    "SignatureDoesNotMatch": "are secret key, region and both clocks right?",
    "AccessDenied": "these keys may not list it",
    "RequestTimeTooSkewed": "the clocks of this machine and the server differ too much",
    "NoSuchBucket": "the bucket is the first part of the store's root",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """A store that could be listed, and what it can do."""

    is_empty: bool
    powers: Powers
    host_keys: tuple[HostKey, ...]
    newly_trusted: bool
    """Whether its host's keys were seen for the first time, and are trusted from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeys:
    """The keys of a store's host: those that are trusted, and those that it shows now."""

    trusted: tuple[HostKey, ...]
    shown: tuple[HostKey, ...]


async def check_store(services: Services, actor: Actor, reference: int | str) -> StoreCheck:
    """Reach a store and list it; the keys of an SFTP host are trusted when first seen.

    Raises what is wrong, in our words: ``NotFound`` for a root that is not there,
    `HostKeyChanged` with both fingerprints, ``BadGateway``, ``Unavailable``.
    """
    async with services.database.read() as session:
        row = await get_store(session, reference)
    try:
        found = await _checked(services, actor, row)
    except AppError as error:
        wrong = {"message": error.message, "hint": error.hint, "code": error.code}
        await _keep(services, actor, row.id, wrong, reachable=False)
        raise
    told = {
        "empty": found.is_empty,
        "hashes": sorted(found.powers.hashes),
        "hashes_on_request": sorted(found.powers.hashes_on_server),
        "modification_times": found.powers.modification_times,
    }
    await _keep(services, actor, row.id, told, reachable=True)
    return found


async def _checked(services: Services, actor: Actor, row: StoreRow) -> StoreCheck:
    is_new = row.kind == "sftp" and not row.host_keys
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            if is_new:
                shown = await scan(*host_of(row))
                first = await trusted_at_first(services, *host_of(row), shown)
                row = await _trust(services, actor, row, first)
            place = await place_of(services, row)
            is_empty = await _is_empty(services, place)
            store = await RcloneStore.connect(services.get(RcloneHub).daemon, place.remote)
    except TimeoutError:
        raise Unavailable(
            f"store {row.name!r} was not listed within {CHECK_SECONDS:g} s",
            hint="is it reachable from here, and quick enough?",
        ) from None
    except HostKeyChanged as error:
        raise error if is_new else await _host_key_changed(row) from None
    except S3Error as error:
        raise RcloneFailed(f"store {row.name!r}: {error.message}", hint=_s3_hint(error)) from None
    except RcloneFailed as error:
        raise rclone_failure(error.said, f"store {row.name!r} could not be listed") from None
    return StoreCheck(
        is_empty=is_empty,
        powers=store.can,
        host_keys=tuple(keys_in(row.host_keys)),
        newly_trusted=is_new,
    )


async def _keep(
    services: Services, actor: Actor, store_id: int, told: Mapping[str, Any], *, reachable: bool
) -> None:
    async with services.database.write(actor) as work:
        row = await work.session.get(StoreRow, store_id)
        if row is None:
            return
        row.reachable, row.checked_at, row.check_told = reachable, now(), json.dumps(told)
        work.emit(ENTITY, "checked", {"id": row.id, "name": row.name, "reachable": reachable})


async def host_keys_of(services: Services, reference: int | str) -> tuple[StoreRow, HostKeys]:
    """Ask an SFTP store's host for its keys; nothing changes. Raises ``BadRequest``."""
    async with services.database.read() as session:
        row = await get_store(session, reference)
    if row.kind != "sftp":
        raise BadRequest(f"store {row.name!r} is no SFTP store: it has no host key")
    shown = await scan(*host_of(row))
    return row, HostKeys(trusted=tuple(keys_in(row.host_keys)), shown=tuple(shown))


async def trust_host_key(
    services: Services,
    actor: Actor,
    reference: int | str,
    fingerprint: str,
    *,
    dry_run: bool = False,
) -> HostKeys:
    """Trust the one key of this fingerprint, if the host shows it now; what was trusted is not.

    Raises ``Conflict`` with both sides when it shows others.
    """
    row, keys = await host_keys_of(services, reference)
    wanted = [key for key in keys.shown if key.fingerprint == fingerprint.strip()]
    if not wanted:
        raise Conflict(
            f"{fingerprint.strip()[:100]!r} is not what the host of {row.name!r} shows now",
            hint="type the fingerprint that its owner confirmed, with SHA256: before it",
            details=both_sides(keys.trusted, keys.shown),
        )
    await _trust(services, actor, row, wanted, dry_run=dry_run)
    return HostKeys(trusted=tuple(wanted), shown=keys.shown)


async def _is_empty(services: Services, place: Place) -> bool:
    """Look at the first entry of the root. Raises ``NotFound`` when there is no root."""
    empty_for_us = await _is_empty_bucket(place.s3) if place.s3 else None
    daemon = services.get(RcloneHub).daemon
    await daemon.call("rc/noop", {}, remotes=(place.remote,))  # obscures the passwords
    words = [find_rclone(), "lsf", "--max-depth=1", "--retries=1", "--low-level-retries=1"]
    words += ["--contimeout=15s", "--timeout=30s", "--config=", "--", f"hf:{place.remote.root}"]
    lines = stream(
        words,
        silence_seconds=CHECK_SECONDS,
        env={**rclone_environment(daemon.directory), **place.remote.environment()},
        cwd=daemon.directory,
    )
    try:
        async with aclosing(lines):
            return await anext(lines, None) is None
    except ProcessFailed as error:
        if error.returncode != NO_FOLDER:
            raise listing_failure(error, place.remote, place.name) from None
    if empty_for_us is None:
        raise NotFound(
            f"store {place.name!r}: its root {place.remote.root!r} is not there",
            hint="make it there, or give the store another root",
        )
    return empty_for_us


async def _is_empty_bucket(s3: S3Place) -> bool:
    async with s3.client(request_seconds=CHECK_SECONDS) as client:
        page = await client.list_page(s3.bucket, prefix=s3.prefix, max_keys=1)
    return not page.objects and not page.folders


async def _trust(
    services: Services,
    actor: Actor,
    seen: StoreRow,
    keys: Sequence[HostKey],
    *,
    dry_run: bool = False,
) -> StoreRow:
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        row = await get_store(work.session, seen.id)
        if row.updated_at != seen.updated_at:
            raise Conflict(f"store {row.name!r} was changed meanwhile", hint="try again")
        before = audited(services, row)
        row.host_keys = known_lines(*host_of(row), keys)
        row.updated_at = now()
        row.forget_check()
        work.audit("trust_host", ENTITY, row.id, before=before, after=audited(services, row))
        work.emit(ENTITY, "host_trusted", {"id": row.id, "name": row.name})
        await work.session.flush()
    return row


async def _host_key_changed(row: StoreRow) -> HostKeyChanged:
    """The same error with what was trusted and what is shown now."""
    trusted = keys_in(row.host_keys)
    try:
        shown = await scan(*host_of(row))
    except AppError:
        shown = []
    told = HostKeyChanged(
        f"the host of store {row.name!r} shows another key than the one that was trusted: "
        f"{named(shown)} instead of {named(trusted)}; it is not spoken to",
        hint="ask whoever runs it; if the new key is theirs: "
        f"holdfast store trust {row.name} FINGERPRINT",
    )
    told.details = both_sides(trusted, shown)
    return told


def _s3_hint(error: S3Error) -> str:
    return _S3_HINTS.get(error.s3_code, "")

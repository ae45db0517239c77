"""Stores as things that people manage: made, changed, shown without their secrets, deleted."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.contributors import contributors
from holdfast.kernel.errors import AppError, Conflict, NotFound
from holdfast.kernel.logging import get_logger
from holdfast.kernel.secrets import CannotUnseal
from holdfast.kernel.services import Services
from holdfast.kernel.stores import tables
from holdfast.kernel.stores.first_use import trusted_at_first
from holdfast.kernel.stores.host_keys import HostKey, keys_in, known_lines, scan
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.kinds import (
    KnownOptions,
    StoreDraft,
    check_secrets_given,
    checked_draft,
    looks_secret,
    masked,
    says_where,
    secret_names,
)
from holdfast.kernel.stores.place import secrets_of
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import Actor, Work

log = get_logger(__name__)
LARGEST_ID = 2**31 - 1
LONGEST_ID = 20
ENTITY = "store"
USERS_NAMED = 10
AskHost = Callable[[str, int], Awaitable[Sequence[HostKey]]]
"""Gives the keys that a host shows; raises ``Unavailable``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreChanges:
    """What to change of a store; None: nothing. An option of None is taken away."""

    name: str | None = None
    root: str | None = None
    options: Mapping[str, str | None] = field(default_factory=dict)
    description: str | None = None

    def __repr__(self) -> str:
        return f"StoreChanges({self.name!r}, {sorted(self.options)!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownStore:
    """What may be shown of a store."""

    id: int
    name: str
    kind: str
    root: str
    options: dict[str, str]
    """With the sealed ones masked."""
    sealed: tuple[str, ...]
    """Names of the options whose values are sealed."""
    readable: bool
    """False when they were sealed with another ``HOLDFAST_SECRET``: give them anew."""
    host_keys: tuple[HostKey, ...]
    description: str
    reachable: bool | None
    """Whether it could be listed when it was last checked; None: not checked since it changed."""
    checked_at: datetime | None
    problem: str
    """What was wrong then."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A draft that passed its checks, and what its host showed; nobody is asked any more."""

    draft: StoreDraft
    secret: frozenset[str]
    host_keys: str = ""
    warning: str = ""
    """Why the host's keys are not known yet; empty: they are, or there are none."""


async def get_store(session: AsyncSession, reference: int | str) -> StoreRow:
    """The store of this id or name. Raises ``NotFound``."""
    text = str(reference)
    if text.isascii() and text.isdigit():
        store_id = int(text[:LONGEST_ID])
        row = await session.get(StoreRow, store_id) if store_id <= LARGEST_ID else None
    else:
        row = await tables.store_named(session, text)
    if row is None:
        raise NotFound(f"store {text!r} not found", hint="holdfast store list")
    return row


async def list_stores(
    session: AsyncSession, *, limit: int, offset: int, words: str = ""
) -> tuple[Sequence[StoreRow], int]:
    """Stores by name, and how many there are in all."""
    return await tables.store_page(session, limit=limit, offset=offset, words=words)


async def prepare(services: Services, draft: StoreDraft, ask: AskHost = scan) -> Prepared:
    """Check a draft, and ask an SFTP host for its keys: to be done outside of a transaction.

    Raises ``Invalid``, and `HostKeyChanged` for a host that other stores know by another key. A
    host that does not answer is no failure: it is asked again by `checking.check_store`.
    """
    known = await services.get(RcloneHub).daemon.options(draft.kind)
    checked = checked_draft(draft, known)
    prepared = Prepared(draft=checked, secret=secret_names(checked.options, known))
    if checked.kind != "sftp":
        return prepared
    try:
        shown = await ask(*checked.host)
    except AppError as error:
        return replace(prepared, warning=error.message)
    trusted = await trusted_at_first(services, *checked.host, shown)
    return replace(prepared, host_keys=known_lines(*checked.host, trusted))


async def add_store(work: Work, services: Services, prepared: Prepared) -> StoreRow:
    """Keep a store. Raises ``Conflict`` when its name is taken."""
    draft = prepared.draft
    await _check_name_free(work.session, draft.name)
    moment = now()
    row = StoreRow(
        name=draft.name,
        kind=draft.kind,
        root=draft.root,
        host_keys=prepared.host_keys,
        description=draft.description,
        created_at=moment,
        updated_at=moment,
    )
    _put_options(services, row, prepared)
    work.session.add(row)
    await _flush(work, _taken(draft.name))
    work.audit("create", ENTITY, row.id, after=audited(services, row))
    work.emit(ENTITY, "created", {"id": row.id, "name": row.name})
    return row


async def create_store(
    services: Services, actor: Actor, draft: StoreDraft, *, dry_run: bool = False
) -> tuple[ShownStore, str]:
    """Add a store; the text is what is still to be done, empty when nothing is.

    Raises ``Invalid`` and ``Conflict``.
    """
    prepared = await prepare(services, draft)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        made = shown_store(services, await add_store(work, services, prepared))
    return made, _advice(made, prepared)


async def update_store(
    services: Services,
    actor: Actor,
    reference: int | str,
    changes: StoreChanges,
    *,
    dry_run: bool = False,
) -> tuple[ShownStore, str]:
    """Change a store; secrets that are not given stay. A new host or port is asked for its keys.

    With a new address its secrets must be given anew.
    Raises ``NotFound``, ``Invalid``, ``Conflict``.
    """
    async with services.database.read() as session:
        row = await get_store(session, reference)
    known = await services.get(RcloneHub).daemon.options(row.kind)
    old = _draft_of(services, row)
    new = checked_draft(_changed(old, changes, known), known)
    secret = secret_names(new.options, known)
    check_secrets_given(old.options, new.options, secret, _given(old, changes))
    prepared = Prepared(draft=new, secret=secret, host_keys=row.host_keys)
    if new.root != old.root:
        for check in contributors(services).store_moves:
            await check(services, row, new.root)
    if new.kind == "sftp" and (new.host != old.host or not row.host_keys):
        prepared = await prepare(services, new)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        kept = shown_store(services, await _replace(work, services, row, prepared))
    return kept, _advice(kept, prepared)


async def delete_store(work: Work, services: Services, reference: int | str) -> None:
    """Forget a store; what lies on it stays. Raises ``NotFound``, ``Conflict`` while it is used."""
    row = await get_store(work.session, reference)
    users = await used_by(work.session, services, row.id)
    if users:
        raise Conflict(
            f"store {row.name!r} is used by {', '.join(users[:USERS_NAMED])}",
            hint="delete them first, or give them another store",
        )
    work.audit("delete", ENTITY, row.id, before=audited(services, row))
    work.emit(ENTITY, "deleted", {"id": row.id, "name": row.name})
    await work.session.delete(row)
    await _flush(work, Conflict(f"store {row.name!r} came into use just now", hint="look again"))
    services.get(RcloneHub).forget(row.id)


async def used_by(session: AsyncSession, services: Services, store_id: int) -> list[str]:
    """What stands on a store, in words."""
    found: list[str] = []
    for ask in contributors(services).store_users:
        found += await ask(session, store_id)
    return found


async def unreadable(session: AsyncSession, services: Services) -> list[str]:
    """Names of the stores whose secrets the present secret of Holdfast cannot read."""
    rows, _ = await tables.store_page(session, limit=LARGEST_ID, offset=0)
    return [row.name for row in rows if not shown_store(services, row).readable]


def is_at(row: StoreRow, prepared: Prepared) -> bool:
    """Whether a store is where a draft says, however it is reached; what that leaves open fits."""
    draft = prepared.draft
    told: dict[str, str] = json.loads(row.options)
    openly = {name: text for name, text in draft.options.items() if name not in prepared.secret}
    where = {name: text for name, text in openly.items() if says_where(name, draft.root)}
    return (row.kind, row.root) == (draft.kind, draft.root) and where.items() <= told.items()


def is_same(services: Services, row: StoreRow, prepared: Prepared) -> bool:
    """The same, reached with the same secrets."""
    old = _draft_of(services, row)
    return is_at(row, prepared) and dict(old.options) == dict(prepared.draft.options)


def shown_store(services: Services, row: StoreRow) -> ShownStore:
    """A store without its secrets."""
    options: dict[str, str] = json.loads(row.options)
    readable, hidden = True, dict[str, str]()
    try:
        hidden = secrets_of(services, row)
    except CannotUnseal:
        readable = False
    # kept by a version that did not know it for a secret: the next change seals it
    hidden |= {name: value for name, value in options.items() if looks_secret(name, value)}
    shown = {**options, **{name: masked(name, value) for name, value in hidden.items()}}
    return ShownStore(
        id=row.id,
        name=row.name,
        kind=row.kind,
        root=row.root,
        options=dict(sorted(shown.items())),
        sealed=tuple(sorted(hidden)),
        readable=readable,
        host_keys=tuple(keys_in(row.host_keys)),
        description=row.description,
        reachable=row.reachable,
        checked_at=row.checked_at,
        problem=json.loads(row.check_told).get("message", ""),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def audited(services: Services, row: StoreRow) -> dict[str, Any]:
    """A store as the audit has it."""
    shown = shown_store(services, row)
    return {
        "name": shown.name,
        "kind": shown.kind,
        "root": shown.root,
        "options": shown.options,
        "host_keys": [key.fingerprint for key in shown.host_keys],
        "description": shown.description,
    }


async def _replace(work: Work, services: Services, seen: StoreRow, prepared: Prepared) -> StoreRow:
    row = await get_store(work.session, seen.id)
    draft = prepared.draft
    if row.updated_at != seen.updated_at:
        raise Conflict(f"store {row.name!r} was changed meanwhile", hint="look at it and try again")
    is_same = draft == _draft_of(services, row) and prepared.host_keys == row.host_keys
    if is_same and shown_store(services, row).readable:
        return row
    if draft.name != row.name:
        await _check_name_free(work.session, draft.name)
    before = audited(services, row)
    old_secrets = _readable_secrets(services, row)
    row.name, row.root, row.description = draft.name, draft.root, draft.description
    row.host_keys = prepared.host_keys
    _put_options(services, row, prepared)
    row.updated_at = now()
    row.forget_check()
    new_secrets = secrets_of(services, row)
    names = sorted(
        name
        for name in old_secrets.keys() | new_secrets.keys()
        if old_secrets.get(name) != new_secrets.get(name)
    )
    after = {**audited(services, row), **({"changed_secrets": names} if names else {})}
    work.audit("update", ENTITY, row.id, before=before, after=after)
    work.emit(ENTITY, "updated", {"id": row.id, "name": row.name})
    await _flush(work, _taken(draft.name))
    return row


def _draft_of(services: Services, row: StoreRow) -> StoreDraft:
    options = {**json.loads(row.options), **_readable_secrets(services, row)}
    return StoreDraft(
        name=row.name,
        kind=row.kind,
        root=row.root,
        options=options,
        description=row.description,
    )


def _readable_secrets(services: Services, row: StoreRow) -> dict[str, str]:
    """The secrets; none when they were sealed with another secret: then all are to be given."""
    try:
        return secrets_of(services, row)
    except CannotUnseal:
        return {}


def _changed(old: StoreDraft, changes: StoreChanges, known: KnownOptions) -> StoreDraft:
    options = dict(old.options)
    secret = secret_names(options, known)
    for name, value in changes.options.items():
        if value is None:
            options.pop(name, None)
        elif name not in secret or value != masked(name, options[name]):  # as shown: not changed
            options[name] = value
    return replace(
        old,
        name=old.name if changes.name is None else changes.name,
        root=old.root if changes.root is None else changes.root,
        description=old.description if changes.description is None else changes.description,
        options=options,
    )


def _given(old: StoreDraft, changes: StoreChanges) -> set[str]:
    """The options that came with the change in clear, not masked as they are shown."""
    return {
        name
        for name, value in changes.options.items()
        if name not in old.options or value != masked(name, old.options[name])
    }


def _put_options(services: Services, row: StoreRow, prepared: Prepared) -> None:
    options = prepared.draft.options
    hidden = {name: value for name, value in options.items() if name in prepared.secret}
    openly = {name: value for name, value in options.items() if name not in prepared.secret}
    row.options = json.dumps(openly, sort_keys=True)
    row.secrets_enc = services.sealer.seal(json.dumps(hidden, sort_keys=True)) if hidden else ""


def _advice(store: ShownStore, prepared: Prepared) -> str:
    if not prepared.warning:
        return ""
    return f"{prepared.warning}; when it answers: holdfast store check {store.name}"


async def _check_name_free(session: AsyncSession, name: str) -> None:
    if await tables.store_named(session, name) is not None:
        raise _taken(name)


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a store {name!r} already", hint="choose another name")


async def _flush(work: Work, conflict: Conflict) -> None:
    """Write it down; ``conflict`` is what it means when somebody else was quicker."""
    try:
        await work.session.flush()
    except IntegrityError:
        raise conflict from None

"""Makes the stores and tiers of what an older tool kept; all of it, or nothing."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from holdfast.dropin.repos import LARGEST_FILE, Repository, StoreOf, read_repositories
from holdfast.kernel.errors import AppError, BadRequest, Conflict, Invalid
from holdfast.kernel.services import Services
from holdfast.kernel.stores import service as stores
from holdfast.kernel.stores.host_keys import HostKey, keys_in, scan
from holdfast.kernel.stores.kinds import StoreDraft
from holdfast.kernel.stores.service import Prepared
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import Actor, Work
from holdfast.tiers import queries
from holdfast.tiers.names import to_text
from holdfast.tiers.schemas import absolute_path
from holdfast.tiers.service import keeping
from holdfast.tiers.service.draft import TierDraft
from holdfast.tiers.service.ground import Ground, look
from holdfast.tiers.service.rooms import locate
from holdfast.tiers.tables import TierRow

FROM = "from baricadr's repos.yml"
LONGEST_NAME = 50
HOSTS_AT_ONCE = 16
_ALLOW = ("--allow-noatime", "disable_atime_test: true")
"""What a hint advises, and what it is called in the file."""


@dataclass(slots=True)
class Imported:
    """What was made, and what is worth a look."""

    stores: list[dict[str, Any]] = field(default_factory=list)
    tiers: list[dict[str, Any]] = field(default_factory=list)
    there: list[dict[str, Any]] = field(default_factory=list)
    """Tiers that an earlier import made: they are left as they are."""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What there is already."""

    stores: Sequence[StoreRow]
    tiers: Mapping[bytes, TierRow]
    """By their roots."""


async def import_repositories(
    services: Services, actor: Actor, text: str, *, dry_run: bool = False
) -> Imported:
    """Make a store and a tier of each repository of a repos.yml, but of those that are one already.

    Raises ``Invalid`` with everything that cannot be taken over as it is; then nothing was made.
    """
    if len(text) > LARGEST_FILE:
        raise Invalid("a repos.yml of more than a megabyte is none")
    repositories = await asyncio.to_thread(read_repositories, text)
    problems, result = list(repositories.problems), Imported()
    async with services.database.read() as session:
        rows, _ = await stores.list_stores(session, limit=stores.LARGEST_ID, offset=0)
        kept = _Kept(rows, {row.root: row for row in await queries.all_tiers(session)})
    prepared = await _prepared(services, repositories.found, problems)
    new = [
        one
        for one in repositories.found
        if one.store in prepared
        and not await _is_there(services, one, prepared[one.store], kept, problems, result)
    ]
    grounds = await _grounds(services, new, problems)
    _check(problems)
    async with services.database.write(actor) as work:
        work.dry_run = dry_run
        made = await _make_stores(work, services, new, prepared, kept, result)
        names = {row.name for row in kept.tiers.values()}
        for one in new:
            result.warnings += [f"{one.path}: {note}" for note in one.notes]
            with _collected(one.path, problems):
                tier = await _make_tier(work, one, made[one.store].id, names, grounds[one.path])
                result.tiers.append({**tier, "store": made[one.store].name})
        if new:
            work.audit("import", "tiers", None, after={"tiers": result.tiers})
        _check(problems)
    return result


async def _prepared(
    services: Services, repositories: Iterable[Repository], problems: list[str]
) -> dict[StoreOf, Prepared]:
    paths: dict[StoreOf, str] = {}
    for one in repositories:
        paths.setdefault(one.store, one.path)
    drafts = [_store_draft(store, _plain(store.label)) for store in paths]
    hosts = _Hosts()
    preparing = [stores.prepare(services, draft, hosts.ask) for draft in drafts]
    answers = await asyncio.gather(*preparing, return_exceptions=True)
    found: dict[StoreOf, Prepared] = {}
    for (store, path), ready in zip(paths.items(), answers, strict=True):
        with _collected(path, problems):
            if isinstance(ready, BaseException):
                raise ready
            found[store] = ready
    return found


async def _is_there(
    services: Services,
    one: Repository,
    ready: Prepared,
    kept: _Kept,
    problems: list[str],
    result: Imported,
) -> bool:
    """Whether a tier has this folder already; a problem when that has its files elsewhere."""
    with _collected(one.path, problems):
        try:
            ((root, below),) = await locate(services, [absolute_path(one.path)], kept.tiers)
        except BadRequest:
            return False
        if below:
            return False
        row = kept.tiers[root]
        store = next(store for store in kept.stores if store.id == row.store_id)
        if not stores.is_at(store, ready) or row.prefix != one.prefix:
            raise Conflict(
                f"this folder is the tier {row.name!r} already, of other files: those below "
                f"{row.prefix or '/'!r} of the store {store.name!r}"
            )
        result.there.append({"name": row.name, "path": to_text(root), "store": store.name})
        return True
    return True  # it is a problem


class _Hosts:
    """SFTP hosts, each of which is asked for its keys once, several at a time."""

    def __init__(self) -> None:
        self._limit = asyncio.Semaphore(HOSTS_AT_ONCE)
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[HostKey]]] = {}

    async def ask(self, host: str, port: int) -> Sequence[HostKey]:
        if (host, port) not in self._asked:
            self._asked[host, port] = asyncio.ensure_future(self._ask(host, port))
        return await self._asked[host, port]

    async def _ask(self, host: str, port: int) -> Sequence[HostKey]:
        async with self._limit:
            return await scan(host, port)


async def _make_stores(
    work: Work,
    services: Services,
    new: Iterable[Repository],
    prepared: Mapping[StoreOf, Prepared],
    kept: _Kept,
    result: Imported,
) -> dict[StoreOf, StoreRow]:
    """The store of each repository, by where and how it is reached: made if there is none."""
    taken = {row.name for row in kept.stores}
    found: dict[StoreOf, StoreRow] = {}
    for one in new:
        ready = prepared[one.store]
        same = (row for row in kept.stores if stores.is_same(services, row, ready))
        row = found.get(one.store) or next(same, None)
        if row is None:
            draft = replace(ready.draft, name=_free(one.store.label, taken))
            row = await stores.add_store(work, services, replace(ready, draft=draft))
            keys = [key.fingerprint for key in keys_in(row.host_keys)]
            told = {"name": row.name, "kind": row.kind, "root": row.root, "host_keys": keys}
            result.stores.append(told)
            if ready.warning:
                advice = f"when it answers: holdfast store check {row.name}"
                result.warnings.append(f"{one.path}: {ready.warning}; {advice}")
        found[one.store] = row
    return found


def _store_draft(store: StoreOf, name: str) -> StoreDraft:
    return StoreDraft(
        name=name,
        kind=store.kind,
        root=store.root,
        options=dict(store.options),
        description=FROM,
    )


async def _grounds(
    services: Services, repositories: Iterable[Repository], problems: list[str]
) -> dict[str, Ground]:
    """The folders of those that fit, by path."""
    found: dict[str, Ground] = {}
    for one in repositories:
        beside = [(PurePosixPath(path).name, ground.root) for path, ground in found.items()]
        with _collected(one.path, problems):
            draft = _draft(one, name="", store_id=0)
            found[one.path] = await look(services, draft, beside=beside, stores_elsewhere=True)
    return found


def _draft(one: Repository, *, name: str, store_id: int) -> TierDraft:
    return TierDraft(
        name=name,
        path=absolute_path(one.path),
        store_id=store_id,
        prefix=one.prefix,
        description=FROM,
        options=one.options,
    )


async def _make_tier(
    work: Work, one: Repository, store_id: int, names: set[str], ground: Ground
) -> dict[str, Any]:
    draft = _draft(one, name=_free(PurePosixPath(one.path).name, names), store_id=store_id)
    row = await keeping.create_tier(work, draft, ground)
    return {
        "name": row.name,
        "path": to_text(row.root),
        "prefix": row.prefix,
        "freezable": one.options.freezable,
        "age_days": one.options.age_days,
        "filters": list(one.options.filters),
        "auto_freeze_cron": one.options.auto_freeze_cron,
    }


def _free(wanted: str, taken: set[str]) -> str:
    """A name like this one that is not taken, taken now."""
    plain = _plain(wanted)
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def _plain(wanted: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")[:LONGEST_NAME] or "tier"
    return f"tier-{plain}" if plain.isdigit() else plain


def _check(problems: list[str]) -> None:
    hint = "mend the file, then import it again; nothing was made"
    if len(problems) == 1:
        raise Invalid(problems[0], hint=hint)
    if problems:
        raise Invalid(
            f"{len(problems)} repositories cannot be taken over as they are",
            hint=hint,
            details="\n".join(problems),
        )


@contextmanager
def _collected(path: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except AppError as error:
        hint = error.hint.replace(*_ALLOW)
        told = f"{error.message} ({hint})" if hint else error.message
        problems.append(told if told.startswith(f"{path}: ") else f"{path}: {told}")

"""Makes the stores and tiers of what an older tool kept; all of it, or nothing."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from holdfast.dropin.repos import LARGEST_FILE, Repository, StoreOf, read_repositories
from holdfast.kernel.errors import AppError, Invalid
from holdfast.kernel.services import Services
from holdfast.kernel.stores import service as stores
from holdfast.kernel.stores.host_keys import HostKey, scan
from holdfast.kernel.stores.kinds import StoreDraft
from holdfast.kernel.stores.service import Prepared
from holdfast.kernel.work import Actor, Work
from holdfast.tiers import queries
from holdfast.tiers.names import to_text
from holdfast.tiers.schemas import absolute_path
from holdfast.tiers.service import keeping
from holdfast.tiers.service.draft import TierDraft
from holdfast.tiers.service.ground import Ground, look

FROM = "from baricadr's repos.yml"
LONGEST_NAME = 50
NAMED = 5
HOSTS_AT_ONCE = 16


@dataclass(slots=True)
class Imported:
    """What was made, and what is worth a look."""

    stores: list[dict[str, Any]] = field(default_factory=list)
    tiers: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


async def import_repositories(
    services: Services, actor: Actor, text: str, *, dry_run: bool = False
) -> Imported:
    """Make a store and a tier of each repository of a repos.yml.

    Raises ``Invalid`` with everything that cannot be taken over as it is; then nothing was made.
    """
    if len(text) > LARGEST_FILE:
        raise Invalid("a repos.yml of more than a megabyte is none")
    repositories = await asyncio.to_thread(read_repositories, text)
    problems, result = list(repositories.problems), Imported()
    for one in repositories.found:
        result.warnings += [f"{one.path}: {note}" for note in one.notes]
    async with services.database.read() as session:
        rows, _ = await stores.list_stores(session, limit=stores.LARGEST_ID, offset=0)
        taken = {row.name for row in rows}
        names = {row.name for row in await queries.all_tiers(session)}
    prepared = await _prepared(services, repositories.found, taken, problems, result)
    grounds = await _grounds(services, repositories.found, problems)
    if len(prepared) == len({one.store for one in repositories.found}):
        async with services.database.write(actor) as work:
            work.dry_run = dry_run
            ids = await _make_stores(work, services, prepared, result)
            for one in repositories.found:
                if one.path not in grounds:
                    continue
                with _collected(one.path, problems):
                    ground = grounds[one.path]
                    made = await _make_tier(work, one, ids[one.store], names, ground)
                    store = prepared[one.store].draft.name
                    result.tiers.append({**made, "store": store})
            work.audit("import", "tiers", None, after={"tiers": result.tiers})
            _check(problems)
    _check(problems)
    return result


async def _prepared(
    services: Services,
    repositories: Iterable[Repository],
    taken: set[str],
    problems: list[str],
    result: Imported,
) -> dict[StoreOf, Prepared]:
    paths: dict[StoreOf, str] = {}
    for one in repositories:
        paths.setdefault(one.store, one.path)
    drafts = {
        store: StoreDraft(
            name=_free(store.label, taken),
            kind=store.kind,
            root=store.root,
            options=dict(store.options),
            description=FROM,
        )
        for store in paths
    }
    hosts = _Hosts()
    preparing = [stores.prepare(services, draft, hosts.ask) for draft in drafts.values()]
    answers = await asyncio.gather(*preparing, return_exceptions=True)
    found: dict[StoreOf, Prepared] = {}
    for (store, path), ready in zip(paths.items(), answers, strict=True):
        with _collected(path, problems):
            if isinstance(ready, BaseException):
                raise ready
            found[store] = ready
            if ready.warning:
                advice = f"when it answers: holdfast store check {ready.draft.name}"
                result.warnings.append(f"{path}: {ready.warning}; {advice}")
    return found


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
    work: Work, services: Services, prepared: dict[StoreOf, Prepared], result: Imported
) -> dict[StoreOf, int]:
    ids = {}
    for store, ready in prepared.items():
        row = await stores.add_store(work, services, ready)
        ids[store] = row.id
        result.stores.append({"name": row.name, "kind": row.kind, "root": row.root})
    return ids


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
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", wanted).strip("-._")[:LONGEST_NAME] or "tier"
    plain = f"tier-{plain}" if plain.isdigit() else plain
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name)
    return name


def _check(problems: list[str]) -> None:
    if problems:
        shown = "; ".join(problems[:NAMED])
        raise Invalid(
            f"{len(problems)} things cannot be taken over as they are: {shown}",
            hint="mend them in the file, then import again; nothing was made",
            details="\n".join(problems),
        )


@contextmanager
def _collected(path: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except AppError as error:
        problems.append(f"{path}: {error.message}")

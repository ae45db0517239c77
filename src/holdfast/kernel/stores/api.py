"""Stores over HTTP: ``/api/stores``. Secrets go in and never come out."""

from typing import Annotated, Any

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, WithJsonSchema

from holdfast.kernel.clock import iso_time
from holdfast.kernel.stores import checking, service
from holdfast.kernel.stores.checking import StoreCheck
from holdfast.kernel.stores.host_keys import HostKey
from holdfast.kernel.stores.kinds import StoreDraft, as_text
from holdfast.kernel.stores.service import ShownStore, StoreChanges
from holdfast.kernel.web.deps import (
    ADMIN,
    OPERATOR,
    ActorDep,
    PageDep,
    ReadDep,
    ServicesDep,
    WorkDep,
)
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/stores", tags=["stores"])
WARNING_HEADER = "X-Holdfast-Warning"
DryRun = Annotated[bool, Query(description="true: check everything, change nothing")]
OptionsIn = Annotated[
    Any,  # checked by ``as_text``: a complaint of the framework's would repeat what was given
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
            "description": "rclone's options of this kind; secrets among them are sealed",
        }
    ),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StoreIn(_Body):
    """A store to add. ``kind``: s3, sftp, local, or another kind of remote as rclone names it."""

    name: str = ""
    kind: str = ""
    root: str = ""
    options: OptionsIn = {}
    description: str = ""

    def draft(self) -> StoreDraft:
        """In the service's words."""
        options = {n: v for n, v in as_text(self.options).items() if v is not None}
        return StoreDraft(
            name=self.name,
            kind=self.kind,
            root=self.root,
            options=options,
            description=self.description,
        )


class StoreChange(_Body):
    """What to change. An option that is not named, or comes masked as it is shown, stays."""

    name: str | None = None
    root: str | None = None
    options: OptionsIn = {}
    description: str | None = None

    def changes(self) -> StoreChanges:
        """In the service's words."""
        return StoreChanges(
            name=self.name,
            root=self.root,
            options=as_text(self.options),
            description=self.description,
        )


class HostKeyIn(_Body):
    """The fingerprint of the key to trust; without it the keys are only shown."""

    fingerprint: str = ""


class HostKeyOut(BaseModel):
    """A key of an SFTP host."""

    kind: str
    fingerprint: str


class HostKeySeenOut(HostKeyOut):
    """A key that is trusted, or that the host shows now, or both."""

    trusted: bool
    shown: bool


class HostKeysOut(BaseModel):
    """The keys of a store's host; ``changed``: it shows none of those that are trusted."""

    keys: list[HostKeySeenOut]
    changed: bool


class StoreOut(BaseModel):
    """A store; the ``sealed`` ones of its options are masked."""

    id: int
    name: str
    kind: str
    root: str
    options: dict[str, str]
    sealed: list[str]
    readable: bool
    host_keys: list[HostKeyOut]
    description: str
    reachable: bool | None
    checked_at: str | None
    problem: str
    created_at: str | None
    updated_at: str | None


class StoreShownOut(StoreOut):
    """One store, and what stands on it."""

    used_by: list[str]


class CheckOut(BaseModel):
    """What a store that could be listed can do."""

    ok: bool
    empty: bool
    hashes: list[str]
    hashes_on_request: list[str]
    modification_times: bool
    host_keys: list[HostKeyOut]
    newly_trusted: bool


@router.get("")
async def list_stores(
    session: ReadDep,
    services: ServicesDep,
    page: PageDep,
    search: Annotated[str, Query(max_length=200, description="in the name")] = "",
) -> list[StoreOut]:
    """Stores by name."""
    rows, total = await service.list_stores(
        session, limit=page.limit, offset=page.offset, words=search
    )
    page.total(total)
    return [store_out(service.shown_store(services, row)) for row in rows]


@router.post("", status_code=201, dependencies=[ADMIN])
async def create_store(
    body: StoreIn,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    *,
    dry_run: DryRun = False,
) -> StoreOut:
    """Add a store; the keys of an SFTP host are asked for and trusted."""
    made, advice = await service.create_store(services, actor, body.draft(), dry_run=dry_run)
    _warn(response, advice)
    return store_out(made)


@router.get("/{store}")
async def show_store(store: str, session: ReadDep, services: ServicesDep) -> StoreShownOut:
    """One store by its id or name, and what uses it."""
    row = await service.get_store(session, store)
    users = await service.used_by(session, services, row.id)
    shown = store_out(service.shown_store(services, row))
    return StoreShownOut(**shown.model_dump(), used_by=users)


@router.put("/{store}", dependencies=[ADMIN])
async def update_store(
    store: str,
    body: StoreChange,
    services: ServicesDep,
    actor: ActorDep,
    response: Response,
    *,
    dry_run: DryRun = False,
) -> StoreOut:
    """Change a store; options that are not named stay, and null takes one away."""
    kept, advice = await service.update_store(
        services, actor, store, body.changes(), dry_run=dry_run
    )
    _warn(response, advice)
    return store_out(kept)


@router.delete("/{store}", status_code=204, response_class=Response, dependencies=[ADMIN])
async def delete_store(store: str, work: WorkDep, services: ServicesDep) -> None:
    """Forget a store that nothing uses; what lies on it stays."""
    await service.delete_store(work, services, store)


@router.post("/{store}/check", dependencies=[OPERATOR])
async def check_store(store: str, services: ServicesDep, actor: ActorDep) -> CheckOut:
    """Whether a store can be listed, and what it can do."""
    return check_out(await checking.check_store(services, actor, store))


@router.post("/{store}/host-key", dependencies=[ADMIN])
async def host_key(
    store: str,
    services: ServicesDep,
    actor: ActorDep,
    body: HostKeyIn | None = None,
    *,
    dry_run: DryRun = False,
) -> HostKeysOut:
    """Show the trusted keys of an SFTP host and its present ones, or trust one by fingerprint."""
    fingerprint = body.fingerprint if body else ""
    if fingerprint:
        keys = await checking.trust_host_key(services, actor, store, fingerprint, dry_run=dry_run)
    else:
        _, keys = await checking.host_keys_of(services, store)
    return host_keys_out(keys)


def store_out(shown: ShownStore) -> StoreOut:
    """A store as the API shows it."""
    return StoreOut(
        id=shown.id,
        name=shown.name,
        kind=shown.kind,
        root=shown.root,
        options=shown.options,
        sealed=list(shown.sealed),
        readable=shown.readable,
        host_keys=[_key_out(key) for key in shown.host_keys],
        description=shown.description,
        reachable=shown.reachable,
        checked_at=iso_time(shown.checked_at),
        problem=shown.problem,
        created_at=iso_time(shown.created_at),
        updated_at=iso_time(shown.updated_at),
    )


def check_out(found: StoreCheck) -> CheckOut:
    """The outcome of a check as the API shows it."""
    return CheckOut(
        ok=True,
        empty=found.is_empty,
        hashes=sorted(found.powers.hashes),
        hashes_on_request=sorted(found.powers.hashes_on_server),
        modification_times=found.powers.modification_times,
        host_keys=[_key_out(key) for key in found.host_keys],
        newly_trusted=found.newly_trusted,
    )


def host_keys_out(keys: checking.HostKeys) -> HostKeysOut:
    """Both sides' keys in one list."""
    every = dict.fromkeys((*keys.trusted, *keys.shown))
    return HostKeysOut(
        keys=[
            HostKeySeenOut(
                **_key_out(key).model_dump(),
                trusted=key in keys.trusted,
                shown=key in keys.shown,
            )
            for key in every
        ],
        changed=bool(keys.trusted) and not set(keys.trusted) & set(keys.shown),
    )


def _key_out(key: HostKey) -> HostKeyOut:
    return HostKeyOut(kind=key.kind, fingerprint=key.fingerprint)


def _warn(response: Response, advice: str) -> None:
    """In a header: printable ASCII."""
    if advice:
        shown = advice.encode("ascii", "replace").decode()
        response.headers[WARNING_HEADER] = "".join(c if c.isprintable() else "?" for c in shown)

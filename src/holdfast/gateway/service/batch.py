"""Many changes in one transaction: one test and one reload in all, or nothing.

Things are named by id or by name, so an operation may use what an earlier one makes.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import (
    CredentialsDraft,
    MemberDraft,
    PoolDraft,
    RouteDraft,
    VhostDraft,
    same_place,
)
from holdfast.gateway.service import credentials, members, pools, routes, vhosts
from holdfast.gateway.service.moves import NOT_ASKED, Seen
from holdfast.gateway.tables import PoolRow
from holdfast.kernel.errors import AppError, BadRequest, NotFound
from holdfast.kernel.work import Work

Verb = Literal["create", "update", "delete"]
Kind = Literal["pool", "member", "credentials", "vhost", "route"]
Ref = int | str | None
"""An id, a name, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One change. ``fields``: of the draft, without references to other things."""

    index: int
    op: Verb
    kind: Kind
    id: int | None = None
    pool: Ref = None
    vhost: Ref = None
    member: str | None = None
    """The address of the member that is meant."""
    route: str | None = None
    """The prefix of the route that is meant."""
    source: Ref = None
    """The nanio pool behind an http pool."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    allow_orphan: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one operation."""

    index: int
    op: Verb
    kind: Kind
    id: int | None


class Names:
    """Ids of pools and vhosts by name, looked up once each."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._pools: dict[str, int] = {}
        self._vhosts: dict[str, int] = {}

    def forget(self) -> None:
        """Something was made, renamed or deleted."""
        self._pools.clear()
        self._vhosts.clear()

    async def pool(self, ref: Ref) -> int:
        """The id of a pool. Raises ``NotFound`` and ``BadRequest``."""
        if isinstance(ref, str) and ref not in self._pools:
            row = await queries.pool_named(self._session, ref)
            if row is None:
                raise NotFound(f"Pool '{ref}' not found", hint="holdfast pool list")
            self._pools[ref] = row.id
        return self._pools[ref] if isinstance(ref, str) else _given(ref, "pool")

    async def vhost(self, ref: Ref) -> int:
        """The id of a vhost. Raises ``NotFound`` and ``BadRequest``."""
        if isinstance(ref, str) and ref not in self._vhosts:
            row = await queries.vhost_named(self._session, ref)
            if row is None:
                raise NotFound(f"Vhost '{ref}' not found", hint="holdfast vhost list")
            self._vhosts[ref] = row.id
        return self._vhosts[ref] if isinstance(ref, str) else _given(ref, "vhost")

    async def member(self, pool_id: int, operation: Operation) -> int:
        """The id of a member, by its id or its address."""
        if operation.member is None:
            return _given(operation.id, "member")
        for row in await queries.members_of(self._session, pool_id):
            if row.address == operation.member:
                return row.id
        raise NotFound("Member not found", hint="name its address as it is listed")

    async def route(self, vhost_id: int, operation: Operation) -> int:
        """The id of a route, by its id or its prefix."""
        if operation.route is None:
            return _given(operation.id, "route")
        place = (vhost_id, same_place(operation.route))
        found = await queries.taken_places(self._session, [place])
        if place not in found:
            raise NotFound("Route not found", hint="name its prefix as it is listed")
        return found[place].id


async def run_batch(
    work: Work,
    gateway: Gateway,
    operations: Sequence[Operation],
    *,
    seen: Mapping[int, Seen] = MappingProxyType({}),
) -> list[Result]:
    """Do all of it, in order; an error names its operation.

    ``seen``: by index, what buckets have on pools that their routes leave.
    """
    names = Names(work.session)
    results: list[Result] = []
    waiting: list[Operation] = []
    for operation in operations:
        if (operation.op, operation.kind) == ("create", "route"):
            waiting.append(operation)
            continue
        results += await _create_routes(work, gateway, names, waiting)
        waiting = []
        with _blamed(operation):
            made = await _run(work, gateway, names, operation, seen.get(operation.index, NOT_ASKED))
        results.append(Result(operation.index, operation.op, operation.kind, made))
    results += await _create_routes(work, gateway, names, waiting)
    return results


async def moves_needed(
    session: AsyncSession, operations: Sequence[Operation]
) -> dict[int, tuple[PoolRow, PoolRow, str]]:
    """The pools and buckets to look at before these operations, by index.

    What an operation names and is not there yet is made by an earlier one: it has no objects.
    """
    names = Names(session)
    found = {}
    for operation in operations:
        changes_pool = (operation.op, operation.kind) == ("update", "route") and operation.pool
        if not changes_pool or operation.allow_orphan:
            continue
        with contextlib.suppress(NotFound, BadRequest):
            vhost_id = await names.vhost(operation.vhost)
            route_id = await names.route(vhost_id, operation)
            pool_id = await names.pool(operation.pool)
            needed = await routes.move_needed(session, vhost_id, route_id, pool_id)
            if needed:
                found[operation.index] = needed
    return found


async def _create_routes(
    work: Work, gateway: Gateway, names: Names, operations: Sequence[Operation]
) -> list[Result]:
    """Neighbouring new routes cost a few statements together."""
    if not operations:
        return []
    drafts = []
    for operation in operations:
        with _blamed(operation):
            vhost_id = await names.vhost(operation.vhost)
            pool_id = await names.pool(operation.pool)
            drafts.append(RouteDraft(vhost_id=vhost_id, pool_id=pool_id, **operation.fields))
    made = await routes.create_routes(
        work, gateway, drafts, blame=lambda index: _blamed(operations[index])
    )
    return [
        Result(operation.index, operation.op, operation.kind, route.row.id)
        for operation, route in zip(operations, made, strict=True)
    ]


async def _run(
    work: Work, gateway: Gateway, names: Names, operation: Operation, seen: Seen
) -> int | None:
    match operation.kind:
        case "pool":
            return await _pool(work, gateway, names, operation)
        case "member":
            return await _member(work, gateway, names, operation)
        case "credentials":
            return await _credentials(work, gateway, names, operation)
        case "vhost":
            return await _vhost(work, gateway, names, operation)
        case "route":
            return await _route(work, gateway, names, operation, seen)


async def _pool(work: Work, gateway: Gateway, names: Names, operation: Operation) -> int:
    fields = dict(operation.fields)
    if operation.source is not None:
        fields["source_nanio_pool_id"] = await names.pool(operation.source)
    if operation.op == "create":
        return (await pools.create_pool(work, gateway, PoolDraft(**fields))).id
    pool_id = await names.pool(operation.pool or operation.id)
    if operation.op == "update":
        await pools.update_pool(work, gateway, pool_id, fields)
    else:
        await pools.delete_pool(work, gateway, pool_id)
    names.forget()
    return pool_id


async def _member(work: Work, gateway: Gateway, names: Names, operation: Operation) -> int:
    pool_id = await names.pool(operation.pool)
    if operation.op == "create":
        draft = MemberDraft(**operation.fields)
        return (await members.add_member(work, gateway, pool_id, draft)).id
    member_id = await names.member(pool_id, operation)
    if operation.op == "update":
        await members.update_member(work, gateway, pool_id, member_id, operation.fields)
    else:
        await members.remove_member(work, gateway, pool_id, member_id)
    return member_id


async def _credentials(work: Work, gateway: Gateway, names: Names, operation: Operation) -> int:
    pool_id = await names.pool(operation.pool)
    if operation.op == "delete":
        await credentials.remove_credentials(work, gateway, pool_id)
    else:
        draft = CredentialsDraft(**operation.fields)
        await credentials.set_credentials(work, gateway, pool_id, draft)
    return pool_id


async def _vhost(work: Work, gateway: Gateway, names: Names, operation: Operation) -> int:
    fields = dict(operation.fields)
    if operation.pool is not None:
        fields["default_pool_id"] = await names.pool(operation.pool)
    if operation.op == "create":
        return (await vhosts.create_vhost(work, gateway, VhostDraft(**fields))).id
    vhost_id = await names.vhost(operation.vhost or operation.id)
    if operation.op == "update":
        await vhosts.update_vhost(work, gateway, vhost_id, fields)
    else:
        await vhosts.delete_vhost(work, gateway, vhost_id)
    names.forget()
    return vhost_id


async def _route(
    work: Work, gateway: Gateway, names: Names, operation: Operation, seen: Seen
) -> int:
    vhost_id = await names.vhost(operation.vhost)
    route_id = await names.route(vhost_id, operation)
    if operation.op == "delete":
        await routes.delete_route(work, gateway, vhost_id, route_id)
        return route_id
    changes = dict(operation.fields)
    if operation.pool is not None:
        changes["pool_id"] = await names.pool(operation.pool)
    await routes.update_route(
        work, gateway, vhost_id, route_id, changes, migrate=seen.must_move, left=seen.left
    )
    return route_id


def _given(ref: Ref, what: str) -> int:
    if not isinstance(ref, int):
        raise BadRequest(f"the operation names no {what}", hint=f"give its id or name as {what!r}")
    return ref


@contextlib.contextmanager
def _blamed(operation: Operation) -> Iterator[None]:
    """An error inside tells which operation it is about."""
    try:
        yield
    except AppError as error:
        what = f"operations[{operation.index}] ({operation.op} {operation.kind})"
        error.message = f"{what}: {error.message}"
        error.details = {"index": operation.index, "details": error.details}
        raise

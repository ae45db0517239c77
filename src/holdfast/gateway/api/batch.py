"""Many changes in one call: ``/api/config/batch``."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, Literal

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdfast.gateway.api.deps import GatewayDep, GatewayRoute, GatewayWork
from holdfast.gateway.api.schemas import (
    Body,
    CredentialsIn,
    MemberCreate,
    MemberUpdate,
    PoolCreate,
    PoolUpdate,
    RouteCreate,
    RouteUpdate,
    VhostCreate,
    VhostUpdate,
)
from holdfast.gateway.service import batch, moves
from holdfast.gateway.service.batch import Kind, Operation, Verb
from holdfast.kernel.web.deps import ServicesDep
from holdfast.kernel.web.router import Router

router = Router(prefix="/api/config", tags=["batch"], route_class=GatewayRoute)

MOST_OPERATIONS = 10_000
Ref = Annotated[int, Field(ge=1, le=2**31 - 1)] | Annotated[str, Field(max_length=253)] | None
_ANY_ID = 1
_REFERENCES = ("pool_id", "default_pool_id", "source_nanio_pool_id", "vhost_id")
_BODIES: Mapping[tuple[str, str], type[Body]] = {
    ("create", "pool"): PoolCreate,
    ("update", "pool"): PoolUpdate,
    ("create", "member"): MemberCreate,
    ("update", "member"): MemberUpdate,
    ("create", "credentials"): CredentialsIn,
    ("update", "credentials"): CredentialsIn,
    ("create", "vhost"): VhostCreate,
    ("update", "vhost"): VhostUpdate,
    ("create", "route"): RouteCreate,
    ("update", "route"): RouteUpdate,
}


class OperationIn(BaseModel):
    """One change; the other fields are those of the body of the call that does it alone."""

    model_config = ConfigDict(extra="allow")

    op: Verb
    kind: Kind
    id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """What is meant; or by name in ``pool``, ``vhost``, ``member``, ``route``."""
    pool: Ref = None
    pool_id: Ref = None
    vhost: Ref = None
    vhost_id: Ref = None
    default_pool: Ref = None
    default_pool_id: Ref = None
    source_nanio_pool: Ref = None
    source_nanio_pool_id: Ref = None
    member: Annotated[str, Field(max_length=300)] | None = None
    route: Annotated[str, Field(max_length=1024)] | None = None
    allow_orphan: bool = False


class BatchIn(BaseModel):
    """The changes, in order."""

    operations: Annotated[list[OperationIn], Field(min_length=1, max_length=MOST_OPERATIONS)]


class ResultOut(BaseModel):
    """What became of one operation; ``id``: of what it made or changed."""

    index: int
    op: Verb
    kind: Kind
    id: int | None


class BatchOut(BaseModel):
    """All of it was done; with ``dry_run`` all of it could be done, and nothing was kept."""

    ok: Literal[True] = True
    dry_run: bool
    results: list[ResultOut]


async def _operations(body: BatchIn) -> list[Operation]:
    return [_operation(index, item) for index, item in enumerate(body.operations)]


Operations = Annotated[list[Operation], Depends(_operations)]


async def _moves(
    operations: Operations, services: ServicesDep, gateway: GatewayDep
) -> dict[int, moves.Seen]:
    """What is seen of the buckets of route changes; asked before the transaction begins."""
    if not any((item.op, item.kind) == ("update", "route") for item in operations):
        return {}
    async with services.database.read() as session:
        needed = await batch.moves_needed(session, operations)
        looks = {
            index: await moves.prepare_look(session, gateway, source)
            for index, source in needed.items()
        }
    return {index: await look.seen() for index, look in looks.items()}


@router.post("/batch")
async def run_batch(
    operations: Operations,
    seen: Annotated[dict[int, moves.Seen], Depends(_moves)],
    work: GatewayWork,
    gateway: GatewayDep,
) -> BatchOut:
    """Many changes in one transaction, one test and one reload; or none of them."""
    results = await batch.run_batch(work, gateway, operations, seen=seen)
    return BatchOut(
        dry_run=work.dry_run,
        results=[ResultOut(index=r.index, op=r.op, kind=r.kind, id=r.id) for r in results],
    )


def _operation(index: int, item: OperationIn) -> Operation:
    pool = item.pool if item.pool is not None else item.pool_id
    if item.kind == "vhost":
        pool = item.default_pool if item.default_pool is not None else item.default_pool_id
    source = item.source_nanio_pool
    return Operation(
        index=index,
        op=item.op,
        kind=item.kind,
        id=item.id,
        pool=pool,
        vhost=item.vhost if item.vhost is not None else item.vhost_id,
        member=item.member,
        route=item.route,
        source=source if source is not None else item.source_nanio_pool_id,
        fields=_fields(index, item),
        allow_orphan=item.allow_orphan,
    )


def _fields(index: int, item: OperationIn) -> dict[str, Any]:
    """The fields of the draft or of the change, checked as in the call that does it alone."""
    model = _BODIES.get((item.op, item.kind))
    if model is None:
        return {}
    given = dict(item.__pydantic_extra__ or {})
    if model is RouteCreate:
        given["pool_id"] = _ANY_ID
    if item.kind == "pool" and item.source_nanio_pool_id is None:
        given |= {"source_nanio_pool_id": None} if _clears_source(item) else {}
    try:
        body = model.model_validate(given)
    except ValidationError as error:
        raise _located(index, error) from None
    found = _draft_fields(body) if item.op == "create" else _changed_fields(body)
    kept = {"source_nanio_pool_id"} if _clears_source(item) else set()
    return {k: v for k, v in found.items() if k in kept or k not in _REFERENCES}


def _draft_fields(body: Body) -> dict[str, Any]:
    match body:
        case RouteCreate():
            draft: Any = body.draft(_ANY_ID)
        case PoolCreate() | MemberCreate() | VhostCreate() | CredentialsIn():
            draft = body.draft()
        case _:
            raise AssertionError(body)
    return {item.name: getattr(draft, item.name) for item in fields(draft)}


def _changed_fields(body: Body) -> dict[str, Any]:
    return _draft_fields(body) if isinstance(body, CredentialsIn) else body.given()


def _clears_source(item: OperationIn) -> bool:
    named = "source_nanio_pool_id" in item.model_fields_set
    return item.op == "update" and named and item.source_nanio_pool_id is None


def _located(index: int, error: ValidationError) -> RequestValidationError:
    return RequestValidationError(
        [{**item, "loc": ("body", "operations", index, *item["loc"])} for item in error.errors()]
    )

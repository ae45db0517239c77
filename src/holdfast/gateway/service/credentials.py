"""S3 keys of pools: sealed in the database and on disk, shown masked, used by our S3 client."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway import queries
from holdfast.gateway.context import Gateway
from holdfast.gateway.model import CredentialsDraft
from holdfast.gateway.publish import mark_changed
from holdfast.gateway.service.checks import check_credentials
from holdfast.gateway.service.moving import check_access_stays, servers_stay
from holdfast.gateway.service.pools import get_pool
from holdfast.gateway.tables import CredentialRow, PoolRow
from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, NotFound
from holdfast.kernel.secrets import CannotUnseal, mask
from holdfast.kernel.stores.s3.address import endpoint_of
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.work import Work

NOT_SET = "(not set)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownCredentials:
    """What may be shown of the keys that a pool is reached with."""

    pool_id: int
    access_key_masked: str
    endpoint_url: str | None
    region: str
    source: Literal["pool", "global"]
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """How a pool's S3 server is reached. Never log it."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str

    def __repr__(self) -> str:
        return f"S3Access(endpoint={self.endpoint!r})"


async def show_credentials(
    session: AsyncSession, gateway: Gateway, pool_id: int
) -> ShownCredentials:
    """The pool's credentials, or the global ones. Raises ``NotFound`` and ``BadRequest``."""
    pool = await _nanio_pool(session, pool_id)
    row = await session.get(CredentialRow, pool.id)
    return _shown(gateway, row) if row else _global(gateway, pool_id)


async def set_credentials(
    work: Work, gateway: Gateway, pool_id: int, draft: CredentialsDraft
) -> ShownCredentials:
    """Store a pool's credentials.

    Raises ``NotFound``, ``BadRequest``, ``Invalid``, and ``Conflict`` while a bucket moves from or
    to it.
    """
    pool = await _nanio_pool(work.session, pool_id)
    draft = check_credentials(draft)
    await check_access_stays(work.session, gateway, pool, "the keys")
    row = await work.session.get(CredentialRow, pool.id)
    moment = now()
    values: dict[str, Any] = {
        "access_key_enc": gateway.sealer.seal(draft.access_key),
        "secret_key_enc": gateway.sealer.seal(draft.secret_key),
        "endpoint_url": draft.endpoint_url,
        "region": draft.region,
        "updated_at": moment,
    }
    async with servers_stay(work.session, gateway, pool):
        if row is None:
            row = CredentialRow(pool_id=pool.id, created_at=moment, **values)
            work.session.add(row)
        else:
            for name, value in values.items():
                setattr(row, name, value)
    shown = _shown(gateway, row)
    after = {"endpoint_url": row.endpoint_url, "region": row.region}
    work.audit("set_credentials", "pool", pool.id, after=after)
    work.emit("gateway", "credentials.set", {"pool_id": pool.id, "pool": pool.name})
    mark_changed(work, gateway, pools=[pool.name])
    return shown


async def remove_credentials(work: Work, gateway: Gateway, pool_id: int) -> None:
    """Forget a pool's credentials; the global ones are used from then on.

    Raises ``NotFound``, and ``Conflict`` while a bucket moves from or to it.
    """
    pool = await _nanio_pool(work.session, pool_id)
    row = await work.session.get(CredentialRow, pool.id)
    if row is None:
        raise NotFound("No credentials stored for this pool", hint="the global ones are used")
    await check_access_stays(work.session, gateway, pool, "the keys")
    before = {"endpoint_url": row.endpoint_url, "region": row.region}
    work.audit("remove_credentials", "pool", pool.id, before=before)
    work.emit("gateway", "credentials.removed", {"pool_id": pool.id, "pool": pool.name})
    mark_changed(work, gateway, pools=[pool.name])
    await work.session.delete(row)
    await work.session.flush()


async def s3_access(session: AsyncSession, gateway: Gateway, pool: PoolRow) -> S3Access:
    """How to reach a pool: its endpoint or first enabled member, its own or the global keys.

    Raises ``BadRequest`` when it has neither an endpoint nor an enabled member.
    """
    row = await session.get(CredentialRow, pool.id)
    endpoint = row.endpoint_url if row else None
    if not endpoint:
        member = await queries.first_enabled_member(session, pool.id)
        if member is None:
            raise BadRequest(
                "Pool has no enabled members", hint=f"add or enable a member of {pool.name!r}"
            )
        endpoint = endpoint_of(member.address)
    if row:
        unseal = gateway.sealer.unseal
        keys = (unseal(row.access_key_enc), unseal(row.secret_key_enc), row.region)
    else:
        keys = _global_keys(gateway)
    return S3Access(endpoint=endpoint, access_key=keys[0], secret_key=keys[1], region=keys[2])


async def unreadable(session: AsyncSession, gateway: Gateway) -> list[str]:
    """Names of the pools whose keys the present secret cannot read."""
    query = select(PoolRow.name, CredentialRow).join(PoolRow, PoolRow.id == CredentialRow.pool_id)
    names = []
    for name, row in await session.execute(query.order_by(PoolRow.name)):
        try:
            gateway.sealer.unseal(row.access_key_enc)
            gateway.sealer.unseal(row.secret_key_enc)
        except CannotUnseal:
            names.append(name)
    return names


async def s3_for_pool(
    gateway: Gateway, session: AsyncSession, pool: PoolRow, *, limit: int = 64
) -> S3Client:
    """A client of the pool's S3 server, not open yet: use it with ``async with``."""
    access = await s3_access(session, gateway, pool)
    return S3Client(
        access.endpoint,
        access.access_key,
        access.secret_key,
        access.region,
        limit=limit,
        request_seconds=gateway.settings.s3_request_timeout_seconds,
    )


async def _nanio_pool(session: AsyncSession, pool_id: int) -> PoolRow:
    pool = await get_pool(session, pool_id)
    if pool.type != "nanio":
        raise BadRequest(
            "S3 credentials are only supported for nanio pools. "
            f"Pool '{pool.name}' is of type '{pool.type}'.",
            hint="choose a pool of type nanio",
        )
    return pool


def _shown(gateway: Gateway, row: CredentialRow) -> ShownCredentials:
    return ShownCredentials(
        pool_id=row.pool_id,
        access_key_masked=mask(gateway.sealer.unseal(row.access_key_enc)),
        endpoint_url=row.endpoint_url,
        region=row.region,
        source="pool",
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _global(gateway: Gateway, pool_id: int) -> ShownCredentials:
    access_key, _, region = _global_keys(gateway)
    return ShownCredentials(
        pool_id=pool_id,
        access_key_masked=mask(access_key) if access_key else NOT_SET,
        endpoint_url=None,
        region=region,
        source="global",
    )


def _global_keys(gateway: Gateway) -> tuple[str, str, str]:
    settings = gateway.settings
    return (
        settings.s3_access_key.get_secret_value(),
        settings.s3_secret_key.get_secret_value(),
        settings.s3_region,
    )

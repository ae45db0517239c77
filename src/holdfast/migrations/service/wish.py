"""What somebody wants to be moved, and a client to look at its two ends."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.credentials import s3_access
from holdfast.gateway.service.pools import get_pool
from holdfast.kernel.services import Services
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.model import Mode, Options

LOOK_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants to be moved."""

    bucket: str
    source_id: int
    destination_id: int
    options: Options
    mode: Mode = Mode.COPY


async def client_for(session: AsyncSession, services: Services, pool_id: int) -> S3Client:
    """A client of a pool, not open yet."""
    access = await s3_access(session, services.get(Gateway), await get_pool(session, pool_id))
    return S3Client(access.endpoint, access.access_key, access.secret_key, access.region, limit=8)

"""What crosses the border when somebody wants a move."""

import dataclasses
from typing import Annotated

from pydantic import AliasChoices, BaseModel, Field

from holdfast.kernel.bandwidth import bytes_per_second
from holdfast.kernel.config import Bandwidth
from holdfast.kernel.nginx.validate import BUCKET
from holdfast.kernel.services import Services
from holdfast.migrations.model import Mode, Verify
from holdfast.migrations.service.starting import default_options, with_limits
from holdfast.migrations.service.wish import Wish

PoolId = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]


class MigrationIn(BaseModel):
    """A move that somebody wants."""

    bucket: str = Field(pattern=f"^{BUCKET}$")
    src_pool_id: PoolId
    dst_pool_id: PoolId
    mode: Mode = Mode.COPY
    verify: Verify = Verify.LISTING
    confirm: str = Field(
        "",
        max_length=63,
        description="the bucket's name: what is on the destination may be overwritten and deleted",
    )
    waive: list[str] = Field(
        default_factory=list, description="names of checks that shall not stop the move"
    )
    bandwidth_limit: Bandwidth | None = Field(
        None,
        validation_alias=AliasChoices("bandwidth_limit", "bandwidth"),
        description="bytes a second, like 50M; also called bandwidth",
    )
    transfers: int | None = Field(None, ge=1, le=256)
    checkers: int | None = Field(None, ge=1, le=256)
    max_hold_seconds: float | None = Field(None, gt=0.1, le=60)
    probation_seconds: float | None = Field(None, ge=0, le=86_400)
    give_up_after_seconds: float | None = Field(None, ge=1, le=30 * 86_400)
    upload_idle_seconds: float | None = Field(None, ge=1, le=30 * 86_400)


def wish_of(body: MigrationIn, services: Services) -> Wish:
    """What is asked for, over the settings."""
    asked = {
        "verify": body.verify,
        "transfers": body.transfers,
        "checkers": body.checkers,
        "max_hold_seconds": body.max_hold_seconds,
        "probation_seconds": body.probation_seconds,
        "give_up_after_seconds": body.give_up_after_seconds,
        "upload_idle_seconds": body.upload_idle_seconds,
        "waived": frozenset(body.waive),
        "adopt": body.confirm == body.bucket,
    }
    options = with_limits(default_options(services.settings), asked)
    if body.bandwidth_limit is not None:
        limit = bytes_per_second(body.bandwidth_limit)
        options = dataclasses.replace(options, bandwidth_bytes_per_second=limit)
    return Wish(
        bucket=body.bucket,
        source_id=body.src_pool_id,
        destination_id=body.dst_pool_id,
        mode=body.mode,
        options=options,
    )

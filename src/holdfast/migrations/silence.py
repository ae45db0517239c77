"""A server that takes requests and does not answer: who looks at the migration is told which."""

import asyncio
from collections.abc import Sequence

from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.move import Report
from holdfast.migrations.patience import tell

LOOK_SECONDS = 1.0
TOLD_AFTER_SECONDS = 5.0
"""Longer than a busy server takes; each request has its own, longer limit."""


async def tell_of_silence(report: Report, servers: Sequence[tuple[str, S3Client]]) -> None:
    """Say which pool is waited for, and when that is over. It ends when it is cancelled."""
    told = ""
    while True:
        words = "; ".join(
            f"pool {name!r} ({client.endpoint}) does not answer"
            for name, client in servers
            if client.silent_seconds > TOLD_AFTER_SECONDS
        )
        if words != told:
            await tell(report, f"waiting: {words}" if words else None)
            told = words
        await asyncio.sleep(LOOK_SECONDS)

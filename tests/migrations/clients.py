"""Clients of a bucket while it moves."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from holdfast.demo.traffic import Load, Traffic
from holdfast.demo.wire import Wire
from holdfast.kernel.stores.s3.signing import Signer, quote_path
from tests.migrations.rig import BUCKET, Rig, until
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

LIGHT = Load(
    writers=3,
    keys_per_writer=4,
    readers=1,
    listers=1,
    uploaders=1,
    slow_writers=1,
    pause_seconds=0.1,
)


@contextlib.asynccontextmanager
async def clients(
    rig: Rig, vhost: str | None = None, prefix: str = "live/"
) -> AsyncIterator[Traffic]:
    """Clients that never stop; afterwards every answer was judged."""
    name = vhost or next(iter(rig.vhosts))
    endpoint = f"http://127.0.0.1:{rig.vhosts[name]}"
    async with Wire(endpoint, ACCESS_KEY, SECRET_KEY, name) as wire:
        traffic = Traffic(wire, BUCKET, LIGHT, prefix=prefix)
        task = asyncio.create_task(traffic.run())
        try:
            await until(lambda: traffic.tally.total > 10)
            yield traffic
        finally:
            traffic.stop()
            await task
        await traffic.audit({})


async def slow_put(rig: Rig, key: str, go_on: asyncio.Event, body: bytes = b"0123456789") -> int:
    """A PUT whose last byte waits for an event."""
    vhost, port = next(iter(rig.vhosts.items()))
    signer = Signer(ACCESS_KEY, SECRET_KEY, "us-east-1", vhost)
    path = quote_path(BUCKET, key)
    headers = signer.headers("PUT", path, "", {"content-length": str(len(body))})

    async def chunks() -> AsyncIterator[bytes]:
        yield body[:-1]
        await go_on.wait()
        yield body[-1:]

    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.put(f"http://127.0.0.1:{port}{path}", data=chunks(), headers=headers) as answer,
    ):
        return answer.status

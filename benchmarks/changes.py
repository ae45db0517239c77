"""A new route, a route with directives, a new vhost: from the call until it answers."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

from benchmarks.bare_nginx import BareNginx, running_nginx
from benchmarks.result import Result, compared, tell
from benchmarks.stage import (
    Ids,
    bucket_with_object,
    ids_of,
    post,
    presigned,
    until_found,
)
from holdfast.demo.fleet import NEW, VHOST, Fleet, running_fleet

VHOSTS = (10, 200, 1000)
ROUNDS = 9
REACH_PLAIN, REACH_RELOAD = 0.3, 1.2
DIRECTIVES = "proxy_read_timeout 77s;"
Times = list[float]


@dataclass(slots=True)
class Kind:
    """One kind of change, in milliseconds a round."""

    ours: Times = field(default_factory=list)
    bare: Times = field(default_factory=list)
    """Until the first right answer."""
    settled: Times = field(default_factory=list)
    """Until no worker with the old configuration takes requests: what our call waits for."""

    def results(self, what: str) -> list[Result]:
        """Two lines of the table."""
        return [
            compared(what, self.ours, self.bare, reach=REACH_RELOAD),
            compared(f"{what}, no old worker left", self.ours, self.settled, reach=None),
        ]


async def run(directory: Path) -> list[Result]:
    """Three kinds of change at three sizes."""
    results = []
    for vhosts in VHOSTS:
        results += await _at(directory / str(vhosts), vhosts)
    return results


async def _at(directory: Path, vhosts: int) -> list[Result]:
    await asyncio.to_thread(directory.mkdir)
    names = [f"v{number:04d}.localhost" for number in range(1, vhosts)]
    async with running_fleet(directory) as fleet, fleet.api() as api:
        ids = await ids_of(api)
        creates = [_vhost(fleet, ids, name) for name in names]
        await post(api, "/api/config/batch", {"operations": creates})
        tell(f"{vhosts} vhosts are there")
        async with running_nginx(fleet, [VHOST, *names]) as bare:
            pairs = Pairs(fleet, api, ids, bare)
            return await pairs.measure(vhosts)


def _vhost(fleet: Fleet, ids: Ids, name: str) -> dict[str, object]:
    fields = {"server_name": name, "listen_port": fleet.gateway_port, "ssl": False}
    return {"op": "create", "kind": "vhost", "default_pool": ids.old, **fields}


class Pairs:
    """The same change, once by Holdfast and once by hand, round after round."""

    def __init__(self, fleet: Fleet, api: httpx.AsyncClient, ids: Ids, bare: BareNginx) -> None:
        self.fleet, self.api, self.ids, self.bare = fleet, api, ids, bare

    async def measure(self, vhosts: int) -> list[Result]:
        """All kinds of change."""
        plain = await self._routes("plain", "")
        special = await self._routes("special", DIRECTIVES)
        new = await self._vhosts()
        of = f"{vhosts} vhosts"
        results = [
            compared(f"new bucket route, {of}", plain.ours, plain.bare, reach=REACH_PLAIN),
            *special.results(f"route with directives, {of}"),
            *new.results(f"new vhost, {of}"),
        ]
        for result in results:
            tell(f"{result.what}: {result.ours} against {result.against}, {result.ratio}")
        return results

    async def _routes(self, prefix: str, directives: str) -> Kind:
        buckets = [f"{prefix}-{number}" for number in range(ROUNDS)]
        await bucket_with_object(self.fleet, NEW, *buckets)
        kind = Kind()
        for bucket in buckets:
            kind.ours.append(await self._our_route(bucket, directives))
            await self._bare_route(kind, bucket, directives)
        return kind

    async def _our_route(self, bucket: str, directives: str) -> float:
        host = f"{VHOST}:{self.fleet.gateway_port}"
        target = presigned(self.fleet, host, bucket)
        route = {"path_prefix": f"/{bucket}", "pool_id": self.ids.new}
        if directives:
            route["extra_directives"] = directives
        started = time.monotonic()
        await post(self.api, f"/api/vhosts/{self.ids.vhost}/routes", route)
        await until_found(self.fleet.gateway_port, host, target)
        return (time.monotonic() - started) * 1000

    async def _bare_route(self, kind: Kind, bucket: str, directives: str) -> None:
        await self._by_hand(
            kind, VHOST, bucket, lambda: self.bare.write_route(VHOST, bucket, directives=directives)
        )

    async def _by_hand(
        self, kind: Kind, vhost: str, bucket: str, write: Callable[[], None]
    ) -> None:
        host = f"{vhost}:{self.bare.port}"
        target = presigned(self.fleet, host, bucket)
        started = time.monotonic()
        write()
        await self.bare.reload()
        await until_found(self.bare.port, host, target)
        kind.bare.append((time.monotonic() - started) * 1000)
        await self.bare.wait_for_old_workers()
        kind.settled.append((time.monotonic() - started) * 1000)

    async def _vhosts(self) -> Kind:
        await bucket_with_object(self.fleet, NEW, "everywhere")
        kind = Kind()
        for number in range(ROUNDS):
            name = f"z{number}.localhost"  # the first by name answers for unknown ones
            kind.ours.append(await self._our_vhost(name))
            await self._by_hand(
                kind, name, "everywhere", partial(self.bare.write_vhost, name, pool=NEW)
            )
        return kind

    async def _our_vhost(self, name: str) -> float:
        port = self.fleet.gateway_port
        target = presigned(self.fleet, f"{name}:{port}", "everywhere")
        vhost = {
            "server_name": name,
            "listen_port": port,
            "ssl": False,
            "default_pool_id": self.ids.new,
        }
        started = time.monotonic()
        await post(self.api, "/api/vhosts", vhost)
        await until_found(port, f"{name}:{port}", target)
        return (time.monotonic() - started) * 1000

"""A new route, a route with directives, a new vhost: from the call until it answers."""

import asyncio
import time
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
        plain, bare_plain = await self._routes("plain", "")
        special, bare_special = await self._routes("special", DIRECTIVES)
        new, bare_new = await self._vhosts()
        of = f"{vhosts} vhosts"
        results = [
            compared(f"new bucket route, {of}", plain, bare_plain, reach=REACH_PLAIN),
            compared(f"route with directives, {of}", special, bare_special, reach=REACH_RELOAD),
            compared(f"new vhost, {of}", new, bare_new, reach=REACH_RELOAD),
        ]
        for result in results:
            tell(f"{result.what}: {result.ours} against {result.against}, {result.ratio}")
        return results

    async def _routes(self, prefix: str, directives: str) -> tuple[Times, Times]:
        buckets = [f"{prefix}-{number}" for number in range(ROUNDS)]
        await bucket_with_object(self.fleet, NEW, *buckets)
        ours, bare = [], []
        for bucket in buckets:
            ours.append(await self._our_route(bucket, directives))
            bare.append(await self._bare_route(bucket, directives))
        return ours, bare

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

    async def _bare_route(self, bucket: str, directives: str) -> float:
        host = f"{VHOST}:{self.bare.port}"
        target = presigned(self.fleet, host, bucket)
        started = time.monotonic()
        self.bare.write_route(VHOST, bucket, directives=directives)
        await self.bare.reload()
        await until_found(self.bare.port, host, target)
        return (time.monotonic() - started) * 1000

    async def _vhosts(self) -> tuple[Times, Times]:
        await bucket_with_object(self.fleet, NEW, "everywhere")
        ours, bare = [], []
        for number in range(ROUNDS):
            ours.append(await self._our_vhost(f"new{number}.localhost"))
            bare.append(await self._bare_vhost(f"new{number}.localhost"))
        return ours, bare

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

    async def _bare_vhost(self, name: str) -> float:
        port = self.bare.port
        target = presigned(self.fleet, f"{name}:{port}", "everywhere")
        started = time.monotonic()
        self.bare.write_vhost(name, pool=NEW)
        await self.bare.reload()
        await until_found(port, f"{name}:{port}", target)
        return (time.monotonic() - started) * 1000

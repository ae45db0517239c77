"""1,000 bucket routes in one call, against one reload that brings the same 1,000 locations."""

import time
from pathlib import Path

import httpx

from benchmarks.bare_nginx import BareNginx, running_nginx
from benchmarks.result import Result, compared
from benchmarks.stage import Ids, bucket_with_object, ids_of, post, presigned, until_found
from holdfast.demo.fleet import NEW, VHOST, Fleet, running_fleet

ROUTES = 1000
ROUNDS = 5
REACH = 3.0


async def run(directory: Path) -> list[Result]:
    """Also against a reload that brings one location: the least that a reload costs here."""
    async with running_fleet(directory) as fleet, fleet.api() as api:
        ids = await ids_of(api)
        ours, thousand, one = [], [], []
        async with running_nginx(fleet, [VHOST]) as bare:
            for number in range(ROUNDS):
                await bucket_with_object(fleet, NEW, f"last-{number}", f"one-{number}")
                ours.append(await _ours(fleet, api, ids, number))
                one.append(await _bare(fleet, bare, [f"one-{number}"]))
                thousand.append(await _bare(fleet, bare, _buckets(number)))
                (bare.root / "locations" / VHOST / f"{_buckets(number)[0]}.conf").unlink()
    what = f"{ROUTES} bucket routes in one batch"
    return [
        compared(f"{what}, against one reload with them", ours, thousand, reach=REACH),
        compared(f"{what}, against one reload with one", ours, one, reach=REACH),
    ]


def _buckets(number: int) -> list[str]:
    return [*(f"batch-{number}-{i:04d}" for i in range(ROUTES - 1)), f"last-{number}"]


async def _ours(fleet: Fleet, api: httpx.AsyncClient, ids: Ids, number: int) -> float:
    port, host = fleet.gateway_port, f"{VHOST}:{fleet.gateway_port}"
    target = presigned(fleet, host, f"last-{number}")
    route = {"op": "create", "kind": "route", "vhost": ids.vhost, "pool": ids.new}
    started = time.monotonic()
    operations = [{**route, "path_prefix": f"/{bucket}"} for bucket in _buckets(number)]
    await post(api, "/api/config/batch", {"operations": operations})
    await until_found(port, host, target)
    return (time.monotonic() - started) * 1000


async def _bare(fleet: Fleet, bare: BareNginx, buckets: list[str]) -> float:
    host = f"{VHOST}:{bare.port}"
    target = presigned(fleet, host, buckets[-1])
    started = time.monotonic()
    bare.write_route(VHOST, *buckets)
    await bare.reload()
    await until_found(bare.port, host, target)
    return (time.monotonic() - started) * 1000

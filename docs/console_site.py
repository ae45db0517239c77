"""A site that looks lived in: what pictures and tests of the console's pages show.

On a fresh fleet of `holdfast.demo.fleet`: one bucket that was moved, one on its way (slowly, so
that it stays there), one without a route, a pool whose server is off, a website, a user, tokens.
"""

import asyncio
import os
from typing import Any

import httpx

from docs.console_tiers import tiers_of
from holdfast.demo.fleet import BUCKET, NEW, OLD, VHOST, Fleet, wait_until
from holdfast.kernel.errors import TimedOut, Unavailable
from holdfast.kernel.ports import free_port
from holdfast.kernel.stores.s3.client import S3Client

ARCHIVE, WEBSITE = "cold-archive", "website"
MOVING, UNROUTED = "videos", "incoming"
SITE_VHOST = "www.example.org"
OBJECTS = 200
LARGE_OBJECTS = 400
LARGE_BYTES = 60_000
SLOWLY = "20K"
"""Bytes a second: the move of 24 MB goes on for some twenty minutes."""


async def furnish(fleet: Fleet) -> dict[str, str]:
    """Fill a fleet. Gives what stands in braces in the paths of `docs.console_pages`."""
    async with fleet.api() as api:
        await _fill(fleet)
        pools = {p["name"]: p["id"] for p in await _call(api, "GET", "/api/pools")}
        vhosts = {v["server_name"]: v["id"] for v in await _call(api, "GET", "/api/vhosts")}
        pools |= await _more_pools(fleet, api, pools[OLD])
        site = {"server_name": SITE_VHOST, "listen_port": free_port(), "ssl": False}
        site |= {"default_pool_id": pools[WEBSITE], "description": "the public pages"}
        vhosts[SITE_VHOST] = (await _call(api, "POST", "/api/vhosts", site))["id"]
        moved = await _move(api, pools, BUCKET)
        await _until_over(api, moved["id"])
        moving = await _move(api, pools, MOVING, bandwidth_limit=SLOWLY, transfers=2)
        await _until_copying(api, moving["id"])
        await _call(api, "POST", f"/api/vhosts/{vhosts[VHOST]}/buckets/sync")
        await _people(api)
        kept = await tiers_of(api, fleet.directory)
        moving = await _call(api, "GET", f"/api/migrations/{moving['id']}")
        members = await _call(api, "GET", f"/api/pools/{pools[OLD]}/members")
        routes = await _call(api, "GET", f"/api/vhosts/{vhosts[VHOST]}/routes")
        generations = await _call(api, "GET", "/api/config/generations")
        changes = await _call(api, "GET", "/api/audit?entity_type=pool")
        return {
            "pool": str(pools[OLD]),
            "member": str(members[0]["id"]),
            "new_pool": str(pools[NEW]),
            "off_pool": str(pools[ARCHIVE]),
            "http_pool": str(pools[WEBSITE]),
            "vhost": str(vhosts[VHOST]),
            "http_vhost": str(vhosts[SITE_VHOST]),
            "bucket": BUCKET,
            "moving_bucket": MOVING,
            "unrouted_bucket": UNROUTED,
            "moved": str(moved["id"]),
            "moving": str(moving["id"]),
            "job": str(moving["job_id"]),
            "route": str(routes[0]["id"]),
            "generation": str(generations[1]["number"]),
            "file": f"pools/{OLD}.conf",
            "change": str(changes[0]["id"]),
            **kept,
        }


def edit_by_hand(fleet: Fleet) -> None:
    """Change a file of the live generation behind Holdfast's back: drift."""
    path = fleet.directory / "nginx/live/pools" / f"{ARCHIVE}.conf"
    text = path.read_text().replace("max_fails=3", "max_fails=5", 1)
    path.unlink()  # other generations have the same file by a hard link
    path.write_text(f"# quieter during the rebuild of the array\n{text}")


async def _call(api: httpx.AsyncClient, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    answer = await api.request(method, path, json=body)
    if answer.is_error:
        raise Unavailable(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()


async def _fill(fleet: Fleet) -> None:
    places = asyncio.Semaphore(8)
    async with S3Client(fleet.s3_url, fleet.access_key, fleet.secret_key) as s3:

        async def put(bucket: str, key: str, size_bytes: int) -> None:
            async with places:
                await s3.put(bucket, key, os.urandom(size_bytes))

        async with asyncio.TaskGroup() as group:
            for bucket, count, size_bytes in (
                (BUCKET, OBJECTS, 2000),
                (MOVING, LARGE_OBJECTS, LARGE_BYTES),
                (UNROUTED, 3, 500),
            ):
                await s3.create_bucket(bucket)
                for number in range(count):
                    key = f"{number % 5}/{number:05d}"
                    group.create_task(put(bucket, key, size_bytes))


async def _more_pools(fleet: Fleet, api: httpx.AsyncClient, old: int) -> dict[str, int]:
    made = {}
    for name, kind, port, words, source in (
        (ARCHIVE, "nanio", free_port(), "disks that sleep; switched on for restores", None),
        (WEBSITE, "http", fleet.pools[OLD], "static pages", old),
    ):
        body = {"name": name, "type": kind, "description": words, "source_nanio_pool_id": source}
        made[name] = (await _call(api, "POST", "/api/pools", body))["id"]
        member = {"address": f"127.0.0.1:{port}"}
        await _call(api, "POST", f"/api/pools/{made[name]}/members", member)
    return made


async def _move(
    api: httpx.AsyncClient, pools: dict[str, int], bucket: str, **options: object
) -> dict[str, Any]:
    body = {"bucket": bucket, "src_pool_id": pools[OLD], "dst_pool_id": pools[NEW]}
    body |= {"probation_seconds": 0.5, "upload_idle_seconds": 5, **options}
    found: dict[str, Any] = await _call(api, "POST", "/api/migrations", body)
    return found


async def _until_over(api: httpx.AsyncClient, identifier: int) -> None:
    async def is_over() -> bool:
        phase = (await _call(api, "GET", f"/api/migrations/{identifier}"))["phase"]
        if phase in {"error", "cancelled"}:
            raise Unavailable(f"the move of {BUCKET} ended in {phase}")
        return bool(phase == "done")

    try:
        await wait_until(is_over, f"the move of {BUCKET}")
    except TimedOut as error:
        told = await _call(api, "GET", f"/api/migrations/{identifier}/log")
        raise Unavailable(error.message, details=[line["message"] for line in told]) from error


async def _until_copying(api: httpx.AsyncClient, identifier: int) -> None:
    async def is_copying() -> bool:
        return bool((await _call(api, "GET", f"/api/migrations/{identifier}"))["objects_done"])

    await wait_until(is_copying, f"the first object of {MOVING}")


async def _people(api: httpx.AsyncClient) -> None:
    await _call(api, "POST", "/api/users", {"name": "marta", "role": "operator"})
    for name, role in (("nightly-backup", "viewer"), ("deploys", "operator")):
        await _call(api, "POST", "/api/tokens", {"name": name, "role": role})

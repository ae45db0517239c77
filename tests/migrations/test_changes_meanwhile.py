"""What may be changed of the gateway while a bucket moves, and what is refused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from holdfast.demo.fleet import NEW, OLD
from holdfast.kernel.ports import free_port
from holdfast.kernel.stores.s3.client import S3Client
from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]
KEYS = {"access_key": "another", "secret_key": "another-secret"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def moving(site: Site) -> AsyncIterator[dict[str, Any]]:
    """A slow move of a bucket that only the default pool served; it ends well in the end."""
    await site.fill("slow", objects=12, size=1000)
    other = {"server_name": "other.local", "listen_port": free_port(), "ssl": False}
    made = await site.api.post("/api/vhosts", json=other)
    assert made.status_code == 201, made.text
    answer = await site.post("slow", bandwidth_limit="600", transfers=1)
    assert answer.status_code == 201, answer.text
    found = await site.until(answer.json()["id"], lambda row: row["phase"] == "copying")
    (route,) = [
        r
        for r in (await site.api.get("/api/vhosts/1/routes")).json()
        if r["path_prefix"] == "/slow/"
    ]
    yield {"id": found["id"], "route": route["id"], "other": made.json()["id"]}
    done = await site.wait(found["id"])
    assert done["phase"] == "done", done["error_msg"]


async def refused(site: Site, method: str, path: str, **body: Any) -> None:
    answer = await site.api.request(method, path, json=body or None)
    assert answer.status_code == 409, (method, path, body, answer.text)
    assert "migrat" in answer.text


async def test_what_would_break_the_move_is_refused(site: Site, moving: dict[str, Any]) -> None:
    route = f"/api/vhosts/1/routes/{moving['route']}"
    for pool in site.ids.values():
        await refused(site, "PUT", f"/api/pools/{pool}/credentials", **KEYS)
        await refused(site, "PUT", f"/api/pools/{pool}", name="renamed")
    for change in ({"enabled": False}, {"listen_port": free_port()}, {"server_name": "new.local"}):
        await refused(site, "PUT", "/api/vhosts/1", **change)
    await refused(site, "DELETE", "/api/vhosts/1")
    for change in ({"pool_id": site.ids[NEW]}, {"enabled": False}, {"path_prefix": "/fast/"}):
        await refused(site, "PUT", route, **change)
    await refused(site, "DELETE", route)
    for pool in site.ids.values():
        (member,) = (await site.api.get(f"/api/pools/{pool}/members")).json()
        path = f"/api/pools/{pool}/members/{member['id']}"
        await refused(site, "DELETE", path)
        await refused(site, "PUT", path, enabled=False)
        await refused(site, "PUT", path, address="127.0.0.1:9")
        assert (await site.api.put(path, json={"weight": 7})).status_code == 200
        spare = {"address": f"127.0.0.1:{free_port()}"}
        assert (await site.api.post(f"/api/pools/{pool}/members", json=spare)).status_code == 201
    assert (await site.api.get(f"/api/migrations/{moving['id']}")).json()["phase"] == "copying"


async def test_no_way_to_the_bucket_past_the_move_can_be_opened(
    site: Site, moving: dict[str, Any]
) -> None:
    other = f"/api/vhosts/{moving['other']}"
    for pool in site.ids.values():
        await refused(site, "PUT", other, default_pool_id=pool)
        way = {"path_prefix": "/slow/", "pool_id": pool}
        await refused(site, "POST", f"{other}/routes", **way)
        vhost = {"server_name": "third.local", "listen_port": free_port(), "ssl": False}
        await refused(site, "POST", "/api/vhosts", default_pool_id=pool, **vhost)
        for prefix, keys in (("/slow/2024/", None), ("/pics/", "slow/2024"), ("/pics/", "slow")):
            way = {"path_prefix": prefix, "key_prefix": keys, "pool_id": pool}
            await refused(site, "POST", f"{other}/routes", **way)
    twin = (await site.api.post("/api/pools", json={"name": "twin"})).json()["id"]
    server = f"127.0.0.1:{site.fleet.pools[OLD]}"
    await refused(site, "POST", f"/api/pools/{twin}/members", address=server)
    named = KEYS | {"endpoint_url": f"http://{server}"}
    await refused(site, "PUT", f"/api/pools/{twin}/credentials", **named)
    fine = {"path_prefix": "/elsewhere/", "pool_id": site.ids[OLD]}
    assert (await site.api.post(f"{other}/routes", json=fine)).status_code == 201


async def test_another_default_pool_is_no_matter_as_the_bucket_has_its_own_route(
    site: Site, moving: dict[str, Any]
) -> None:
    for pool in (NEW, OLD):
        answer = await site.api.put("/api/vhosts/1", json={"default_pool_id": site.ids[pool]})
        assert answer.status_code == 200, answer.text
        async with S3Client(site.fleet.s3_url, site.fleet.access_key, site.fleet.secret_key) as via:
            assert (await via.read("slow", "k0"))[1] == b"x" * 1000
    assert (await site.api.get(f"/api/migrations/{moving['id']}")).json()["phase"] == "copying"

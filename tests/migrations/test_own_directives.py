"""Buckets whose route has directives of its own move as quietly as any other."""

import http.client
from pathlib import Path

import pytest

from holdfast.demo.fleet import NEW, OLD
from holdfast.migrations.watch import NginxWatch
from tests.migrations.site import Site

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


async def test_a_route_with_directives_moves_without_a_reload(site: Site) -> None:
    await site.fill("dressed")
    body = {
        "path_prefix": "/dressed/",
        "pool_id": site.ids[OLD],
        "extra_directives": "add_header X-Dressed yes always;",
    }
    made = await site.api.post("/api/vhosts/1/routes", json=body)
    assert made.status_code == 201, made.text
    watch = NginxWatch(Path(site.fleet.directory) / "nginx")
    before = await watch.workers()
    client = http.client.HTTPConnection("127.0.0.1", site.fleet.gateway_port, timeout=10)
    client.connect()
    kept = client.sock

    def ask() -> str | None:
        client.request("GET", "/dressed/k0")
        answer = client.getresponse()
        answer.read()
        return answer.getheader("X-Dressed")

    assert ask() == "yes"
    started = (await site.post("dressed")).json()
    assert (await site.wait(started["id"]))["phase"] == "done"
    assert ask() == "yes"
    assert client.sock is kept, "the connection was closed"
    client.close()
    after = await watch.workers()
    assert (after.generation, after.all) == (before.generation, before.all), "nginx was reloaded"
    route = (await site.api.get(f"/api/vhosts/1/routes/{made.json()['id']}")).json()
    assert route["pool_id"] == site.ids[NEW]
    assert (await site.api.get("/api/config/drift")).json() == []

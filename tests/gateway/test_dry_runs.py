"""Every write of the API with ``dry_run=true``: what would be is told, and not done."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import func, select

import holdfast.gateway.api
import holdfast.kernel.identity.api
import holdfast.kernel.identity.session_api
import holdfast.kernel.jobs.api
import holdfast.migrations.api
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.restart import Restarter
from holdfast.kernel.web.app import build_app
from holdfast.kernel.web.deps import takes_dry_run
from holdfast.migrations.jobs import MOVE
from holdfast.schema import metadata
from tests.gateway.room import KEY
from tests.gateway.scene import Scene, fill

pytestmark = pytest.mark.real

USER = {"name": "ann", "role": "viewer"}
SCHEDULE = {"name": "nightly", "kind": MOVE, "cron": "0 3 * * *", "enabled": False}
CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/api/pools", {"name": "more"}),
    ("PUT", "/api/pools/{old}", {"keepalive": 7}),
    ("DELETE", "/api/pools/{spare}", None),
    ("POST", "/api/pools/{old}/members", {"address": "127.0.0.1:9"}),
    ("PUT", "/api/pools/{old}/members/{member}", {"weight": 7}),
    ("DELETE", "/api/pools/{old}/members/{member}", None),
    ("PUT", "/api/pools/{spare}/credentials", {"access_key": "a", "secret_key": "b"}),
    ("DELETE", "/api/pools/{spare}/credentials", None),
    ("POST", "/api/pools/{old}/members/{member}/node-config", {"node_type": "nanio-only"}),
    ("POST", "/api/pools/{old}/buckets/routed/purge", None),
    ("POST", "/api/vhosts", {"server_name": "b.local", "listen_port": 8081, "ssl": False}),
    ("PUT", "/api/vhosts/{vhost}", {"extra_directives": "add_header X-A b;"}),
    ("DELETE", "/api/vhosts/{web}", None),
    ("POST", "/api/vhosts/{vhost}/routes", {"path_prefix": "/r/", "pool_id": "{new}"}),
    ("PUT", "/api/vhosts/{vhost}/routes/{route}", {"enabled": False}),
    ("DELETE", "/api/vhosts/{vhost}/routes/{route}", None),
    ("POST", "/api/vhosts/{vhost}/buckets/sync", None),
    ("POST", "/api/vhosts/{vhost}/buckets/free/promote", {"pool_id": "{new}", "migrate": True}),
    (
        "POST",
        "/api/vhosts/{vhost}/buckets/free/promote",
        {"pool_id": "{new}", "allow_orphan": True},
    ),
    ("POST", "/api/vhosts/{vhost}/buckets/free/ignore", None),
    ("POST", "/api/vhosts/{vhost}/buckets/routed/migrate", None),
    ("POST", "/api/vhosts/{vhost}/buckets/routed/purge-orphan", None),
    ("DELETE", "/api/vhosts/{vhost}/buckets/routed/route", None),
    ("POST", "/api/vhosts/{web}/http-bucket-routes/free", None),
    ("DELETE", "/api/vhosts/{web}/http-bucket-routes/routed", None),
    (
        "POST",
        "/api/config/batch",
        {"operations": [{"op": "delete", "kind": "route", "vhost": "s3.local", "id": "{route}"}]},
    ),
    ("POST", "/api/config/reload", None),
    ("POST", "/api/config/rebuild", None),
    ("POST", "/api/config/rewrite-file", {"path": "pools/old.conf"}),
    ("POST", "/api/config/absorb-file", {"path": "pools/old.conf"}),
    ("POST", "/api/config/sync", None),
    ("POST", "/api/config/rebuild-from-disk", None),
    ("PUT", "/api/config/settings/port", {"value": 9000}),
    ("POST", "/api/config/settings/restart", None),
    (
        "POST",
        "/api/migrations",
        {"bucket": "free", "src_pool_id": "{old}", "dst_pool_id": "{new}"},
    ),
    ("POST", "/api/migrations/{moving}/cancel", None),
    ("POST", "/api/jobs/{job}/cancel", None),
    ("POST", "/api/jobs/{failed}/retry", None),
    ("POST", "/api/schedules", {**SCHEDULE, "name": "weekly"}),
    ("PATCH", "/api/schedules/nightly", {"enabled": True}),
    ("POST", "/api/schedules/nightly/trigger", None),
    ("DELETE", "/api/schedules/nightly", None),
    ("POST", "/api/users", {"name": "bob", "role": "viewer"}),
    ("PUT", "/api/users/ann", {"role": "admin"}),
    ("POST", "/api/users/ann/enable", None),
    ("POST", "/api/users/ann/link", None),
    ("POST", "/api/users/ann/revoke", None),
    ("POST", "/api/tokens", {"name": "t"}),
    ("POST", "/api/tokens/{token}/revoke", None),
]
ELSEWHERE = {
    ("POST", "/api/config/rollback/{number}"): "refused while a bucket moves; test_config.py",
    ("POST", "/api/migrations/{migration_id}/purge-source"): "tests/migrations/test_api.py",
    ("POST", "/api/sessions/{session_id}/end"): "rows alone, and the API key has no session",
    ("POST", "/api/me/sessions/{session_id}/end"): "as above",
    ("POST", "/api/me/sessions/end-others"): "as above",
}
"""What is not walked here, and why."""


@asynccontextmanager
async def nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield


async def all_there_is(scene: Scene) -> dict[str, Any]:
    """Files, links, rows, histories, settings, nginx's reloads, buckets and their objects."""
    room, counts, stored = scene.room, dict[str, Any](), dict[str, Any]()
    async with room.services.database.read() as session:
        for table in metadata.sorted_tables:
            counts[table.name] = await session.scalar(select(func.count()).select_from(table))
    for name, server in (("old", scene.old_server), ("new", scene.new_server)):
        async with server.client() as client:
            for bucket in await client.list_buckets():
                stored[f"{name}/{bucket}"] = (await client.totals(bucket)).objects
    mark, settings = room.root / "reload-mark.conf", room.services.loaded.config_file
    told = [path.read_text() if path.exists() else None for path in (mark, settings)]
    return {"digests": await room.everything(), **counts, **stored, "told": told}


async def ids_of(scene: Scene, api: httpx.AsyncClient) -> dict[str, Any]:
    """A site with one of everything, and how the calls name it."""

    async def made(path: str, body: Any = None) -> Any:
        answer = await api.post(path, json=body)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    room, here = scene.room, f"/api/vhosts/{scene.vhost}/buckets"
    for bucket in ("free", "routed", "moving"):
        await fill(scene.old_server, bucket)
    orphaned = {"pool_id": scene.new, "allow_orphan": True}
    await made(f"{here}/routed/promote", orphaned)
    await made(f"{here}/sync")
    moving = await made(f"{here}/moving/promote", {"pool_id": scene.new, "migrate": True})
    over = await room.pool("web", type="http", source_nanio_pool_id=scene.new)
    web = await room.vhost(over, "web.local")
    await made(f"/api/vhosts/{web}/http-bucket-routes/routed")
    (member,) = (await api.get(f"/api/pools/{scene.old}/members")).json()
    routes = (await api.get(f"/api/vhosts/{scene.vhost}/routes")).json()
    await made("/api/users", USER)
    await made("/api/schedules", SCHEDULE)
    failed = (await api.post("/api/schedules/nightly/trigger")).json()["job_id"]
    async with room.services.database.engine.begin() as connection:
        update = JobRow.__table__.update().where(JobRow.id == failed)  # type: ignore[attr-defined]
        await connection.execute(update.values(state="failed"))
    found = (await api.get(f"/api/migrations/{moving['migration_id']}")).json()
    spare = await room.pool("spare", "127.0.0.1:9")
    await room.ok("PUT", f"/pools/{spare}/credentials", access_key="one", secret_key="two")
    return {
        "old": scene.old,
        "new": scene.new,
        "spare": spare,
        "vhost": scene.vhost,
        "web": web,
        "member": member["id"],
        "route": next(one["id"] for one in routes if one["path_prefix"] == "/routed/"),
        "moving": moving["migration_id"],
        "job": found["job_id"],
        "failed": failed,
        "token": (await made("/api/tokens", {"name": "one"}))["id"],
    }


def named(value: Any, ids: dict[str, Any]) -> Any:
    """With the ids in place of their names."""
    match value:
        case str():
            return ids[value[1:-1]] if value[:1] == "{" else value
        case dict():
            return {key: named(one, ids) for key, one in value.items()}
        case list():
            return [named(one, ids) for one in value]
        case _:
            return value


async def test_whatever_is_tried_changes_nothing(quick_scene: Scene) -> None:
    scene, asked = quick_scene, list[str]()
    scene.room.services.add(Restarter(lambda: asked.append("restart")))
    routers = [
        *holdfast.gateway.api.routers,
        *holdfast.migrations.api.routers,
        holdfast.kernel.identity.api.router,
        holdfast.kernel.identity.session_api.router,
        holdfast.kernel.jobs.api.router,
    ]
    app = build_app(scene.room.services, routers, nothing_beside)
    left = {
        (method, route.path): route
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and takes_dry_run(route)
        for method in (route.methods or set()) - {"GET", "HEAD"}
    }
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://api",
        headers={"Authorization": f"Bearer {KEY}"},
    ) as api:
        ids = await ids_of(scene, api)
        before = await all_there_is(scene)
        wrong: dict[str, Any] = {}
        for method, template, body in CALLS:
            path = template.format(**ids)
            answer = await api.request(
                method, path, json=named(body, ids), params={"dry_run": "true"}
            )
            if answer.status_code not in {200, 201, 204}:
                wrong[f"{method} {path}"] = answer.text
            elif answer.content and path.rpartition("/")[2] in {"trigger", "migrate", "tokens"}:
                told = answer.json()
                given = [told.get(name) for name in ("job_id", "migration_id", "token")]
                assert not any(given), (path, told)
            if (now := await all_there_is(scene)) != before:
                wrong[f"{method} {path}"] = {
                    k: (before[k], now[k]) for k in now if now[k] != before[k]
                }
                before = now
            for key in [k for k in left if k[0] == method and left[k].path_regex.match(path)]:
                del left[key]
    assert wrong == {}
    assert asked == []
    assert left.keys() == ELSEWHERE.keys()

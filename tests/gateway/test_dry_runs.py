"""Every write of the API with ``dry_run=true``: what would be is told, and not done."""

from typing import Any

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import func, select

from holdfast.kernel.restart import Restarter
from holdfast.kernel.web.deps import takes_dry_run
from holdfast.schema import metadata
from tests.gateway.everything import ROUTERS, SCHEDULE, calls, ids_of, named
from tests.gateway.scene import Scene

pytestmark = pytest.mark.real

CALLS: list[tuple[str, str, Any]] = [
    ("POST", "/api/pools", {"name": "more"}),
    ("PUT", "/api/pools/{old}", {"keepalive": 7}),
    ("DELETE", "/api/pools/{spare}", None),
    ("POST", "/api/pools/{old}/members", {"address": "127.0.0.1:11"}),
    ("PUT", "/api/pools/{old}/members/{member}", {"weight": 7}),
    ("DELETE", "/api/pools/{spare}/members/{idle}", None),
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
    ("POST", "/api/buckets/sync", None),
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
    ("POST", "/api/jobs/{failed}/dismiss", None),
    ("POST", "/api/jobs/dismiss", None),
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


async def test_whatever_is_tried_changes_nothing(quick_scene: Scene) -> None:
    scene, asked = quick_scene, list[str]()
    scene.room.services.add(Restarter(lambda: asked.append("restart")))
    left = {
        (method, route.path): route
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and takes_dry_run(route)
        for method in (route.methods or set()) - {"GET", "HEAD"}
    }
    async with calls(scene) as api:
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
    assert left.keys() == ELSEWHERE.keys(), "a write that is new belongs in CALLS"

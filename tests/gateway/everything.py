"""A site with one of everything, and a client of all its routes that need no store or tier."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

import holdfast.gateway.api
import holdfast.kernel.identity.api
import holdfast.kernel.identity.session_api
import holdfast.kernel.jobs.api
import holdfast.kernel.web.system_api
import holdfast.migrations.api
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.web.app import build_app
from holdfast.migrations.jobs import MOVE
from tests.gateway.room import KEY
from tests.gateway.scene import Scene, fill

ROUTERS = [
    *holdfast.gateway.api.routers,
    *holdfast.migrations.api.routers,
    holdfast.kernel.identity.api.router,
    holdfast.kernel.identity.session_api.router,
    holdfast.kernel.jobs.api.router,
    holdfast.kernel.web.system_api.router,
]
USER = {"name": "ann", "role": "viewer"}
SCHEDULE = {"name": "nightly", "kind": MOVE, "cron": "0 3 * * *", "enabled": False}


@asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def calls(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    """A client of these routes."""
    app = build_app(scene.room.services, ROUTERS, _nothing_beside)
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://api", headers=headers
    ) as client:
        yield client


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
    (idle,) = (await api.get(f"/api/pools/{spare}/members")).json()
    return {
        "old": scene.old,
        "new": scene.new,
        "spare": spare,
        "vhost": scene.vhost,
        "web": web,
        "member": member["id"],
        "idle": idle["id"],
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

"""The gateway's API in this process, on a real database and a real nginx in the test's folder."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text

import holdfast.gateway.api
from holdfast.gateway.context import Gateway, build_gateway
from holdfast.gateway.startup import start
from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.ports import free_port
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.web.app import build_app
from holdfast.schema import metadata
from tests.kernel.nginx.lab import NginxLab, nginx_lab, send

KEY = "the-operators-key"
HOST = "s3.local"
Json = Any
NOT_COMPARED = {"audit", "event", "node_config", "token"}


class Room:
    """A client of the API, and what lies behind it."""

    def __init__(self, services: Services, client: httpx.AsyncClient, lab: NginxLab) -> None:
        self.services = services
        self.client = client
        self.lab = lab
        self.port = free_port()
        """Where the vhost of `vhost` listens."""

    @property
    def gateway(self) -> Gateway:
        return self.services.get(Gateway)

    @property
    def root(self) -> Path:
        return self.services.settings.nginx_root

    async def ok(self, method: str, path: str, status: int = 200, **body: Json) -> Json:
        """Call, insist on the status, give the JSON back."""
        answer = await self.call(method, path, body or None)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def call(
        self, method: str, path: str, body: Json = None, **query: Json
    ) -> httpx.Response:
        return await self.client.request(method, "/api" + path, json=body, params=query or None)

    async def pool(self, name: str = "one", *addresses: str, **fields: Json) -> int:
        """A pool with members; its id."""
        made = await self.ok("POST", "/pools", 201, name=name, **fields)
        for address in addresses:
            await self.ok("POST", f"/pools/{made['id']}/members", 201, address=address)
        return int(made["id"])

    async def vhost(self, pool_id: int | None = None, name: str = HOST, **fields: Json) -> int:
        """A vhost without TLS; its id."""
        body = {"server_name": name, "listen_port": self.port, "ssl": False, **fields}
        made = await self.ok("POST", "/vhosts", 201, default_pool_id=pool_id, **body)
        return int(made["id"])

    async def route(self, vhost_id: int, prefix: str, pool_id: int, **fields: Json) -> Json:
        path = f"/vhosts/{vhost_id}/routes"
        return await self.ok("POST", path, 201, path_prefix=prefix, pool_id=pool_id, **fields)

    async def asks(self, path: str, *, host: str = HOST, method: str = "GET") -> str:
        """What a client of nginx gets."""
        return (await send(self.port, method, path, host=host)).body

    def live(self, path: str) -> str | None:
        """A live file."""
        return self.gateway.generations.read(path)

    def flags(self) -> dict[str, str]:
        """Pool of each flag."""
        return {f"{v}/{b}": flag.pool_alias for v, b, flag in self.gateway.flags.list()}

    async def everything(self) -> tuple[str, str]:
        """A digest of all files and links, and one of all rows that say how things are."""
        return tree_digest(self.root), await rows_digest(self.services.database)


def tree_digest(root: Path) -> str:
    """Every path below, with its content or where it points."""
    found = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.name in {".lock", ".last", "reload-mark.conf"} or name.startswith(
            ("objects/", "log/")
        ):
            continue
        content = str(path.readlink()) if path.is_symlink() else ""
        if path.is_file() and not path.is_symlink():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found.update(f"{name}={content}\n".encode())
    return found.hexdigest()


async def rows_digest(database: Database) -> str:
    """Every row of the tables that are not a history."""
    found = {}
    async with database.read() as session:
        for table in metadata.sorted_tables:
            if table.name not in NOT_COMPARED:
                rows = await session.execute(table.select().order_by(text("1")))
                found[table.name] = [list(row) for row in rows]
    return hashlib.sha256(json.dumps(found, default=str).encode()).hexdigest()


def build_services(url: str, directory: Path, command: list[str], **settings: Json) -> Services:
    """The services of a process whose data is in ``directory``."""
    made = Settings(
        data_dir=directory / "data",
        nginx_dir=directory / "nginx",
        nginx_command=tuple(command),
        api_key=SecretStr(KEY),
        **settings,
    )
    made.data_dir.mkdir(parents=True, exist_ok=True)
    loaded = LoadedSettings(made, {}, directory / "config.toml")
    services = Services(loaded, Database(url), Sealer("a secret of the tests"))
    build_gateway(services)
    return services


@asynccontextmanager
async def _nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield


def client_of(services: Services) -> httpx.AsyncClient:
    """A client of the gateway's API over these services."""
    app = build_app(services, holdfast.gateway.api.routers, _nothing_beside)
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


@asynccontextmanager
async def open_room(
    url: str, directory: Path, *, running: bool = True, include: bool = True, **settings: Json
) -> AsyncIterator[Room]:
    """The whole gateway; nginx runs unless told otherwise."""
    async with nginx_lab(directory / "operator") as lab:
        services = build_services(url, directory, lab.command, **settings)
        line = services.get(Gateway).nginx.include_line
        lab.write_main(line if include else "")
        await start(services)
        if running:
            await lab.start()
        async with client_of(services) as client:
            yield Room(services, client, lab)
        await services.database.close()

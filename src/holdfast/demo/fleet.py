"""A small local fleet: two pools of real S3 servers, nginx before them, and Holdfast beside it."""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from holdfast.kernel.errors import TimedOut, Unavailable
from holdfast.kernel.process import Child, find_program, start

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
BUCKET = "photos"
OLD, NEW = "old-disks", "new-disks"
VHOST = "s3.localhost"


@dataclass(slots=True)
class Fleet:
    """Where everything is, and the keys to it."""

    directory: Path
    api_port: int
    gateway_port: int
    pools: dict[str, int] = field(default_factory=dict)
    """Name of the pool and port of its server."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    access_key: str = "demo"
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def api_url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def s3_url(self) -> str:
        """The S3 endpoint of clients: the gateway."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def api(self) -> httpx.AsyncClient:
        """A client of the API with the admin's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=60)


@contextlib.asynccontextmanager
async def running_fleet(directory: Path) -> AsyncIterator[Fleet]:
    """Start every process, and end them all when the block ends."""
    fleet = Fleet(directory, free_port(), free_port(), {OLD: free_port(), NEW: free_port()})
    async with contextlib.AsyncExitStack() as stack:
        for name, port in fleet.pools.items():
            await stack.enter_async_context(_s3_server(fleet, name, port))
        await stack.enter_async_context(_holdfast(fleet))
        await stack.enter_async_context(_nginx(fleet))
        await _configure(fleet)
        yield fleet


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def wait_until(ready: Callable[[], Any], what: str) -> None:
    """Poll ``ready`` (it may raise) until it is true. Raises ``TimedOut`` naming ``what``."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _is_ready(ready):  # noqa: ASYNC110 - other processes tell no event
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimedOut(f"{what} did not come up within {READY_SECONDS:.0f} s") from None


async def _is_ready(ready: Callable[[], Any]) -> bool:
    try:
        return bool(await ready())
    except (OSError, httpx.HTTPError):
        return False


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(timeout=2) as client:
        return (await client.get(url)).status_code < 500  # noqa: PLR2004 - HTTP


@contextlib.asynccontextmanager
async def _child(child: Child, ready_url: str, what: str) -> AsyncIterator[None]:
    async with child:
        await wait_until(lambda: _answers(ready_url), what)
        yield


@contextlib.asynccontextmanager
async def _s3_server(fleet: Fleet, name: str, port: int) -> AsyncIterator[None]:
    data = fleet.directory / name
    data.mkdir(parents=True)
    program = Path(sys.executable).parent / "nanio"
    if not program.exists():
        raise Unavailable("the demo needs the S3 server nanio", hint="pip install nanio==0.1.7")
    keys = {"NANIO_ACCESS_KEY": fleet.access_key, "NANIO_SECRET_KEY": fleet.secret_key}
    words = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--data-dir", str(data), "--no-access-log", "--log-level", "error"]
    child = await start(words, env=keys)
    async with _child(child, f"http://127.0.0.1:{port}/", f"S3 server of pool {name}"):
        yield


@contextlib.asynccontextmanager
async def _holdfast(fleet: Fleet) -> AsyncIterator[None]:
    root = fleet.directory
    environment = {
        "HOLDFAST_DATA_DIR": str(root / "holdfast"),
        "HOLDFAST_PORT": str(fleet.api_port),
        "HOLDFAST_API_KEY": fleet.token,
        "HOLDFAST_NGINX_DIR": str(root / "nginx"),
        "HOLDFAST_NGINX_COMMAND": f"{_nginx_program()} -p {root} -c {root / 'nginx.conf'}",
        "HOLDFAST_S3_ACCESS_KEY": fleet.access_key,
        "HOLDFAST_S3_SECRET_KEY": fleet.secret_key,
        "HOLDFAST_LOG_LEVEL": "warning",
    }
    log = (root / "holdfast.log").open("w")
    words = [sys.executable, "-m", "holdfast", "serve"]
    with log:
        child = await start(
            words, env=environment, on_error_line=lambda line: print(line, file=log)
        )
        async with _child(child, f"{fleet.api_url}/api/ready", "holdfast serve"):
            yield


@contextlib.asynccontextmanager
async def _nginx(fleet: Fleet) -> AsyncIterator[None]:
    root = fleet.directory
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(
        f"{kind}_temp_path {root}/temporary/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (root / "temporary").mkdir()
    (root / "nginx.conf").write_text(
        f"""{user}
worker_processes 2;
daemon off;
pid {root}/nginx.pid;
error_log {root}/nginx-error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    {temporary}
    include {root}/nginx/live/http.conf;
}}
"""
    )
    child = await start([_nginx_program(), "-p", str(root), "-c", str(root / "nginx.conf")])
    async with child:
        await wait_until(_exists(root / "nginx.pid"), "nginx")
        yield


def _exists(path: Path) -> Callable[[], Any]:
    async def exists() -> bool:
        return await asyncio.to_thread(path.exists)

    return exists


def _nginx_program() -> str:
    return str(find_program("nginx"))


async def _configure(fleet: Fleet) -> None:
    """Two pools, and a vhost whose default is the old one."""
    async with fleet.api() as api:
        for name, port in fleet.pools.items():
            pool = await _post(api, "/api/pools", {"name": name})
            await _post(api, f"/api/pools/{pool['id']}/members", {"address": f"127.0.0.1:{port}"})
        pools = {pool["name"]: pool["id"] for pool in (await api.get("/api/pools")).json()}
        vhost = {
            "server_name": VHOST,
            "listen_port": fleet.gateway_port,
            "ssl": False,
            "default_pool_id": pools[OLD],
        }
        await _post(api, "/api/vhosts", vhost)


async def _post(api: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(path, json=body)
    if answer.is_error:
        raise Unavailable(f"POST {path} answered {answer.status_code}: {answer.text[:500]}")
    result: dict[str, Any] = answer.json()
    return result

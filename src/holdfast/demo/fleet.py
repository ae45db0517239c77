"""A small local fleet: two pools of real S3 servers, nginx before them, and Holdfast beside it."""

import asyncio
import contextlib
import os
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from holdfast.kernel.errors import TimedOut, Unavailable
from holdfast.kernel.ports import free_port
from holdfast.kernel.process import Child, find_program, start

READY_SECONDS = 60.0
POLL_SECONDS = 0.05
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of loopback addresses: reading the machine's certificates takes 0.1 s of a core."""
BUCKET = "photos"
OLD, NEW = "old-disks", "new-disks"
VHOST = "s3.localhost"


@dataclass(slots=True)
class Program:
    """One process of the fleet: it can be killed and started again."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    log: Path
    child: Child | None = None

    async def start(self) -> None:
        """Start it, and wait until it answers."""

        def keep(line: str) -> None:
            with self.log.open("a") as file:
                file.write(line + "\n")

        self.child = await start(self.argv, env=self.environment, on_line=keep, on_error_line=keep)
        await wait_until(self.is_ready, self.name)

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self.child:
            await self.child.stop(grace_seconds=0)

    async def stop(self) -> None:
        """Ask it to end, and end it."""
        if self.child:
            await self.child.stop()


@dataclass(slots=True)
class Fleet:
    """Where everything is, the keys to it, and its processes by name."""

    directory: Path
    api_port: int
    gateway_port: int
    pools: dict[str, int] = field(default_factory=dict)
    """Name of the pool and port of its server."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """More ``HOLDFAST_*`` variables of the server."""
    programs: dict[str, Program] = field(default_factory=dict)
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

    def pool_url(self, name: str) -> str:
        """The S3 server of a pool itself."""
        return f"http://127.0.0.1:{self.pools[name]}"

    def api(self) -> httpx.AsyncClient:
        """A client of the API with the admin's token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.api_url, headers=headers, timeout=60, verify=NO_TLS)


@contextlib.asynccontextmanager
async def running_fleet(
    directory: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Fleet]:
    """Start every process with two pools and a vhost, and end them all when the block ends."""
    async with running_programs(directory, settings) as fleet:
        await _configure(fleet)
        yield fleet


@contextlib.asynccontextmanager
async def running_programs(
    directory: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Fleet]:
    """The same processes, and nothing configured yet: ``pools`` are servers without a pool."""
    pools = {OLD: free_port(), NEW: free_port()}
    fleet = Fleet(directory, free_port(), free_port(), pools, settings or {})
    for program in (*_s3_servers(fleet), _holdfast(fleet), _nginx(fleet)):
        fleet.programs[program.name] = program
    try:
        for program in fleet.programs.values():
            await program.start()
        yield fleet
    finally:
        for program in reversed(fleet.programs.values()):
            await program.stop()


async def wait_until(ready: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll ``ready`` (it may raise) until it is true. Raises ``TimedOut`` naming ``what``."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _is_ready(ready):  # noqa: ASYNC110 - other processes tell no event
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise TimedOut(f"{what} did not come up within {READY_SECONDS:.0f} s") from None


async def _is_ready(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await ready()
    except (OSError, httpx.HTTPError):
        return False


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def answers() -> bool:
        async with httpx.AsyncClient(timeout=2, verify=NO_TLS) as client:
            return (await client.get(url)).status_code < 500  # noqa: PLR2004 - HTTP

    return answers


def _s3_servers(fleet: Fleet) -> list[Program]:
    program = Path(sys.executable).parent / "nanio"
    if not program.exists():
        raise Unavailable("the demo needs the S3 server nanio", hint="pip install nanio==0.1.7")
    keys = {"NANIO_ACCESS_KEY": fleet.access_key, "NANIO_SECRET_KEY": fleet.secret_key}
    servers = []
    for name, port in fleet.pools.items():
        data = fleet.directory / name
        data.mkdir(parents=True)
        words = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port)]
        words += ["--data-dir", str(data), "--no-access-log", "--log-level", "error"]
        url = f"http://127.0.0.1:{port}/"
        log = fleet.directory / f"{name}.log"
        servers.append(Program(name, words, keys, _answers(url), log))
    return servers


def _holdfast(fleet: Fleet) -> Program:
    root = fleet.directory
    environment = {
        "HOLDFAST_DATA_DIR": str(root / "holdfast"),
        "HOLDFAST_PORT": str(fleet.api_port),
        "HOLDFAST_API_KEY": fleet.token,
        "HOLDFAST_NGINX_DIR": str(root / "nginx"),
        "HOLDFAST_NGINX_COMMAND": f"{find_program('nginx')} -p {root} -c {root / 'nginx.conf'}",
        "HOLDFAST_S3_ACCESS_KEY": fleet.access_key,
        "HOLDFAST_S3_SECRET_KEY": fleet.secret_key,
        "HOLDFAST_LOG_LEVEL": "warning",
        **fleet.settings,
    }
    words = [sys.executable, "-m", "holdfast", "serve"]
    ready = _answers(f"{fleet.api_url}/api/ready")
    return Program("holdfast", words, environment, ready, root / "holdfast.log")


def _nginx(fleet: Fleet) -> Program:
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
    words = [find_program("nginx"), "-p", str(root), "-c", str(root / "nginx.conf")]

    async def has_started() -> bool:
        return bool(await asyncio.to_thread((root / "nginx.pid").read_text))

    return Program("nginx", words, {}, has_started, root / "nginx.log")


async def _configure(fleet: Fleet) -> None:
    """Two pools, and a vhost whose default is the old one."""
    async with fleet.api() as api:
        ids = {}
        for name, port in fleet.pools.items():
            pool = await _post(api, "/api/pools", {"name": name})
            ids[name] = pool["id"]
            address = {"address": f"127.0.0.1:{port}"}
            await _post(api, f"/api/pools/{pool['id']}/members", address)
        vhost = {
            "server_name": VHOST,
            "listen_port": fleet.gateway_port,
            "ssl": False,
            "default_pool_id": ids[OLD],
        }
        await _post(api, "/api/vhosts", vhost)


async def _post(api: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(path, json=body)
    if answer.is_error:
        raise Unavailable(f"POST {path} answered {answer.status_code}: {answer.text[:500]}")
    result: dict[str, Any] = answer.json()
    return result

"""Two real S3 servers behind a real nginx with our own files, and one process that drives moves.

No API, no database.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.gateway.flags import Flag, FlagState, RouteFlags, pool_alias
from holdfast.gateway.render import pool_files, vhost_files
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.render_model import (
    MemberSpec,
    PoolSpec,
    RenderContext,
    ServedVhost,
    VhostSpec,
)
from holdfast.kernel.nginx.disk import control_port
from holdfast.kernel.nginx.master import loaded_generation
from holdfast.kernel.ports import free_port
from holdfast.kernel.process import Child, start
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.dirtylog import DirtyLog
from holdfast.migrations.engine import Engine
from holdfast.migrations.gate import Gate
from holdfast.migrations.model import HoldAttempt, Mode, Options, Stage
from holdfast.migrations.move import Amounts, Entrance, Move, Nginx, Side
from holdfast.migrations.watch import NginxWatch
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, nanio_server

BUCKET = "photos"
SOURCE, DESTINATION = "old-pool", "new.pool"
QUICK = Options(give_up_after_seconds=20, probation_seconds=0.5)


@dataclass(slots=True)
class Notes:
    """A report that remembers."""

    stages: list[Stage] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    troubles: list[str | None] = field(default_factory=list)
    holds: list[HoldAttempt] = field(default_factory=list)
    amounts_seen: Amounts = field(default_factory=Amounts)
    ended: Stage | None = None
    message: str = ""
    cancel: bool = False
    cancel_at: Stage | None = None
    writes_wait: list[bool] = field(default_factory=list)

    @property
    def cancelled(self) -> bool:
        return self.cancel

    async def stage(self, stage: Stage, message: str) -> None:
        self.stages.append(stage)
        self.lines.append(message)
        self.cancel = self.cancel or stage is self.cancel_at

    async def note(self, message: str) -> None:
        self.lines.append(message)

    async def warn(self, message: str) -> None:
        self.lines.append(f"warning: {message}")

    async def trouble(self, message: str | None) -> None:
        self.troubles.append(message)

    async def admitted(self, options: Options) -> None:
        pass

    async def held(self, attempt: HoldAttempt) -> None:
        self.holds.append(attempt)

    async def over(self, stage: Stage, message: str) -> None:
        self.ended, self.message = stage, message

    def amounts(self, amounts: Amounts) -> None:
        self.amounts_seen = amounts

    def holding(self, *, is_open: bool) -> None:
        self.writes_wait.append(is_open)


@dataclass(slots=True)
class Rig:
    """Everything that runs."""

    root: Path
    source: S3Server
    destination: S3Server
    vhosts: dict[str, int]
    """Server name to port."""
    flags: RouteFlags
    nginx: Nginx
    nginx_child: Child
    tls: bool = False

    def client(self, vhost: str | None = None, *, limit: int = 64) -> S3Client:
        """A client through nginx."""
        name = vhost or next(iter(self.vhosts))
        endpoint = f"http://{name}:{self.vhosts[name]}"
        return S3Client(endpoint, ACCESS_KEY, SECRET_KEY, limit=limit)

    def move(self, options: Options = QUICK, mode: Mode = Mode.COPY) -> Move:
        return Move(
            migration_id=1,
            bucket=BUCKET,
            mode=mode,
            source=_side(1, SOURCE, self.source),
            destination=_side(2, DESTINATION, self.destination),
            entrances=tuple(Entrance(name=n, port=p, tls=self.tls) for n, p in self.vhosts.items()),
            options=options,
            folder=self.root / "migrations",
        )

    def engine(self, notes: Notes, options: Options = QUICK, mode: Mode = Mode.COPY) -> Engine:
        return Engine(self.move(options, mode), notes, self.nginx, self.flags)

    async def run(self, notes: Notes, options: Options = QUICK, mode: Mode = Mode.COPY) -> None:
        async with asyncio.timeout(120):
            await self.engine(notes, options, mode).run()

    def states(self) -> list[str]:
        """State and pool that serves, of each virtual host."""
        shown = []
        for vhost in self.vhosts:
            flag = self.flags.get(vhost, BUCKET)
            shown.append(f"{flag.state}.{flag.pool_alias}" if flag else "none")
        return shown

    async def fill(self, objects: Iterable[tuple[str, bytes]]) -> None:
        async with self.source.client() as client:
            await client.create_bucket(BUCKET)
            waiting = asyncio.Semaphore(32)

            async def one(key: str, body: bytes) -> None:
                async with waiting:
                    await client.put(BUCKET, key, body)

            await asyncio.gather(*(one(key, body) for key, body in objects))


@asynccontextmanager
async def running_rig(
    root: Path, *, vhosts: Iterable[str] = ("localhost",), workers: int = 2, tls: bool = False
) -> AsyncIterator[Rig]:
    """Servers with an empty bucket on the source, nginx before them, the gate of this process."""
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(nanio_server(root / "source"))
        destination = await stack.enter_async_context(nanio_server(root / "destination"))
        nginx_dir = root / "nginx"
        ports = {name: free_port() for name in vhosts}
        flags = RouteFlags(nginx_dir)
        write_nginx(nginx_dir, {SOURCE: source, DESTINATION: destination}, ports, workers, tls=tls)
        child = await stack.enter_async_context(await running_nginx(nginx_dir))
        await _until_nginx_answers(child, nginx_dir)
        gate = await stack.enter_async_context(Gate())
        nginx = Nginx(
            counters=NginxWatch(nginx_dir),
            log=DirtyLog(nginx_dir / "log" / "dirty.log"),
            gate=gate,
            control_port=control_port(nginx_dir),
        )
        rig = Rig(root, source, destination, ports, flags, nginx, child, tls)
        for vhost in ports:
            flag = Flag(epoch=1, state=FlagState.STATIC, pool_alias=pool_alias(SOURCE))
            flags.set_flag(vhost, BUCKET, flag)
        await rig.fill([])
        yield rig


def write_nginx(
    nginx_dir: Path,
    pools: dict[str, S3Server],
    vhosts: dict[str, int],
    workers: int,
    *,
    tls: bool = False,
) -> None:
    """One generation, and a main file that includes it."""
    generation = nginx_dir / "generations" / "000001"
    (nginx_dir / "log").mkdir(parents=True)
    RouteFlags(nginx_dir).ensure()
    ctx = RenderContext(nginx_dir=nginx_dir, control_port=control_port(nginx_dir))
    served = [
        ServedVhost(
            server_name=name, listen_port=port, default_pool=SOURCE, has_nothing_own=not tls
        )
        for name, port in vhosts.items()
    ]
    files = http_conf(ctx, generation=1, directory=str(generation), pools=pools, vhosts=served)
    for name, server in pools.items():
        files |= pool_files(PoolSpec(name=name, members=(MemberSpec(address=server.address),)))
    certificate, key = make_certificate(nginx_dir) if tls else (None, None)
    for name, port in vhosts.items():
        spec = VhostSpec(
            server_name=name,
            listen_port=port,
            ssl=tls,
            ssl_cert_path=certificate,
            ssl_key_path=key,
            default_pool=SOURCE,
        )
        files |= vhost_files(spec, ctx)
    for path, text in files.items():
        (generation / path).parent.mkdir(parents=True, exist_ok=True)
        (generation / path).write_text(text)
    (nginx_dir / "live").symlink_to(generation)
    temps = "".join(
        f"{name}_temp_path {nginx_dir}/tmp-{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (nginx_dir / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes {workers};"
        f"pid {nginx_dir}/pid;"
        f"error_log {nginx_dir}/error.log info; events {{ worker_connections 2048; }}"
        f"http {{ access_log off; {temps} include {nginx_dir}/live/http.conf; }}\n"
    )


def make_certificate(folder: Path) -> tuple[str, str]:
    """Paths of a certificate that nobody trusts and of its key."""
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    argv += ["-subj", "/CN=localhost", "-keyout", key, "-out", certificate]
    subprocess.run(argv, check=True, capture_output=True)
    return certificate, key


async def running_nginx(nginx_dir: Path) -> Child:
    argv = ["nginx", "-p", str(nginx_dir), "-c", str(nginx_dir / "nginx.conf")]
    return await start([*argv, "-g", "daemon off;"])


async def _until_nginx_answers(child: Child, nginx_dir: Path) -> None:
    async with asyncio.timeout(20):
        while await loaded_generation(control_port(nginx_dir)) is None:
            if child.returncode is not None:
                raise child.failure("ended while it started")
            await asyncio.sleep(0.02)


def _side(pool_id: int, name: str, server: S3Server) -> Side:
    return Side(
        pool_id=pool_id,
        name=name,
        alias=pool_alias(name),
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region="us-east-1",
    )


async def contents(server: S3Server) -> dict[str, tuple[str, int]]:
    """Key to ETag and size."""
    async with server.client() as client:
        return {
            o.key: (o.etag, o.size_bytes)
            async for page in client.list_objects(BUCKET, by_folder=True)
            for o in page
        }


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


__all__ = [
    "BUCKET",
    "DESTINATION",
    "QUICK",
    "SOURCE",
    "Notes",
    "Rig",
    "contents",
    "running_rig",
    "until",
]

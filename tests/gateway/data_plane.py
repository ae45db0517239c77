"""A real nginx with our files, pools that answer with their name, and a gate that we play."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.gateway.flags import Flag, FlagState, RouteFlags, counter_key
from holdfast.gateway.render import pool_files, vhost_files
from holdfast.gateway.render_main import http_conf
from holdfast.gateway.render_model import (
    MemberSpec,
    PoolSpec,
    RenderContext,
    ServedVhost,
    VhostSpec,
)
from holdfast.kernel.nginx import Generations, Nginx, control_status, go_live
from holdfast.kernel.ports import free_port
from tests.kernel.nginx.lab import Answer, NginxLab, nginx_lab, send, until

VHOST = "s3.local"
SLOW_PATH_SECONDS = 2
SAW = (
    ' add_header X-Saw "$http_host $http_x_real_ip $http_x_forwarded_for $http_x_forwarded_proto";'
)
"""What a pool is shown of a request."""


@dataclass(slots=True)
class Gateway:
    """A running nginx with our files."""

    lab: NginxLab
    root: Path
    port: int
    gate_port: int
    flags: RouteFlags
    nginx: Nginx
    generations: Generations
    ctx: RenderContext
    pools: dict[str, int]
    vhosts: list[VhostSpec] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)

    async def ask(self, method: str, path: str, body: bytes = b"", **more: str) -> Answer:
        return await send(self.port, method, path, body, **more)

    def flag(self, state: FlagState, pool: str = "pool_s", bucket: str = "bkt") -> Flag:
        """Write the next flag of a bucket that moves from pool_s to pool_d."""
        flag = Flag(
            epoch=self.flags.next_epoch(VHOST, bucket),
            state=state,
            pool_alias=pool,
            target_alias=None if state is FlagState.STATIC else "pool_d",
            gate_port=None if state is FlagState.STATIC else self.gate_port,
        )
        self.flags.set_flag(VHOST, bucket, flag)
        return flag

    async def in_flight(self, flag: Flag | None, bucket: str = "bkt") -> bool:
        """Whether nginx counts a mutation under this flag."""
        key = counter_key(VHOST, bucket, flag)
        status, _ = await control_status(self.ctx.control_port, f"/probe?k={key}")
        assert status in {200, 503}
        return status == 503

    def log(self) -> list[dict[str, str]]:
        """The dirty log."""
        path = self.root / "log" / "dirty.log"
        return [json.loads(line) for line in path.read_text().splitlines()]

    async def apply(self, vhosts: list[VhostSpec]) -> None:
        """Make these vhosts live."""
        self.vhosts = vhosts
        number = self.generations.next_number()
        directory = str(self.generations.directory(number))
        names = list(self.pools)
        # it has a block of its own, being the first of its port: the others may share one
        first = an_s3_vhost(self.port, server_name="0.localhost")
        served = [served_as(vhost) for vhost in (first, *vhosts)]
        files = http_conf(
            self.ctx,
            generation=number,
            directory=directory,
            pools=names,
            vhosts=served,
            shared=self.shared,
        )
        for name, port in self.pools.items():
            member = MemberSpec(address=f"127.0.0.1:{port}")
            files |= pool_files(PoolSpec(name=name, members=(member,)))
        for vhost in (first, *vhosts):
            files |= vhost_files(vhost, self.ctx)
        candidate = self.generations.prepare(files, author="test", reason="test")
        outcome = await go_live(self.generations, self.nginx, candidate)
        assert outcome.live, outcome.remedy


def served_as(vhost: VhostSpec) -> ServedVhost:
    """What ``http.conf`` must know of this vhost."""
    own = (vhost.ssl, vhost.extra_directives, vhost.extra_blocks, vhost.ip_rule_mode)
    in_file = [route for route in vhost.routes if route.enabled and not route.is_plain_bucket]
    return ServedVhost(
        server_name=vhost.server_name,
        listen_port=vhost.listen_port,
        default_pool=vhost.default_pool,
        has_nothing_own=not any(own) and not in_file and vhost.type == "nanio",
    )


def an_s3_vhost(port: int, **fields: object) -> VhostSpec:
    settings = {"server_name": VHOST, "listen_port": port, "ssl": False, "default_pool": "pool_s"}
    return VhostSpec(**(settings | fields))  # type: ignore[arg-type]


@asynccontextmanager
async def running_gateway(tmp_path: Path, **fields: object) -> AsyncIterator[Gateway]:
    root = tmp_path / "gw"
    pools = {"pool_s": free_port(), "pool_d": free_port(), "dotted.pool": free_port()}
    generations = Generations(root)
    generations.ensure()
    async with nginx_lab(tmp_path / "op") as lab:
        names = {"pool_s": "S", "pool_d": "D", "dotted.pool": "P"}
        backends = "".join(
            f"server {{ listen 127.0.0.1:{port}; location / {{ client_max_body_size 0;{SAW}"
            f' return 200 "{names[pool]} $request_method $request_uri"; }} }}\n'
            for pool, port in pools.items()
        )
        lab.write_main(f"{backends}include {root}/live/http.conf;")
        await lab.start()
        nginx = Nginx(lab.command, root)
        ctx = RenderContext(
            nginx_dir=root,
            control_port=nginx.control_port,
            gate_timeout_seconds=SLOW_PATH_SECONDS,
        )
        flags = RouteFlags(root)
        flags.ensure()
        gateway = Gateway(
            lab, root, free_port(), free_port(), flags, nginx, generations, ctx, pools
        )
        await gateway.apply([an_s3_vhost(gateway.port, **fields)])
        yield gateway


Handler = Callable[[str], Awaitable[bytes]]


async def never_answers(_: str) -> bytes:
    """A driver that is alive and silent."""
    await asyncio.Event().wait()
    return b""


NO_CONTENT = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def gate(gateway: Gateway, handler: Handler) -> AsyncIterator[list[str]]:
    """The process that drives the migration: what it is asked, and what it answers."""
    heads: list[str] = []
    talking: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(await handler(heads[-1]))
                await writer.drain()
        finally:
            talking.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", gateway.gate_port)
    try:
        yield heads
    finally:
        server.close()
        for task in list(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
        await server.wait_closed()


async def wait_in_flight(gateway: Gateway, flag: Flag | None, bucket: str = "bkt") -> None:
    async with asyncio.timeout(10):
        while not await gateway.in_flight(flag, bucket):
            await asyncio.sleep(0.002)


async def wait_not_in_flight(gateway: Gateway, flag: Flag | None, bucket: str = "bkt") -> None:
    async with asyncio.timeout(10):
        while await gateway.in_flight(flag, bucket):
            await asyncio.sleep(0.002)


async def wait_for_log(gateway: Gateway, lines: int) -> None:
    await until(lambda: len(gateway.log()) >= lines, "the dirty log has too few lines")

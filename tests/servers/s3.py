"""Real S3 servers on loopback ports: nanio, and rclone's server as the second implementation.

What they cannot do, found by running them:

- nanio 0.1.7 keeps Content-Type, Cache-Control, Content-Encoding, Content-Disposition and
  x-amz-meta-*; it drops Content-Language, Expires and redirects. It refuses keys with empty, ``.``
  or ``..`` segments or control characters, and does not verify signatures of keys that have a
  percent sign and two hex digits, nor of header values outside ASCII. A write that broke off
  stays in listings as ``.tmp.<32 hex>`` without an ETag. When it is killed while it writes the
  metadata of a key, every later PUT of that key answers 500 until the leftover ``.json.tmp`` is
  removed from its disk.
- rclone 1.75 drops Expires. It lists ``folder/`` as ``folder`` and a tab or a newline as another
  character. The copy of an object uploaded in parts shows the ETag of its parts once, in the
  answer that completes it, and the MD5 of its content from then on.
- Neither answers to ``partNumber`` in a HEAD, and neither has versions.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.errors import AppError
from holdfast.kernel.ports import free_port
from holdfast.kernel.process import Child, start
from holdfast.kernel.stores.s3.client import S3Client

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"  # a key of servers that live for one test
READY_SECONDS = 30.0
PROGRAMS = Path(sys.executable).parent


@dataclass(slots=True)
class S3Server:
    """A running server; ``data_dir`` has a folder for each bucket."""

    endpoint: str
    access_key: str
    secret_key: str
    data_dir: Path
    child: Child

    @property
    def address(self) -> str:
        """As a pool member is written: host:port."""
        return self.endpoint.removeprefix("http://")

    def client(self, *, limit: int = 64) -> S3Client:
        """Our client for it."""
        return S3Client(self.endpoint, self.access_key, self.secret_key, limit=limit)

    async def kill(self) -> None:
        """End it at once, as a crash would."""
        await self.child.stop(grace_seconds=0)


ServerFactory = Callable[[Path], AbstractAsyncContextManager[S3Server]]


@asynccontextmanager
async def nanio_server(
    directory: Path, access: str = ACCESS_KEY, secret: str = SECRET_KEY, *, port: int | None = None
) -> AsyncIterator[S3Server]:
    """nanio with its data below ``directory``; starts again on the same data and ``port``."""
    port = port or free_port()
    data_dir = directory / "data"
    argv = [str(PROGRAMS / "nanio"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    argv += ["--data-dir", str(data_dir), "--log-level", "warning", "--no-access-log"]
    keys = {"NANIO_ACCESS_KEY": access, "NANIO_SECRET_KEY": secret}
    async with _running(argv, keys, directory, S3Keys(port, access, secret, data_dir)) as server:
        yield server


@asynccontextmanager
async def rclone_s3_server(
    directory: Path, access: str = ACCESS_KEY, secret: str = SECRET_KEY, *, port: int | None = None
) -> AsyncIterator[S3Server]:
    """``rclone serve s3`` of a folder below ``directory``."""
    port = port or free_port()
    data_dir = directory / "data"
    argv = [str(PROGRAMS / "rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(data_dir)]
    argv += ["--config", str(directory / "none.conf"), "--vfs-cache-mode", "off"]
    # In the environment the pair is written as CSV, and never shows up in a list of processes.
    keys = {"RCLONE_AUTH_KEY": f'"{access},{secret}"', "HOME": str(directory)}
    async with _running(argv, keys, directory, S3Keys(port, access, secret, data_dir)) as server:
        yield server


S3_SERVERS: dict[str, ServerFactory] = {"nanio": nanio_server, "rclone": rclone_s3_server}


@asynccontextmanager
async def two_servers(
    directory: Path, source: ServerFactory, destination: ServerFactory
) -> AsyncIterator[tuple[S3Server, S3Server]]:
    """Two pools to move a bucket between."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(source(directory / "source"))
        second = await stack.enter_async_context(destination(directory / "destination"))
        yield first, second


@dataclass(frozen=True, slots=True)
class S3Keys:
    port: int
    access: str
    secret: str
    data_dir: Path


@asynccontextmanager
async def _running(
    argv: list[str], env: dict[str, str], directory: Path, keys: S3Keys
) -> AsyncIterator[S3Server]:
    keys.data_dir.mkdir(parents=True, exist_ok=True)
    async with await start(argv, env=env, cwd=directory) as child:
        endpoint = f"http://127.0.0.1:{keys.port}"
        server = S3Server(endpoint, keys.access, keys.secret, keys.data_dir, child)
        await _until_ready(server)
        yield server


async def _until_ready(server: S3Server) -> None:
    async with asyncio.timeout(READY_SECONDS), server.client() as client:
        while True:
            if server.child.returncode is not None:
                raise server.child.failure("ended while it started")
            try:
                await client.call("GET", "/", tries=1)
            except AppError:
                await asyncio.sleep(0.05)
            else:
                return

"""nginx as written by hand: server blocks with one location a bucket, before the same pools."""

import asyncio
import contextlib
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.demo.fleet import NEW, OLD, Fleet
from holdfast.kernel.nginx.master import serving_workers
from holdfast.kernel.ports import free_port
from holdfast.kernel.process import find_program, start

_MAIN = """{user}
worker_processes 2;
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    server_names_hash_max_size 8192;
    {temporary}
    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    {upstreams}
    include {root}/vhosts/*.conf;
}}
"""
_UPSTREAM = (
    "upstream {name} {{ server 127.0.0.1:{port}; keepalive 32; keepalive_timeout 2s; }}\n    "
)


@dataclass(slots=True)
class BareNginx:
    """A running nginx with files in ``root``."""

    root: Path
    port: int
    old_workers: frozenset[int] = frozenset()

    @property
    def command(self) -> list[str]:
        """Words that start it, test it, reload it."""
        return [find_program("nginx"), "-p", str(self.root), "-c", str(self.root / "nginx.conf")]

    def write_vhost(self, name: str, pool: str = OLD) -> None:
        """A server block with a default pool."""
        locations = self.root / "locations" / name
        locations.mkdir(parents=True, exist_ok=True)
        (self.root / "vhosts" / f"{name}.conf").write_text(
            f"server {{\n    listen 127.0.0.1:{self.port};\n    server_name {name};\n"
            f"    include {locations}/*.conf;\n    location / {{ proxy_pass http://{pool}; }}\n}}\n"
        )

    def write_route(self, vhost: str, *buckets: str, directives: str = "") -> None:
        """Locations that send these buckets to the new pool, in one file."""
        text = "".join(
            f"location = /{b} {{ {directives} proxy_pass http://{NEW}; }}\n"
            f"location /{b}/ {{ {directives} proxy_pass http://{NEW}; }}\n"
            for b in buckets
        )
        (self.root / "locations" / vhost / f"{buckets[0]}.conf").write_text(text)

    async def reload(self) -> None:
        """``nginx -t && nginx -s reload``."""
        self.old_workers = serving_workers(self._master)
        for words in (["-t"], ["-s", "reload"]):
            child = await asyncio.create_subprocess_exec(
                *self.command, *words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            )
            _, said = await child.communicate()
            if child.returncode:
                raise RuntimeError(f"nginx {words}: {said.decode(errors='replace')}")

    async def wait_for_old_workers(self) -> None:
        """Return when no worker that served before the reload takes requests any more."""
        while self.old_workers & serving_workers(self._master):  # noqa: ASYNC110
            await asyncio.sleep(0.002)

    @property
    def _master(self) -> int:
        return int((self.root / "nginx.pid").read_text())


@contextlib.asynccontextmanager
async def running_nginx(fleet: Fleet, vhosts: Iterable[str]) -> AsyncIterator[BareNginx]:
    """Start it before the fleet's pools."""
    root = fleet.directory / "bare"
    bare = BareNginx(root, free_port())
    for folder in ("vhosts", "locations", "temporary"):
        (root / folder).mkdir(parents=True)
    for name in vhosts:
        bare.write_vhost(name)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (root / "nginx.conf").write_text(
        _MAIN.format(
            user="user root;" if os.geteuid() == 0 else "",
            root=root,
            temporary=" ".join(f"{kind}_temp_path {root}/temporary/{kind};" for kind in kinds),
            upstreams="".join(_UPSTREAM.format(name=n, port=p) for n, p in fleet.pools.items()),
        )
    )
    async with await start(bare.command):
        deadline = time.monotonic() + 30
        while not (root / "nginx.pid").exists() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        yield bare

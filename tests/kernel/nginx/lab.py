"""A real nginx with an operator's main file, on loopback ports, in a folder of the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.process import Child, start

NGINX = "/usr/sbin/nginx"
WAIT_SECONDS = 20.0
BODIES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
TEMP_PATHS = "".join(f"{name}_temp_path temp/{name};\n" for name in BODIES)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    status: int
    head: str
    body: str

    def header(self, name: str) -> str:
        """One header's value; empty when it is not there."""
        for line in self.head.split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return ""


@dataclass(slots=True)
class NginxLab:
    """The folder of an operator: his main file, his nginx."""

    prefix: Path
    child: Child | None = None

    @property
    def main(self) -> Path:
        """The operator's nginx.conf."""
        return self.prefix / "nginx.conf"

    @property
    def command(self) -> list[str]:
        """The words that the setting would have."""
        return [NGINX, "-p", str(self.prefix), "-c", str(self.main)]

    def write_main(self, http: str, *, top: str = "") -> None:
        """Write the main file; ``http`` goes inside ``http { }``."""
        for folder in ("temp", "logs"):
            (self.prefix / folder).mkdir(parents=True, exist_ok=True)
        self.main.write_text(
            "user root;\nworker_processes 2;\npid nginx.pid;\n"
            f"error_log logs/error.log info;\n{top}"
            "events { worker_connections 1024; }\n"
            f"http {{\naccess_log logs/access.log;\n{TEMP_PATHS}{http}\n}}\n"
        )

    async def start(self) -> None:
        """Start nginx in the foreground of this test, and wait for its pid file."""
        self.child = await start([*self.command, "-g", "daemon off;"])
        await until(lambda: pid_written(self.prefix / "nginx.pid"), "nginx has not started")

    async def stop(self) -> None:
        """End it."""
        if self.child is not None:
            await self.child.stop()
            self.child = None

    def error_log(self) -> str:
        """What nginx complained about."""
        return (self.prefix / "logs" / "error.log").read_text()


@asynccontextmanager
async def nginx_lab(prefix: Path) -> AsyncIterator[NginxLab]:
    """An operator's folder; whatever nginx was started in it ends with the test."""
    lab = NginxLab(prefix)
    (lab.prefix).mkdir(parents=True, exist_ok=True)
    try:
        yield lab
    finally:
        await lab.stop()


def pid_written(path: Path) -> bool:
    """Whether a pid file has its number."""
    with contextlib.suppress(OSError, ValueError):
        return int(path.read_text()) > 0
    return False


async def until(condition: Callable[[], bool], problem: str) -> None:
    """Wait for a condition; fail with ``problem`` when it never comes."""
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(problem) from None


async def send(
    port: int,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    host: str = "s3.local",
    headers: str = "",
) -> Answer:
    """One request, its path as it is given, on a connection of its own."""
    length = f"Content-Length: {len(body)}\r\n" if body or method in {"PUT", "POST"} else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}Connection: close\r\n\r\n"
    return await send_raw(port, head.encode("latin-1") + body)


async def send_raw(port: int, request: bytes) -> Answer:
    """Bytes as they are; the answer to them."""
    async with asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        text = (await reader.read()).decode("latin-1")
        writer.close()
    head, _, answer = text.partition("\r\n\r\n")
    return Answer(int(head.split()[1]) if head else 0, head, answer)

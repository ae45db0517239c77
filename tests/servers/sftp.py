"""A real SFTP server on a loopback port, with a host key of its own."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from holdfast.kernel.ports import free_port
from holdfast.kernel.process import Child, start

READY_SECONDS = 30.0
RCLONE = Path(sys.executable).parent / "rclone"
USER = "tester"
HostKey = Ed25519PrivateKey | rsa.RSAPrivateKey


@dataclass(slots=True)
class SftpServer:
    """A running server; ``files`` is the folder that it gives out as ``files``."""

    port: int
    password: str
    known_hosts: Path
    files: Path
    child: Child

    @property
    def options(self) -> dict[str, str]:
        """As an rclone remote takes them."""
        return {
            "host": "127.0.0.1",
            "port": str(self.port),
            "user": USER,
            "pass": self.password,
            "known_hosts_file": str(self.known_hosts),
            "shell_type": "none",
        }


@asynccontextmanager
async def sftp_server(
    directory: Path, *, port: int | None = None, with_rsa: bool = False, looks_again: str = "0s"
) -> AsyncIterator[SftpServer]:
    """``rclone serve sftp`` of a folder below ``directory``, with host keys made for it.

    ``looks_again``: how long a folder's listing is believed; with 0 s each file costs one.
    """
    files = directory / "data" / "files"
    files.mkdir(parents=True)
    port, password = port or free_port(), secrets.token_hex(12)
    known_hosts = directory / "known_hosts"
    made: dict[Path, HostKey] = {directory / "host_key": Ed25519PrivateKey.generate()}
    if with_rsa:
        made[directory / "rsa_key"] = rsa.generate_private_key(65537, 2048)
    shown = [_host_key(path, key) for path, key in made.items()]
    known_hosts.write_text("".join(f"[127.0.0.1]:{port} {each}\n" for each in shown))
    words = [str(RCLONE), "serve", "sftp", str(files.parent), "--addr", f"127.0.0.1:{port}"]
    words += [f"--key={path}" for path in made]
    words += ["--config=", "--vfs-cache-mode=writes", f"--dir-cache-time={looks_again}"]
    words += [f"--cache-dir={directory / 'cache'}", "--vfs-write-back=0s"]
    keys = {"RCLONE_USER": USER, "RCLONE_PASS": password, "HOME": str(directory)}
    async with await start(words, env=keys, cwd=directory) as child:
        await _until_it_listens(port, child)
        yield SftpServer(port, password, known_hosts, files, child)


def _host_key(path: Path, key: HostKey) -> str:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


async def _until_it_listens(port: int, child: Child) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            if child.returncode is not None:
                raise child.failure("ended while it started")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await writer.wait_closed()
                return

"""Keys of SFTP hosts: asked for, shown by fingerprint, and written where rclone looks for them."""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.errors import Conflict, Unavailable
from holdfast.kernel.process import ProcessFailed, ProcessTimedOut, run

KEYSCAN_SECONDS = 10
"""How long a host may take to tell one of its keys."""
WHOLE_SCAN_SECONDS = 45.0
KINDS = ("ed25519", "ecdsa", "rsa")
_RSA = "ssh-rsa"
_RSA_ALGORITHMS = ("rsa-sha2-512", "rsa-sha2-256", _RSA)
_KNOWN_FIELDS = 3


class HostKeyUnknown(Conflict):
    """Nothing is known yet of the host that an SFTP store is on."""

    code = "host_key_unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One key of a host. ``kind``: as SSH names it; ``key``: base64."""

    kind: str
    key: str

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def known_line(host: str, port: int, key: HostKey) -> str:
    """The line of known_hosts."""
    return f"[{host}]:{port} {key.kind} {key.key}"


def known_lines(host: str, port: int, keys: Sequence[HostKey]) -> str:
    """The content of known_hosts."""
    return "".join(f"{known_line(host, port, key)}\n" for key in keys)


def keys_in(known_hosts: str) -> list[HostKey]:
    """The keys of a known_hosts file, or of what ssh-keyscan wrote; other lines are left out."""
    found = []
    for line in known_hosts.splitlines():
        fields = line.split()
        if len(fields) < _KNOWN_FIELDS or line.startswith(("#", "@")):
            continue
        key = HostKey(kind=fields[1], key=fields[2])
        try:
            base64.b64decode(key.key, validate=True)
        except (binascii.Error, ValueError):
            continue
        if key not in found:
            found.append(key)
    return found


def algorithms(keys: Sequence[HostKey]) -> str:
    """What a host may prove itself by, as rclone's ``host_key_algorithms`` takes it.

    Else a host with more keys than we know could answer with one of the others.
    """
    names: list[str] = []
    for key in keys:
        names += _RSA_ALGORITHMS if key.kind == _RSA else [key.kind]
    return " ".join(dict.fromkeys(names))


async def scan(host: str, port: int) -> list[HostKey]:
    """The keys that a host shows now, the best kind first. Raises ``Unavailable``."""
    words = ["ssh-keyscan", "-T", str(KEYSCAN_SECONDS), "-p", str(port), "-t", ",".join(KINDS)]
    try:
        done = await run([*words, "--", host], timeout_seconds=WHOLE_SCAN_SECONDS)
        keys = keys_in(done.stdout)
    except (ProcessFailed, ProcessTimedOut):
        keys = []
    if not keys:
        raise Unavailable(
            f"{host} port {port} showed no SSH host key",
            hint="is it an SFTP server, running, and reachable from here?",
        )
    return sorted(keys, key=lambda key: _rank(key.kind))


def write_known_hosts(directory: Path, known_hosts: str) -> Path:
    """A private file with this content; another content gets another name, and disturbs nobody."""
    directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.mkdir(exist_ok=True, mode=0o700)
    name = hashlib.sha256(known_hosts.encode()).hexdigest()[:32]
    path = directory / name
    if not path.exists():
        begun = directory / f"{name}.{secrets.token_hex(8)}"
        descriptor = os.open(begun, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(known_hosts)
        begun.replace(path)
    return path


def _rank(kind: str) -> int:
    return next((at for at, name in enumerate(KINDS) if name in kind), len(KINDS))

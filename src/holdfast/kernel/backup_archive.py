"""The form of a backup: a tar of database, nginx's files and settings, with a manifest."""

import dataclasses
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import tomlkit

from holdfast.kernel.config import SECRET_SETTINGS
from holdfast.kernel.dumps import BackupDamaged

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database"
NGINX = "nginx"
CONFIG = "config.toml"
SECRET = "secret"  # noqa: S105 - a file's name
LIVE = "live"
GENERATIONS = "generations"
ROUTES = "routes"
NOT_COPIED = frozenset({GENERATIONS, LIVE, "log", ".lock"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive says of itself; ``files``: the SHA-256 of each, or a link's target."""

    version: str
    created_at: str
    database: str
    revision: str
    has_secrets: bool
    format: int = FORMAT
    files: dict[str, str] = dataclasses.field(default_factory=dict)


def pack(content: Path, manifest: Manifest, target: Path) -> None:
    """Write ``content`` with its manifest as an archive of mode 0600, safe on disk."""
    whole = dataclasses.replace(manifest, files=_fingerprints(content))
    write_private(content / MANIFEST, json.dumps(dataclasses.asdict(whole), indent=2).encode())
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as tar:
            tar.add(content, arcname=".")
        file.flush()
        os.fsync(file.fileno())


def unpack(path: Path, directory: Path) -> Manifest:
    """Unpack and compare every file with the manifest. Raises ``BackupDamaged``."""
    try:
        with tarfile.open(path, "r:gz") as tar:
            tar.extractall(directory, filter="data")
        manifest = Manifest(**json.loads((directory / MANIFEST).read_text()))
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError) as error:
        raise BackupDamaged(f"{path} cannot be read: {error}", hint="use another backup") from None
    if manifest.format != FORMAT:
        raise BackupDamaged(
            f"{path} has the form {manifest.format}, this version reads {FORMAT}",
            hint="use the version that wrote it",
        )
    found = _fingerprints(directory)
    found.pop(MANIFEST)
    wrong = sorted(set(found.items()) ^ set(manifest.files.items()))
    if wrong:
        raise BackupDamaged(f"{path}: {wrong[0][0]} is not as written", hint="use another backup")
    return manifest


def copy_nginx(root: Path, target: Path) -> None:
    """Copy the live generation and everything that is no generation; links stay links."""
    if not root.is_dir():
        return
    target.mkdir()
    for entry in root.iterdir():
        if entry.name in NOT_COPIED:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, target / entry.name, symlinks=True)
        elif entry.is_file() or entry.is_symlink():
            shutil.copy2(entry, target / entry.name, follow_symlinks=False)
    live = root / LIVE
    if live.is_symlink():
        relative = live.readlink()
        (target / LIVE).symlink_to(relative)
        shutil.copytree(root / relative, target / relative, symlinks=True)


def copy_config(path: Path, target: Path, *, with_secrets: bool) -> None:
    """Copy config.toml, without its secrets unless asked."""
    if not path.exists():
        return
    document = tomlkit.parse(path.read_text())
    for name in () if with_secrets else SECRET_SETTINGS:
        document.pop(name, None)
    write_private(target, tomlkit.dumps(document).encode())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _fingerprints(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            with path.open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found

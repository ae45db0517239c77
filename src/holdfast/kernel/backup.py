"""Backups: the database, what nginx runs with, and the settings, in one checked archive.

Owns the archives in ``backup_dir``. Promises that an archive is whole or not there, that it
holds no secret unless asked, and that the newest ones are kept.
"""

import asyncio
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from holdfast import __version__
from holdfast.kernel import backup_archive as archive
from holdfast.kernel.backup_archive import Manifest
from holdfast.kernel.clock import now
from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.db import Database
from holdfast.kernel.dumps import check_dump, dump
from holdfast.kernel.errors import NotFound
from holdfast.kernel.logging import get_logger
from holdfast.kernel.services import Services

log = get_logger(__name__)
_STAMP = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"^holdfast-(\d{8}T\d{6}\.\d{6}Z)\.tar\.gz$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """An archive in the backup directory."""

    name: str
    path: Path
    size_bytes: int
    created_at: datetime


async def create_backup(services: Services, *, with_secrets: bool = False) -> Backup:
    """Write an archive now, check it, and remove the oldest beyond ``backup_rotate``.

    ``with_secrets``: include the sealing secret and the secrets of config.toml; without the secret
    of the time, sealed credentials in the archive cannot be read.
    """
    settings = services.settings
    await asyncio.to_thread(_make_private, settings.backup_root)
    moment = now()
    target = settings.backup_root / f"holdfast-{moment.strftime(_STAMP)}.tar.gz"
    manifest = Manifest(
        version=__version__,
        created_at=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        database="sqlite" if services.database.is_sqlite else "postgresql",
        revision=await _revision(services.database),
        has_secrets=with_secrets,
    )
    with tempfile.TemporaryDirectory(dir=settings.backup_root, prefix=".new-") as directory:
        content = Path(directory) / "content"
        content.mkdir(mode=0o700)
        await dump(services.database.url, content / archive.DATABASE)
        await check_dump(content / archive.DATABASE, is_sqlite=services.database.is_sqlite)
        await asyncio.to_thread(_gather, services.loaded, content, with_secrets)
        packed = Path(directory) / target.name
        await asyncio.to_thread(archive.pack, content, manifest, packed)
        packed.replace(target)
    await asyncio.to_thread(_sync_directory, settings.backup_root)
    for old in list_backups(settings)[settings.backup_rotate :]:
        old.path.unlink(missing_ok=True)
    log.info("backup written", path=str(target), size_bytes=target.stat().st_size)
    return _described(target, moment)


async def backup_if_due(services: Services) -> Backup | None:
    """Write a backup unless one is younger than ``backup_interval_seconds``; 0 means never."""
    interval = services.settings.backup_interval_seconds
    newest = next(iter(list_backups(services.settings)), None)
    # A timer that fires a little early must not skip a whole round.
    fresh = newest and now() - newest.created_at < timedelta(seconds=interval * 0.9)
    return None if not interval or fresh else await create_backup(services)


def list_backups(settings: Settings) -> list[Backup]:
    """The archives, newest first."""
    if not settings.backup_root.is_dir():
        return []
    found = ((path, _NAME.match(path.name)) for path in settings.backup_root.iterdir())
    described = [_described(path, _moment(match[1])) for path, match in found if match]
    return sorted(described, key=lambda backup: backup.name, reverse=True)


def backup_named(settings: Settings, name: str) -> Path:
    """The archive of this name, ``latest``, or a path. Raises ``NotFound``."""
    if name == "latest":
        newest = next(iter(list_backups(settings)), None)
        if newest:
            return newest.path
    for path in (settings.backup_root / name, Path(name)):
        if name and path.is_file():
            return path.absolute()
    raise NotFound(f"Backup {name!r} not found", hint="holdfast backup list")


def kept_backup(settings: Settings, name: str) -> Backup:
    """Only what lies in the backup directory: a path in an address opens nothing else."""
    found = next((one for one in list_backups(settings) if one.name == name), None)
    if found is None:
        raise NotFound(f"Backup {name!r} not found", hint="older ones are removed by themselves")
    return found


async def check_backup(path: Path) -> Manifest:
    """Read all of an archive: every hash, and the whole database. Raises ``BackupDamaged``."""
    with tempfile.TemporaryDirectory(prefix="holdfast-check-") as directory:
        manifest = await asyncio.to_thread(archive.unpack, path, Path(directory))
        database = Path(directory) / archive.DATABASE
        await check_dump(database, is_sqlite=manifest.database == "sqlite")
    return manifest


def _gather(loaded: LoadedSettings, content: Path, with_secrets: bool) -> None:  # noqa: FBT001 - called through a thread
    archive.copy_nginx(loaded.settings.nginx_root, content / archive.NGINX)
    archive.copy_config(loaded.config_file, content / archive.CONFIG, with_secrets=with_secrets)
    secret = loaded.settings.data_dir / archive.SECRET
    if with_secrets and secret.exists():
        archive.write_private(content / archive.SECRET, secret.read_bytes())


async def _revision(database: Database) -> str:
    async with database.read() as session:
        return str(await session.scalar(text("SELECT version_num FROM alembic_version")))


def _described(path: Path, moment: datetime) -> Backup:
    return Backup(name=path.name, path=path, size_bytes=path.stat().st_size, created_at=moment)


def _moment(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)


def _make_private(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

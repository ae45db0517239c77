"""Bring a backup back. What it replaces is kept; an interruption is finished at the next start."""

import asyncio
import contextlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from holdfast.kernel import backup_archive as archive
from holdfast.kernel.clock import now
from holdfast.kernel.config import LoadedSettings, Settings
from holdfast.kernel.dumps import (
    check_dump,
    check_unused,
    dump,
    load_postgresql,
    sqlite_files,
    sqlite_path,
)
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import disk

JOURNAL = "restore.json"
UNPACKED = ".restore"
JOBS_DATABASE = "jobs.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    archive: str
    created_at: str
    aside: str
    """Where everything that was replaced is kept."""
    nginx_restored: bool


async def restore_backup(
    loaded: LoadedSettings, path: Path, *, with_nginx: bool = False
) -> Restored:
    """Replace the database by the one of an archive.

    What nginx runs with stays, unless there is nothing yet or ``with_nginx`` is given: it tells
    where the objects are today, and ``holdfast rebuild`` brings the database up to it. Raises
    ``BackupDamaged``, ``Conflict`` while a server runs, ``Invalid`` for the other kind of database.
    """
    settings = loaded.settings
    await finish_interrupted_restore(loaded)
    await check_unused(settings.effective_database_url)
    unpacked = settings.data_dir.absolute() / UNPACKED
    await asyncio.to_thread(_empty, unpacked)
    manifest = await asyncio.to_thread(archive.unpack, path, unpacked)
    is_sqlite = sqlite_path(settings.effective_database_url) is not None
    if (manifest.database == "sqlite") is not is_sqlite:
        raise Invalid(
            f"{path.name} is a backup of {manifest.database}", hint="set database_url to that kind"
        )
    await check_dump(unpacked / archive.DATABASE, is_sqlite=is_sqlite)
    nothing_live = not (settings.nginx_root / archive.LIVE).is_symlink()
    plan = Restored(
        archive=str(path),
        created_at=manifest.created_at,
        aside=str(settings.data_dir.absolute() / f"replaced-{now():%Y%m%dT%H%M%S.%fZ}"),
        nginx_restored=(with_nginx or nothing_live)
        and (unpacked / archive.NGINX / archive.LIVE).is_symlink(),
    )
    _write_journal(settings, plan)
    await _carry_out(loaded, plan)
    return plan


async def finish_interrupted_restore(loaded: LoadedSettings) -> Restored | None:
    """Carry out a restore that was cut short; every step of it may be done twice."""
    plan = await asyncio.to_thread(_read_journal, loaded.settings)
    if plan is None:
        return None
    await _carry_out(loaded, plan)
    return plan


async def _carry_out(loaded: LoadedSettings, plan: Restored) -> None:
    settings = loaded.settings
    unpacked, aside = settings.data_dir.absolute() / UNPACKED, Path(plan.aside)
    await asyncio.to_thread(aside.mkdir, mode=0o700, exist_ok=True)
    path = sqlite_path(settings.effective_database_url)
    if path:
        await asyncio.to_thread(_swap_sqlite, settings, path, unpacked / archive.DATABASE, aside)
    else:
        await _swap_postgresql(settings, unpacked / archive.DATABASE, aside)
    if plan.nginx_restored:
        nginx = unpacked / archive.NGINX
        await asyncio.to_thread(_swap_nginx, nginx, settings.nginx_root, aside)
    for name, target in (
        (archive.CONFIG, loaded.config_file),
        (archive.SECRET, settings.data_dir / archive.SECRET),
    ):
        if (unpacked / name).exists() and not target.exists():
            part = target.with_name(f".{target.name}.restored")
            archive.write_private(part, (unpacked / name).read_bytes())
            part.replace(target)
    (settings.data_dir / JOURNAL).unlink()
    shutil.rmtree(unpacked)


def _swap_sqlite(settings: Settings, path: Path, new: Path, aside: Path) -> None:
    jobs = settings.data_dir.absolute() / JOBS_DATABASE
    kept = aside / path.name
    if new.exists() and not kept.exists():
        # Its own record of jobs goes too: jobs of the restored database begin again.
        for part in [*sqlite_files(jobs), *reversed(list(sqlite_files(path)))]:
            part.rename(aside / part.name)
    if new.exists():
        new.chmod(0o600)
        new.replace(path)
        _sync(path.parent)


async def _swap_postgresql(settings: Settings, new: Path, aside: Path) -> None:
    url, kept = settings.effective_database_url, aside / "database.dump"
    if not kept.exists():
        part = kept.with_suffix(".part")
        await dump(url, part)
        part.rename(kept)
    await load_postgresql(url, new)


def _swap_nginx(new: Path, root: Path, aside: Path) -> None:
    generation = (new / archive.LIVE).readlink()
    _swap_tree(new / generation, root / generation, aside / archive.NGINX / generation)
    for entry in sorted(new.iterdir()):
        if entry.name in archive.NOT_COPIED:
            continue
        if entry.is_dir():
            _swap_tree(entry, root / entry.name, aside / archive.NGINX / entry.name)
        elif not (root / entry.name).exists():
            part = root / f".{entry.name}.restored"
            shutil.copy2(entry, part)
            part.replace(root / entry.name)
    link = root / ".live.restored"
    link.unlink(missing_ok=True)
    link.symlink_to(generation)
    link.replace(root / archive.LIVE)
    _sync(root)


def _swap_tree(new: Path, target: Path, kept: Path) -> None:
    """Put a copy of ``new`` at ``target``; what was there goes to ``kept``, empty for nothing.

    What lies beside ``target`` says how far an interrupted run came: each step ends in a rename.
    """
    fresh = target.with_name(f".{target.name}.restored")
    old = target.with_name(f".{target.name}.replaced")
    if kept.exists():
        shutil.rmtree(old, ignore_errors=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not (old.exists() and target.exists()):
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(new, fresh, symlinks=True)
        disk.sync_file_system(target.parent)
        if target.exists():
            target.rename(old)
        else:
            old.mkdir(exist_ok=True)
        fresh.rename(target)
        _sync(target.parent)
    part = kept.with_name(f"{kept.name}.part")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(old, part, symlinks=True)  # it may be another file system
    disk.sync_file_system(kept.parent)
    part.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def _read_journal(settings: Settings) -> Restored | None:
    journal = settings.data_dir / JOURNAL
    return Restored(**json.loads(journal.read_text())) if journal.exists() else None


def _write_journal(settings: Settings, plan: Restored) -> None:
    path = settings.data_dir / JOURNAL
    part = path.with_suffix(".part")
    archive.write_private(part, json.dumps(asdict(plan)).encode())
    part.replace(path)
    _sync(settings.data_dir)


def _empty(directory: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

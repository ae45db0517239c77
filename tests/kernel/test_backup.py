"""Backups: what is in them, that damage is seen, and the way back."""

import json
import os
import tarfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.kernel import backup_restore, dumps
from holdfast.kernel.audit import audit_page
from holdfast.kernel.backup import (
    Backup,
    backup_if_due,
    backup_named,
    check_backup,
    create_backup,
    list_backups,
)
from holdfast.kernel.backup_restore import finish_interrupted_restore, restore_backup
from holdfast.kernel.config import LoadedSettings
from holdfast.kernel.db import Database
from holdfast.kernel.dumps import BackupDamaged
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.jobs.durable import SCHEMA
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import services_for
from tests.servers.postgres import TEMPLATE, Cluster


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data", nginx_dir=tmp_path / "nginx")


def lay_out(root: Path, generation: str, pool: str) -> None:
    """A live generation and one routing flag, as the gateway leaves them."""
    files = root / "generations" / generation / "pools"
    files.mkdir(parents=True)
    (files / "a.conf").write_text(f"upstream {pool} {{}}\n")
    flag = root / "routes" / "example.org" / "photos"
    (flag / f"e1.static.{pool}").mkdir(parents=True)
    (flag / "cur").unlink(missing_ok=True)
    (flag / "cur").symlink_to(f"e1.static.{pool}")
    (root / "log").mkdir(exist_ok=True)
    (root / "log" / "dirty.log").write_text("PUT /photos/a\n")
    link = root / "live"
    link.unlink(missing_ok=True)
    link.symlink_to(f"generations/{generation}")


async def note(services: Services, word: str) -> None:
    async with services.database.write(SYSTEM) as work:
        work.audit("note", word, None)


async def notes(url: str) -> list[str]:
    database = Database(url)
    async with database.read() as session:
        rows, _ = await audit_page(session, limit=100, offset=0)
    await database.close()
    return [row.entity_type for row in rows]


def names_in(backup: Backup) -> set[str]:
    with tarfile.open(backup.path) as tar:
        return {name.removeprefix("./") for name in tar.getnames()}


async def restored(services: Services, backup: Backup, *, with_nginx: bool = False) -> None:
    await services.database.close()
    await restore_backup(services.loaded, backup.path, with_nginx=with_nginx)


async def test_a_backup_brings_back_what_was_there_and_keeps_what_it_replaces(
    services: Services,
) -> None:
    await note(services, "before")
    backup = await create_backup(services)
    await note(services, "after")
    await services.database.close()
    done = await restore_backup(services.loaded, backup.path)
    assert await notes(services.database.url) == ["before"]
    assert [path.name for path in Path(done.aside).iterdir()]
    assert not (services.settings.data_dir / backup_restore.JOURNAL).exists()


async def test_a_restore_leaves_nothing_of_a_newer_schema(services: Services) -> None:
    backup = await create_backup(services)
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(text("CREATE TABLE of_tomorrow (id int)"))
    await restored(services, backup)
    database = Database(services.database.url)
    async with database.read() as session:
        with pytest.raises(Exception, match="of_tomorrow"):
            await session.execute(text("SELECT * FROM of_tomorrow"))
    await database.close()


async def test_a_backup_while_another_transaction_is_open_has_only_what_was_committed(
    services: Services,
) -> None:
    await note(services, "committed")
    async with services.database.write(SYSTEM) as work:
        work.audit("note", "open", None)
        await work.session.flush()
        backup = await create_backup(services)
    await restored(services, backup)
    assert await notes(services.database.url) == ["committed"]


async def test_a_restore_is_refused_while_the_database_is_in_use(services: Services) -> None:
    await note(services, "before")
    backup = await create_backup(services)
    async with services.database.read() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(Conflict):
            await restore_backup(services.loaded, backup.path)


async def test_the_routing_on_disk_stays_unless_asked(services: Services) -> None:
    root = services.settings.nginx_root
    lay_out(root, "000001", "old")
    backup = await create_backup(services)
    lay_out(root, "000002", "new")
    await restored(services, backup)
    assert str((root / "live").readlink()) == "generations/000002"
    await restore_backup(services.loaded, backup.path, with_nginx=True)
    assert str((root / "live").readlink()) == "generations/000001"
    assert [p.name for p in (root / "routes" / "example.org" / "photos").glob("e1*")] == [
        "e1.static.old"
    ]


async def test_on_a_new_machine_the_routing_comes_back_too(services: Services) -> None:
    root = services.settings.nginx_root
    lay_out(root, "000007", "old")
    backup = await create_backup(services)
    root.rename(root.with_name("lost"))
    await restored(services, backup)
    assert (root / "live" / "pools" / "a.conf").read_text() == "upstream old {}\n"
    assert str((root / "routes" / "example.org" / "photos" / "cur").readlink()) == "e1.static.old"


async def test_old_generations_and_logs_are_not_in_it(services: Services) -> None:
    root = services.settings.nginx_root
    lay_out(root, "000001", "old")
    (root / "generations" / "000000").mkdir()
    names = names_in(await create_backup(services))
    assert "nginx/generations/000001/pools/a.conf" in names
    assert not [name for name in names if "000000" in name or "dirty.log" in name]


async def test_secrets_are_in_it_only_when_asked(services: Services) -> None:
    (services.settings.data_dir / "secret").write_text("seal")
    services.loaded.config_file.write_text('# ours\nport = 9000\napi_key = "open sesame"\n')
    without = await create_backup(services)
    everything = await create_backup(services, with_secrets=True)
    assert "secret" not in names_in(without)
    assert "secret" in names_in(everything)
    with tarfile.open(without.path) as tar:
        file = tar.extractfile("./config.toml")
        assert file is not None
        assert file.read() == b"# ours\nport = 9000\n"
    assert without.path.stat().st_mode & 0o777 == 0o600


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _change_a_file(path: Path) -> None:
    directory = path.parent / "repacked"
    with tarfile.open(path) as tar:
        tar.extractall(directory, filter="data")
    (directory / "database").write_bytes((directory / "database").read_bytes() + b" ")
    with tarfile.open(path, "w:gz") as tar:
        tar.add(directory, arcname=".")


def _claim_a_newer_form(path: Path) -> None:
    directory = path.parent / "repacked"
    with tarfile.open(path) as tar:
        tar.extractall(directory, filter="data")
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with tarfile.open(path, "w:gz") as tar:
        tar.add(directory, arcname=".")


@pytest.mark.parametrize("damage", [_flip_a_byte, _cut, _change_a_file, _claim_a_newer_form])
async def test_a_damaged_backup_is_seen_and_nothing_is_changed(
    services: Services, damage: Callable[[Path], None]
) -> None:
    await note(services, "now")
    backup = await create_backup(services)
    damage(backup.path)
    with pytest.raises(BackupDamaged):
        await check_backup(backup.path)
    await services.database.close()
    with pytest.raises(BackupDamaged):
        await restore_backup(services.loaded, backup.path)
    assert await notes(services.database.url) == ["now"]


async def test_a_whole_backup_passes_its_check(services: Services) -> None:
    manifest = await check_backup((await create_backup(services)).path)
    assert manifest.database == ("sqlite" if services.database.is_sqlite else "postgresql")


async def test_only_the_newest_are_kept(services: Services) -> None:
    made = [await create_backup(services) for _ in range(5)]
    kept = list_backups(services.settings)
    assert [b.name for b in kept] == [b.name for b in reversed(made[2:])]
    assert sorted(p.name for p in services.settings.backup_root.iterdir()) == sorted(
        b.name for b in kept
    )


async def test_a_backup_is_due_when_the_newest_is_old_enough(services: Services) -> None:
    first = await backup_if_due(services)
    assert first
    assert await backup_if_due(services) is None
    old = first.created_at - timedelta(seconds=services.settings.backup_interval_seconds)
    first.path.rename(first.path.with_name(f"holdfast-{old:%Y%m%dT%H%M%S.%fZ}.tar.gz"))
    assert await backup_if_due(services)


async def test_a_backup_is_found_by_name_path_and_latest(services: Services) -> None:
    await create_backup(services)
    newest = await create_backup(services)
    for name in (newest.name, str(newest.path), "latest"):
        assert backup_named(services.settings, name) == newest.path
    with pytest.raises(NotFound):
        backup_named(services.settings, "yesterday")


@pytest.mark.real
async def test_a_backup_of_the_other_kind_of_database_is_refused(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    ours = services_for(Database(postgres_cluster.create(TEMPLATE)), tmp_path / "ours")
    theirs = services_for(Database(f"sqlite+aiosqlite:///{tmp_path}/db"), tmp_path / "theirs")
    await theirs.database.upgrade()
    for source, target in ((ours, theirs), (theirs, ours)):
        backup = await create_backup(source)
        await source.database.close()
        await target.database.close()
        with pytest.raises(Invalid):
            await restore_backup(target.loaded, backup.path)
        await source.database.close()
        await target.database.close()
    postgres_cluster.drop(ours.database.url)


class _PowerCut(Exception):
    pass


@pytest.mark.parametrize("after_calls", range(12))
async def test_a_restore_that_was_cut_short_is_finished_by_the_next_start(
    services: Services, monkeypatch: pytest.MonkeyPatch, after_calls: int
) -> None:
    """Every rename from the journal on is a place where the power may go."""
    lay_out(services.settings.nginx_root, "000001", "old")
    await note(services, "before")
    backup = await create_backup(services)
    lay_out(services.settings.nginx_root, "000002", "new")
    await note(services, "after")
    await services.database.close()
    calls = 0
    real = os.rename

    def rename(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > after_calls:
            raise _PowerCut
        real(self, target)
        return Path(target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr(Path, "replace", rename)
        try:
            await restore_backup(services.loaded, backup.path, with_nginx=True)
        except _PowerCut:
            cut = True
        else:
            cut = False
    begun = (services.settings.data_dir / backup_restore.JOURNAL).exists()
    await finish_interrupted_restore(services.loaded)
    expected = ["before"] if begun or not cut else ["after", "before"]
    assert await notes(services.database.url) == expected
    generation = "000001" if expected == ["before"] else "000002"
    assert (services.settings.nginx_root / "live").readlink().name == generation


async def test_nothing_is_finished_when_nothing_was_begun(loaded: LoadedSettings) -> None:
    assert await finish_interrupted_restore(loaded) is None


@pytest.fixture
def loaded(services: Services) -> LoadedSettings:
    return services.loaded


def test_the_job_engines_schema_is_the_one_that_a_restore_replaces() -> None:
    assert dumps.JOBS_SCHEMA == SCHEMA

"""The schema: revisions make what the tables say, on both databases."""

import hashlib
import time
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Index, inspect, select, text

from holdfast.kernel.db import Database, alembic_config, newest_revision
from holdfast.kernel.errors import Unavailable
from holdfast.schema import metadata
from holdfast.tiers.model import FileState
from holdfast.tiers.tables import TierFileRow, TierProofRow, TierPulledRow, TierRunRow
from holdfast.tiers.totals import totals

A_STORE = (
    "INSERT INTO store (id, name, kind, root, options, secrets_enc, host_keys, description,"
    " check_told, created_at, updated_at)"
    " VALUES (1, 's', 'local', '/s', '{}', '', '', '', '{}', '2026-01-01', '2026-01-01')"
)
A_TIER = (
    "INSERT INTO tier (id, name, root, store_id, prefix, second_prefix, options, description,"
    " created_at, updated_at)"
    " VALUES (1, 't', :root, 1, '', '', '{}', '', '2026-01-01', '2026-01-01')"
)
TWO_RUNS = """
INSERT INTO tier_run (job_id, tier_id, action, asked, outcome, notify, created_at) VALUES
('a', 1, 'freeze', '{"dry_run": true}', '{}', '', '2026-01-01'),
('b', 1, 'freeze', '{"dry_run": false}', '{}', '', '2026-01-01')
"""
JOURNAL = [
    ("b", "frozen", "2026-01-02"),
    ("b", "restored", "2026-01-02"),
    ("b", "quarantined", None),
    ("forgotten", "frozen", "2026-01-02"),
    ("forgotten", "stayed", "2026-01-02"),
]
A_FILE = """
INSERT INTO tier_file (tier_id, job_id, path, state, size_bytes, device, inode, mtime_ns, ctime_ns,
proof, ended_at) VALUES (1, :job, :path, :state, 10, 1, 1, 1, 1, '{}', :ended)
"""
A_PROOF = "INSERT INTO tier_proof VALUES (1, 2, 3, 'md5', 4, 5, 6, '')"


def differences(connection: Connection) -> list[object]:
    def is_ours(item: object, *_: object) -> bool:
        rule = item._ddl_if if isinstance(item, Index) else None
        return rule is None or rule.dialect == connection.dialect.name

    context = MigrationContext.configure(connection, opts={"include_object": is_ours})
    return list(compare_metadata(context, metadata))


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
async def test_the_revisions_make_exactly_what_the_tables_say(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await database.upgrade()
    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await database.close()


async def test_an_upgrade_of_an_upgraded_database_changes_nothing(database: Database) -> None:
    async with database.engine.connect() as connection:
        before = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
    await database.upgrade()
    async with database.engine.connect() as connection:
        after = await connection.run_sync(lambda c: set(inspect(c).get_table_names()))
    assert before == after
    assert {"pool", "migration", "job", "audit"} <= after


def test_the_newest_revision_is_told_by_its_files_name() -> None:
    script = ScriptDirectory.from_config(alembic_config("sqlite://"))
    assert newest_revision() == script.get_current_head()


async def test_a_database_of_a_newer_version_is_told_as_that(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    await database.upgrade()
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Unavailable, match="9999"):
        await database.upgrade()
    await database.close()


async def test_what_a_tier_knows_outlives_the_revisions(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(_up_to, empty_database_url, "0006")
        await connection.execute(text(A_STORE))
        await connection.execute(text(A_TIER), {"root": b"/t"})
        for path in (b"a", b"b\xff"):
            pulled = "INSERT INTO tier_pulled VALUES (1, :path, '2026-01-02 03:04:05')"
            await connection.execute(text(pulled), {"path": path})
        await connection.execute(text(TWO_RUNS))
        for job, state, ended in JOURNAL:
            row = {"job": job, "state": state, "path": b"x", "ended": ended}
            await connection.execute(text(A_FILE), row)
        await connection.execute(text(A_PROOF))
    await database.upgrade()
    async with database.read() as session:
        day = await session.scalar(select(TierProofRow.used_day))
        assert day is not None
        assert abs(time.time() / 86_400 - day) < 2
    async with database.read() as session:
        rows = (await session.scalars(select(TierPulledRow).order_by(TierPulledRow.path))).all()
        runs = await session.scalars(select(TierRunRow.dry_run).order_by(TierRunRow.job_id))
        assert list(runs) == [True, False]
        kept = await session.scalars(select(TierFileRow.state).order_by(TierFileRow.id))
        assert list(kept) == ["frozen", "restored", "quarantined", "frozen"]
        assert await totals(session, [1]) == {
            1: {
                FileState.FROZEN: (2, 20),
                FileState.RESTORED: (1, 10),
                FileState.QUARANTINED: (1, 10),
            }
        }
    assert [(row.path, row.path_hash) for row in rows] == [
        (path, hashlib.sha256(path).digest()) for path in (b"a", b"b\xff")
    ]
    assert rows[0].pulled_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    await database.close()


def _up_to(connection: Connection, url: str, revision: str) -> None:
    config = alembic_config(url)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_what_is_read_is_not_kept(database: Database) -> None:

    async with database.read() as session:
        await session.execute(text("DELETE FROM published"))
        await session.execute(
            text("INSERT INTO published (id, generation, reload_pending) VALUES (9, 1, FALSE)")
        )
    async with database.read() as session:
        found = await session.scalar(text("SELECT count(*) FROM published WHERE id = 9"))
    assert found == 0


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///x", "postgresql+psycopg://h/x"])
def test_the_kind_of_database_follows_from_its_url(url: str) -> None:
    assert Database(url).is_sqlite == url.startswith("sqlite")

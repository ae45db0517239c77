"""The database is lost; what lies on disk is enough."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

import holdfast.migrations.service
from holdfast.gateway.flags import Flag, FlagState
from holdfast.gateway.service.credentials import s3_access
from holdfast.gateway.tables import PoolRow, RouteRow
from holdfast.kernel.jobs.tables import JobRow
from holdfast.migrations.tables import MigrationRow
from tests.gateway.room import Json, Room, build_services, client_of

pytestmark = pytest.mark.real


@asynccontextmanager
async def without_its_database(room: Room, template: Path, directory: Path) -> AsyncIterator[Room]:
    """The same machine, with the same disk and nginx, and an empty database."""
    shutil.copy(template, directory / "new.db")
    url = f"sqlite+aiosqlite:///{directory / 'new.db'}"
    services = build_services(url, directory, room.lab.command)
    holdfast.migrations.service.build_migrations(services)
    try:
        async with client_of(services) as client:
            yield Room(services, client, room.lab)
    finally:
        await services.database.close()


async def described(room: Room) -> Json:
    """Everything that the API tells of the gateway, without times."""

    def plain(row: Json) -> Json:
        return {k: v for k, v in row.items() if k not in {"created_at", "updated_at"}}

    told: Json = {}
    for pool in await room.ok("GET", "/pools"):
        members = await room.ok("GET", f"/pools/{pool['id']}/members")
        told[pool["name"]] = [plain(pool), [plain(member) for member in members]]
    for vhost in await room.ok("GET", "/vhosts"):
        routes = await room.ok("GET", f"/vhosts/{vhost['id']}/routes")
        shown = [{k: v for k, v in plain(route).items() if k != "id"} for route in routes]
        told[vhost["server_name"]] = [plain(vhost), shown]
    return told


async def a_full_gateway(room: Room) -> None:
    one = await room.pool("one", "127.0.0.1:9001", description="the first")
    two = await room.pool("two.with.dots", "127.0.0.1:9002", "127.0.0.1:9003")
    await room.ok("DELETE", f"/pools/{await room.pool('gone')}", 204)
    cold = await room.pool("cold", type="http", source_nanio_pool_id=one)
    path = f"/pools/{cold}/members"
    await room.ok("POST", path, 201, address="127.0.0.1:9004", role="primary")
    await room.ok("POST", path, 201, address="127.0.0.1:9005", role="replica", enabled=False)
    path = f"/pools/{two}/credentials"
    await room.ok("PUT", path, access_key="the-access-key", secret_key="the-secret-key")
    vhost = await room.vhost(one, extra_directives="gzip on;")
    await room.route(vhost, "/plain/", two)
    await room.route(vhost, "/own/", two, extra_directives="proxy_read_timeout 9s;")
    await room.route(vhost, "/deep/path/", one, key_prefix="inner")
    await room.route(vhost, "/off/", two, enabled=False)
    await room.vhost(cold, "cold.local", ip_rule_mode="allow", ip_rule_ips=["10.0.0.0/8"])


async def test_an_empty_database_changes_nothing_that_nginx_runs_with(
    quick_room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    await a_full_gateway(quick_room)
    before = {p: p.read_bytes() for p in quick_room.root.rglob("*.conf")}
    flags = quick_room.flags()
    async with without_its_database(quick_room, sqlite_template, tmp_path) as room:
        refused = await room.call("POST", "/pools", {"name": "new"})
        assert refused.status_code == 409
        assert "holdfast rebuild" in refused.json()["hint"]
        assert (await room.call("POST", "/config/rebuild")).status_code == 409
        assert await room.ok("GET", "/pools") == []
        assert {p: p.read_bytes() for p in room.root.rglob("*.conf")} == before
        assert room.flags() == flags
        await room.ok("POST", "/config/rebuild-from-disk")
        await room.ok("POST", "/pools", 201, name="new")


async def test_everything_is_there_again_with_its_ids(
    quick_room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    await a_full_gateway(quick_room)
    before = await described(quick_room)
    async with without_its_database(quick_room, sqlite_template, tmp_path) as room:
        found = (await room.call("POST", "/config/rebuild-from-disk", dry_run="true")).json()
        assert found["dry_run"] is True
        assert {pool["name"]: pool["members"] for pool in found["pools"]} == {
            "one": 1,
            "two.with.dots": 2,
            "cold": 2,
        }
        (two,) = [pool for pool in found["pools"] if pool["name"] == "two.with.dots"]
        assert (two["type"], two["has_credentials"], two["has_sidecar"]) == ("nanio", True, True)
        (host,) = [vhost for vhost in found["vhosts"] if vhost["server_name"] == "s3.local"]
        assert (host["routes"], host["has_default_pool"], host["has_ip_rules"]) == (4, True, False)
        assert await room.ok("GET", "/pools") == []
        told = await room.ok("POST", "/config/rebuild-from-disk")
        assert told == {
            "pools_imported": 3,
            "members_imported": 5,
            "vhosts_imported": 2,
            "routes_imported": 4,
            "migrations_imported": 0,
            "completed_migrations_imported": 0,
            "credentials_recovered": 1,
            "warnings": [],
        }
        assert await described(room) == before
        async with room.services.database.read() as session:
            pool = await session.scalar(select(PoolRow).where(PoolRow.name == "two.with.dots"))
            assert pool
            assert (await s3_access(session, room.gateway, pool)).secret_key == "the-secret-key"
        assert await room.ok("GET", "/config/drift") == []
        assert (await room.ok("POST", "/config/rebuild"))["written"] == []
        assert (await room.ok("POST", "/pools", 201, name="next"))["id"] not in before


async def test_a_database_with_data_is_replaced_only_by_force(quick_room: Room) -> None:
    await a_full_gateway(quick_room)
    before = await described(quick_room)
    answer = await quick_room.call("POST", "/config/rebuild-from-disk")
    assert answer.status_code == 409
    assert "force=true" in answer.json()["detail"]
    answer = await quick_room.call("POST", "/config/rebuild-from-disk", force="true")
    assert answer.status_code == 200
    assert await described(quick_room) == before


async def test_by_force_a_pool_stays_while_a_flag_goes_to_it(quick_room: Room) -> None:
    one, two = await quick_room.pool("one"), await quick_room.pool("two")
    vhost = await quick_room.vhost(one)
    await quick_room.route(vhost, "/bkt/", two)
    for path in (quick_room.root / "live/pools").glob("two.*"):
        path.unlink()
    for dry_run in ("true", "false"):
        answer = await quick_room.call(
            "POST", "/config/rebuild-from-disk", force="true", dry_run=dry_run
        )
        assert answer.status_code == 200, answer.text
        assert "pool 'two': its files are gone; it stays" in str(answer.json()["warnings"])
    assert {pool["name"] for pool in await quick_room.ok("GET", "/pools")} == {"one", "two"}
    assert quick_room.flags() == {"s3.local/bkt": "two"}


async def test_by_force_no_row_goes_because_its_file_cannot_be_read(quick_room: Room) -> None:
    await a_full_gateway(quick_room)
    (quick_room.root / "live/pools/one.conf").write_text("upstream one {")
    before = await quick_room.everything()
    answer = await quick_room.call("POST", "/config/rebuild-from-disk", force="true")
    assert answer.status_code == 409
    assert "pools/one" in answer.json()["detail"]
    assert await quick_room.everything() == before


async def test_a_flag_that_names_no_pool_is_told_and_left(
    quick_room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    flag = Flag(epoch=1, state=FlagState.STATIC, pool_alias="lost")
    quick_room.gateway.flags.set_flag("s3.local", "bkt", flag)
    async with without_its_database(quick_room, sqlite_template, tmp_path) as room:
        told = await room.ok("POST", "/config/rebuild-from-disk")
        assert told["routes_imported"] == 0
        assert any("s3.local/bkt" in warning for warning in told["warnings"])
        assert room.flags() == {"s3.local/bkt": "lost"}


def a_record(**fields: Json) -> Json:
    return {
        "migration_id": 7,
        "vhost_id": 99,
        "vhosts": ["s3.local"],
        "bucket": "moving",
        "source_pool_id": 98,
        "source_pool_name": "one",
        "target_pool_id": 97,
        "target_pool_name": "two",
        "mode": "copy",
        "route_id": None,
        "status": "copying",
        "stage": "copy",
        "copied_objects": 3,
        "total_objects": 10,
        "bytes_transferred": 30,
        "bytes_total": 100,
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": None,
        **fields,
    }


def write_record(directory: Path, name: str, record: Json) -> None:
    folder = directory / "data" / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(record))


async def test_a_migration_that_was_under_way_goes_on(
    quick_room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    one = await quick_room.pool("one", "127.0.0.1:9001")
    await quick_room.pool("two", "127.0.0.1:9002")
    vhost_id = await quick_room.vhost(one)
    await quick_room.route(vhost_id, "/moving/", one)
    flags = quick_room.gateway.flags
    flag = Flag(
        epoch=flags.next_epoch("s3.local", "moving"),
        state=FlagState.SRC,
        pool_alias="one",
        target_alias="two",
    )
    flags.set_flag("s3.local", "moving", flag)
    write_record(tmp_path, "migration-7.state.json", a_record())
    done = a_record(
        migration_id=5,
        bucket="old",
        status="done",
        stage=None,
        orphaned_source_prefix="/old/",
        orphaned_at="2026-01-01T00:00:00Z",
    )
    write_record(tmp_path, "migration-5.done.json", done)
    write_record(tmp_path, "migration-6.state.json", a_record(source_pool_name="unknown"))
    for number, stage in ((4, "error"), (3, "cancelled")):
        ended = a_record(migration_id=number, bucket=stage, stage=stage, options={"transfers": 4})
        write_record(tmp_path, f"migration-{number}.state.json", ended)
    async with without_its_database(quick_room, sqlite_template, tmp_path) as room:
        told = await room.ok("POST", "/config/rebuild-from-disk")
        assert (told["migrations_imported"], told["completed_migrations_imported"]) == (1, 1)
        assert len(told["warnings"]) == 1
        assert "unknown" in told["warnings"][0]
        assert flags.get("s3.local", "moving") == flag
        async with room.services.database.read() as session:
            row = await session.get_one(MigrationRow, 7)
            assert (row.phase, row.stage, row.objects_total) == ("copying", "copy", 10)
            (entrance,) = json.loads(row.vhosts)
            assert entrance["name"] == "s3.local"
            assert (await session.get_one(MigrationRow, 5)).orphaned_source_prefix == "/old/"
            for number in (4, 3):
                half_copied = await session.get_one(MigrationRow, number)
                assert half_copied.orphaned_source_pool_id == half_copied.dst_pool_id
            (route,) = await session.scalars(select(RouteRow).where(RouteRow.bucket == "moving"))
            assert route.migration_id == 7
            (job,) = await session.scalars(select(JobRow))
            assert json.loads(job.args) == {"migration_id": 7}
        answer = await room.call("DELETE", f"/vhosts/{route.vhost_id}/routes/{route.id}")
        assert answer.status_code == 409


async def test_a_sync_of_an_empty_database_takes_everything_over(
    quick_room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    await a_full_gateway(quick_room)
    known, flags = await described(quick_room), quick_room.flags()
    async with without_its_database(quick_room, sqlite_template, tmp_path) as empty:
        told = await empty.ok("POST", "/config/sync")
        assert (told["ok"], told["warnings"]) == (True, [])
        assert (told["pools_new"], told["members_new"], told["vhosts_new"]) == (3, 5, 2)
        assert told["routes_synced"] == 4
        assert await described(empty) == known
        assert empty.flags() == flags
        rebuilt = await empty.ok("POST", "/config/rebuild")
        assert (rebuilt["written"], rebuilt["removed"]) == ([], [])

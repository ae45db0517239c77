"""An installation of nanio-orchestrator becomes one of Holdfast."""

import json
from pathlib import Path

import pytest

import holdfast.migrations.service
from holdfast.gateway.cli.importing import SECRETS
from holdfast.gateway.service.importing import Imported, import_older
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.work import SYSTEM
from tests.gateway.older_tool import SECRET, install
from tests.gateway.room import Room, tree_digest
from tests.servers.holdfast import Machine

pytestmark = pytest.mark.real


async def imported(
    room: Room, nginx: Path, db: Path | None, secret: str = SECRET, *, dry_run: bool = False
) -> Imported:
    if room.gateway.ports.migrations is None:
        holdfast.migrations.service.build_migrations(room.services)
    async with room.services.database.write(SYSTEM) as work:
        work.dry_run = dry_run
        return await import_older(work, room.gateway, nginx_dir=nginx, database=db, secret=secret)


async def test_clients_are_served_as_before_and_nothing_old_is_touched(
    room: Room, tmp_path: Path, echo_one: str, echo_two: str
) -> None:
    nginx, db = install(tmp_path, room.port, echo_one, echo_two)
    before = tree_digest(nginx), tree_digest(db.parent)
    result = await imported(room, nginx, db)
    assert (tree_digest(nginx), tree_digest(db.parent)) == before
    assert (result.pools, result.members, result.vhosts, result.routes) == (3, 3, 1, 3)
    assert (result.credentials, result.ignored_buckets, result.migrations) == (1, 1, 1)
    assert len(result.warnings) == 1
    assert "/never-written/" in result.warnings[0]
    assert await room.asks("/bkt/x") == "one GET /bkt/x"
    assert await room.asks("/moved/x") == "two GET /moved/x"
    assert await room.asks("/deep/er/x") == "one GET /inner/x"
    assert room.flags() == {"s3.local/moved": "second"}


async def test_ids_descriptions_and_what_no_file_shows_come_from_its_database(
    quick_room: Room, tmp_path: Path
) -> None:
    room = quick_room
    await imported(room, *install(tmp_path, room.port, "127.0.0.1:9001", "127.0.0.1:9002"))
    pools = {pool["name"]: pool for pool in await room.ok("GET", "/pools")}
    assert {name: pool["id"] for name, pool in pools.items()} == {"first": 4, "second": 6, "web": 7}
    assert pools["first"]["description"] == "the first"
    assert (pools["first"]["keepalive"], pools["second"]["lb_method"]) == (16, "round_robin")
    assert (pools["web"]["type"], pools["web"]["source_nanio_pool_id"]) == ("http", 4)
    members = await room.ok("GET", "/pools/4/members")
    assert [(m["id"], m["weight"], m["enabled"]) for m in members] == [(1, 2, True), (2, 1, False)]
    vhost = await room.ok("GET", "/vhosts/12")
    assert (vhost["extra_directives"], vhost["ip_rule_ips"]) == ("gzip on;", ["10.9.9.9"])
    routes = await room.ok("GET", "/vhosts/12/routes")
    shown = {route["path_prefix"]: (route["pool_id"], route["enabled"]) for route in routes}
    assert shown == {
        "/": (4, True),
        "/moved/": (6, True),
        "/deep/er/": (4, True),
        "/off/": (6, False),
    }
    shown = await room.ok("GET", "/pools/6/credentials")
    assert (shown["access_key_masked"], shown["region"]) == ("olde********", "eu-west-1")
    assert await room.ok("GET", "/config/drift") == []


async def test_without_its_database_the_files_are_enough(quick_room: Room, tmp_path: Path) -> None:
    nginx, _ = install(tmp_path, quick_room.port, "127.0.0.1:9001", "127.0.0.1:9002")
    result = await imported(quick_room, nginx, None, "")
    assert (result.pools, result.vhosts, result.routes) == (2, 1, 2)
    pools = {pool["name"]: pool for pool in await quick_room.ok("GET", "/pools")}
    assert (pools["first"]["id"], pools["first"]["description"]) == (4, "stale")


async def test_credentials_of_another_secret_are_told_and_left_out(
    quick_room: Room, tmp_path: Path
) -> None:
    nginx, db = install(tmp_path, quick_room.port, "127.0.0.1:9001", "127.0.0.1:9002")
    result = await imported(quick_room, nginx, db, "not the secret")
    assert result.credentials == 0
    assert any("another secret" in warning for warning in result.warnings)
    assert (await quick_room.ok("GET", "/pools/6/credentials"))["source"] == "global"


async def test_a_dry_run_changes_nothing(quick_room: Room, tmp_path: Path) -> None:
    nginx, db = install(tmp_path, quick_room.port, "127.0.0.1:9001", "127.0.0.1:9002")
    before = await quick_room.everything()
    assert (await imported(quick_room, nginx, db, dry_run=True)).pools == 3
    assert await quick_room.everything() == before


async def test_an_import_is_refused_as_a_whole(quick_room: Room, tmp_path: Path) -> None:
    nginx, db = install(tmp_path, quick_room.port, "127.0.0.1:9001", "127.0.0.1:9002")
    before = await quick_room.everything()
    with pytest.raises(NotFound):
        await imported(quick_room, tmp_path / "nowhere", db)
    with pytest.raises(NotFound):
        await imported(quick_room, nginx, tmp_path / "no.db")
    state = db.parent / "migrations/migration-9.state.json"
    state.write_text(json.dumps({"migration_id": 9, "status": "copying", "bucket": "b"}))
    with pytest.raises(Conflict, match="migration 9"):
        await imported(quick_room, nginx, db)
    state.unlink()
    conf = nginx / "vhosts/s3.local.conf"
    conf.write_text(conf.read_text().replace("http://second", "http://nobody"))
    with pytest.raises(Invalid, match="nobody"):
        await imported(quick_room, nginx, db)
    assert await quick_room.everything() == before
    await quick_room.pool("mine")
    with pytest.raises(Conflict, match="already contains data"):
        await imported(quick_room, nginx, db)


def test_the_command_reports_what_it_did(machine: Machine, tmp_path: Path) -> None:
    nginx, db = install(tmp_path / "old", 8088, "127.0.0.1:9001", "127.0.0.1:9002")
    words = ["import", "nanio-orchestrator", "--nginx-dir", str(nginx), "--db", str(db), "--json"]
    env = {"HOLDFAST_IMPORT_SECRET": SECRET}
    tried = machine.run(*words, "--dry-run", env=env)
    assert tried.returncode == 0, tried.stderr
    assert json.loads(tried.stdout)["pools"] == 3
    done = machine.run(*words, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["credentials"] == 1
    assert "warning:" in done.stderr
    again = machine.run(*words, env=env)
    assert again.returncode == 1
    rebuilt = machine.run("rebuild", "--dry-run", "--json")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert {pool["name"] for pool in json.loads(rebuilt.stdout)["pools"]} == {
        "first",
        "second",
        "web",
    }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing runs yet."""
    (tmp_path / "old").mkdir()
    return Machine(tmp_path)


def test_the_page_on_coming_here_names_where_the_secret_is_read_from() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "come-from-nanio-orchestrator.md"
    assert [name for name in SECRETS if name not in page.read_text()] == []

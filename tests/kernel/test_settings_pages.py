"""Pages of settings, backups and health."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, update

from holdfast.kernel.audit import AuditRow
from holdfast.kernel.backup import create_backup, list_backups
from holdfast.kernel.clock import now
from holdfast.kernel.contributors import Verdict
from holdfast.kernel.db import Database
from holdfast.kernel.doctor import examine_server
from holdfast.kernel.identity import service
from holdfast.kernel.identity.tables import UserRow
from holdfast.kernel.restart import Restarter
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import API_KEY, a_token, client_of, services_for
from tests.kernel.identity.people import PAGE

FOR_ADMINS = ("/web/settings", "/web/settings/port/edit", "/web/backups/new")
FOR_ALL = ("/web/backups", "/web/health")


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    settings = {"nginx_command": ("nginx", "-c", str(tmp_path / "none.conf"))}
    return services_for(database, tmp_path / "data", **settings)


@pytest.fixture
async def admin(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        client.headers.update(PAGE)
        yield client


async def test_each_page_is_for_its_roles(services: Services) -> None:
    for role in Role:
        token = await a_token(services, role, role.name)
        async with client_of(services, token) as client:
            for path in FOR_ALL:
                assert (await client.get(path, headers=PAGE)).status_code == 200
            for path in FOR_ADMINS:
                status = (await client.get(path, headers=PAGE)).status_code
                assert status == (200 if role is Role.ADMIN else 403), path
            if role is not Role.ADMIN:
                for path in ("/web/settings/port/edit", "/web/settings/restart", "/web/backups/x"):
                    assert (await client.post(path, headers=PAGE)).status_code == 403


async def test_a_setting_is_found_changed_and_told_with_the_restart_it_waits_for(
    services: Services, admin: httpx.AsyncClient
) -> None:
    found = (await admin.get("/web/settings?q=jobs+once")).text
    assert "worker_concurrency" in found
    assert "backup_rotate" not in found
    for sort, order in (("name", 1), ("-name", -1)):
        shown = (await admin.get(f"/web/settings?q=backup&sort={sort}")).text
        names = re.findall(r'<strong class="mono">([^<]+)', shown)
        assert len(names) > 2
        assert names == sorted(names)[::order]
    saved = await admin.post("/web/settings/worker_concurrency/edit", data={"value": "9"})
    assert saved.status_code == 303
    assert services.loaded.config_file.read_text() == "worker_concurrency = 9\n"
    listed = (await admin.get("/web/settings?origin=waiting")).text
    assert "restart: 9" in listed
    assert "Settings wait for a restart" in (await admin.get("/")).text
    async with services.database.read() as session:
        row = (await session.scalars(select(AuditRow).where(AuditRow.action == "set"))).one()
    assert (row.entity_id, row.after_json) == ("worker_concurrency", '{"value": "9"}')
    assert (await admin.post("/web/settings/worker_concurrency/reset")).status_code == 303
    assert services.loaded.config_file.read_text() == ""
    assert "Settings wait" not in (await admin.get("/")).text


async def test_a_value_that_does_not_fit_is_refused_at_its_field(
    services: Services, admin: httpx.AsyncClient
) -> None:
    bad = await admin.post("/web/settings/port/edit", data={"value": "70000"})
    assert bad.status_code == 422
    assert 'aria-invalid="true"' in bad.text
    assert "less than or equal to 65535" in bad.text
    assert not services.loaded.config_file.exists()
    assert (await admin.get("/web/settings/no_such/edit")).status_code == 404


async def test_no_secret_is_ever_shown(services: Services, admin: httpx.AsyncClient) -> None:
    key = "a new key that nobody may see"
    assert (await admin.post("/web/settings/api_key/edit", data={"value": key})).status_code == 303
    for path in ("/web/settings", "/web/settings/api_key/edit", "/web/audit", "/"):
        text = (await admin.get(path)).text
        assert key not in text
        assert API_KEY not in text
    assert services.loaded.config_file.stat().st_mode & 0o077 == 0


async def test_a_settings_file_that_cannot_be_read_is_told_and_keeps_the_server_up(
    services: Services, admin: httpx.AsyncClient
) -> None:
    asked: list[bool] = []
    services.add(Restarter(lambda: asked.append(True)))
    services.loaded.config_file.write_text("port = 'x\n")
    assert "mend the file" in (await admin.get("/web/settings")).text
    assert "next start would fail" in (await admin.get("/")).text
    assert (await admin.post("/web/settings/restart")).status_code == 422
    assert asked == []


async def test_a_restart_is_asked_for_once_the_page_is_answered(
    services: Services, admin: httpx.AsyncClient
) -> None:
    assert (await admin.post("/web/settings/restart")).status_code == 503
    asked: list[bool] = []
    services.add(Restarter(lambda: asked.append(True)))
    answer = await admin.post("/web/settings/restart")
    assert answer.status_code == 200
    assert 'hx-trigger="every 1s"' in answer.text
    assert asked == [True]
    assert (await admin.get("/web/settings?after=restart")).status_code == 204


async def test_a_backup_is_written_checked_and_shows_how_to_restore_it(
    services: Services, admin: httpx.AsyncClient
) -> None:
    await services.database.upgrade()
    assert "No backups yet" in (await admin.get("/web/backups")).text
    saved = await admin.post("/web/backups/new", data={"with_secrets": "true"})
    assert saved.status_code == 303
    [made] = list_backups(services.settings)
    older = made.path.with_name("holdfast-20200101T000000.000000Z.tar.gz")
    older.write_bytes(b"small")
    for query, names in {
        "": [made.name, older.name],
        "?sort=size": [older.name, made.name],
        "?sort=created": [older.name, made.name],
        "?q=2020": [older.name],
    }.items():
        shown = (await admin.get(f"/web/backups{query}")).text
        assert re.findall(r'<td class="mono"><a href="/web/backups/([^"]+)', shown) == names
    older.unlink()
    shown = (await admin.get(f"/web/backups/{made.name}")).text
    assert f"holdfast backup restore {made.path}" in shown
    checked = await admin.post(f"/web/backups/{made.name}")
    assert checked.status_code == 200
    assert "It is whole." in checked.text
    assert "included" in checked.text
    made.path.write_bytes(made.path.read_bytes()[:-200])
    broken = await admin.post(f"/web/backups/{made.name}")
    assert broken.status_code == 500
    assert "must not be restored" in broken.text


async def test_nothing_but_a_backup_is_opened_by_its_name(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "other.tar.gz").write_text("")
    services.settings.backup_root.mkdir(parents=True)
    for name in ("latest", "..%2f..%2fother.tar.gz", "other.tar.gz"):
        assert (await admin.get(f"/web/backups/{name}")).status_code == 404


async def test_backups_that_stopped_need_the_operator(
    services: Services, admin: httpx.AsyncClient
) -> None:
    async with services.database.write(SYSTEM) as work:
        await service.create_user(work, name="ann", role=Role.ADMIN)
    assert "There is no backup" not in (await admin.get("/")).text
    async with services.database.write(SYSTEM) as work:
        long_ago = now() - timedelta(days=3)
        await work.session.execute(update(UserRow).values(created_at=long_ago))
    assert "There is no backup" in (await admin.get("/")).text
    made = await create_backup(services)
    assert "There is no backup" not in (await admin.get("/")).text
    stamp = (now() - timedelta(days=4)).strftime("%Y%m%dT%H%M%S.%fZ")
    made.path.rename(made.path.with_name(f"holdfast-{stamp}.tar.gz"))
    assert "The newest backup is 4 d" in (await admin.get("/")).text


@pytest.mark.real
async def test_the_checks_run_on_demand_and_the_worst_is_first(
    services: Services, admin: httpx.AsyncClient
) -> None:
    assert "Not checked since" in (await admin.get("/web/health")).text
    services.loaded.config_file.write_text("port = 'many'\n")
    found = (await admin.post("/web/health")).text
    headings = re.findall(r'id="found-(\w+)"', found)
    assert headings == sorted(headings, key=["fail", "warn", "ok"].index)
    assert headings[0] == "fail"
    assert "config.toml" in found
    told = (await admin.post("/api/doctor")).json()
    assert "fail" in [one["verdict"] for one in told["findings"] if "config.toml" in f"{one}"]
    assert "Checked" in (await admin.get("/web/health")).text
    viewer = await a_token(services, Role.VIEWER, "viewer")
    async with client_of(services, viewer) as client:
        for path in ("/web/health", "/api/doctor"):
            assert (await client.post(path, headers=PAGE)).status_code == 403


@pytest.mark.real
async def test_the_server_that_is_examined_does_not_take_its_own_port_for_anothers(
    services: Services,
) -> None:
    findings = {finding.check: finding for finding in await examine_server(services)}
    assert findings["port"].verdict is Verdict.OK
    assert "this server" in findings["port"].detail


async def test_the_overview_tells_room_version_and_requests(admin: httpx.AsyncClient) -> None:
    text = (await admin.get("/")).text
    for title in ("Disk free", "Requests to Holdfast", "Version", "Newest backup"):
        assert f"<dt>{title}</dt>" in text

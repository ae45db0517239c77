"""Checking stores against real servers, and the keys of SFTP hosts."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.kernel.clock import now
from holdfast.kernel.ports import free_port
from holdfast.kernel.services import Services
from holdfast.kernel.stores.first_use import trusted_at_first
from holdfast.kernel.stores.host_keys import HostKey, HostKeyUnknown, keys_in, known_lines
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import open_place
from holdfast.kernel.stores.rclone import RcloneStore
from holdfast.kernel.stores.rclone_words import HostKeyChanged
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from tests.kernel.stores.stores_kit import (
    PASSWORD,
    S3_SECRET,
    a_local_store,
    all_that_is_told,
    an_s3_store,
    audited_actions,
    told_events,
)
from tests.servers.s3 import nanio_server
from tests.servers.sftp import SftpServer, sftp_server

pytestmark = pytest.mark.real


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite: what is checked here is the servers."""
    template: Path = request.getfixturevalue("sqlite_template")
    path = tmp_path / "holdfast.db"
    path.write_bytes(template.read_bytes())
    return f"sqlite+aiosqlite:///{path}"


def an_sftp_store(server: SftpServer, **options: Any) -> dict[str, Any]:
    own = {name: server.options[name] for name in ("host", "port", "user", "pass", "shell_type")}
    return {"name": "host", "kind": "sftp", "root": "files", "options": {**own, **options}}


async def check(admin: httpx.AsyncClient, name: str) -> tuple[int, dict[str, Any]]:
    answer = await admin.post(f"/api/stores/{name}/check")
    for secret in (PASSWORD, S3_SECRET):
        assert secret not in answer.text
    told = answer.json()
    shown = (await admin.get(f"/api/stores/{name}")).json()
    is_fine = answer.status_code == httpx.codes.OK
    assert (shown["reachable"], shown["problem"]) == (is_fine, "" if is_fine else told["detail"])
    assert shown["checked_at"]
    return answer.status_code, told


async def test_a_bucket_is_listed_and_what_is_wrong_is_said(
    admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with nanio_server(tmp_path / "s3") as server:
        async with server.client() as client:
            await client.create_bucket("archive")
        keys = {
            "endpoint": server.endpoint,
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
        }
        await admin.post("/api/stores", json=an_s3_store(options=keys))
        status, empty = await check(admin, "cold")
        assert (status, empty["empty"], empty["hashes"]) == (200, True, ["md5"]), empty
        assert empty["modification_times"] is False
        async with server.client() as client:
            await client.put("archive", "lab/a", b"hello", size_bytes=5)
        assert (await check(admin, "cold"))[1]["empty"] is False
        await admin.put("/api/stores/cold", json={"root": "nowhere"})
        status, missing = await check(admin, "cold")
        assert (status, missing["code"]) == (502, "rclone_failed")
        assert "NoSuchBucket" in missing["detail"]
        wrong = {"root": "archive", "options": {"secret_access_key": S3_SECRET}}
        await admin.put("/api/stores/cold", json=wrong)
        status, refused = await check(admin, "cold")
        assert (status, "cold" in refused["detail"]) == (502, True)
        assert refused["hint"] == "are secret key, region and both clocks right?"
    status, gone = await check(admin, "cold")
    assert (status, gone["code"]) == (503, "unavailable")


async def test_a_directory_is_listed_and_a_missing_one_is_told(
    admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    root = tmp_path / "a 'root' of \n two lines"
    root.mkdir()
    (root / "file").write_text("hello")
    await admin.post("/api/stores", json=a_local_store(root))
    status, found = await check(admin, "disk")
    assert (status, found["empty"]) == (200, False), found
    assert found["hashes_on_request"] == sorted(HashKind)
    (root / "file").unlink()
    assert (await check(admin, "disk"))[1]["empty"] is True
    root.rmdir()
    status, missing = await check(admin, "disk")
    assert (status, missing["code"]) == (404, "not_found")
    answer = await admin.post("/api/stores/disk/host-key")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_host_is_trusted_at_first_sight_and_refused_with_another_key(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with sftp_server(tmp_path / "first") as first:
        (first.files / "file").write_text("hello")
        made = (await admin.post("/api/stores", json=an_sftp_store(first))).json()
        (trusted,) = keys_in(first.known_hosts.read_text())
        assert made["host_keys"] == [{"kind": trusted.kind, "fingerprint": trusted.fingerprint}]
        assert made["options"]["pass"] == "****"
        status, found = await check(admin, "host")
        assert (status, found["empty"], found["newly_trusted"]) == (200, False, False), found
    second_server = sftp_server(tmp_path / "second", port=first.port, with_rsa=True)
    async with second_server as second:
        shown = [key.fingerprint for key in keys_in(second.known_hosts.read_text())]
        options = {"options": {"pass": second.password}}
        assert (await admin.put("/api/stores/host", json=options)).status_code == 200
        status, refused = await check(admin, "host")
        assert (status, refused["code"]) == (502, "host_key_changed")
        assert refused["details"] == {"trusted": [trusted.fingerprint], "shown": shown}
        assert f"{shown[1]} instead of {trusted.fingerprint}" in refused["detail"]
        assert "holdfast store trust host" in refused["hint"]
        again = {**an_sftp_store(second), "name": "again"}
        contradicted = (await admin.post("/api/stores", json=again)).json()
        assert contradicted["code"] == "host_key_changed"
        assert contradicted["hint"] == refused["hint"]
        await nobody_else_speaks_to_it(services, made["id"])
        await only_the_confirmed_key_is_trusted(admin, trusted.fingerprint, shown)
        assert (await check(admin, "host"))[0] == 200
        beside = (await admin.post("/api/stores", json=again)).json()
        assert [key["fingerprint"] for key in beside["host_keys"]] == [shown[1]]
    assert await audited_actions(services) == ["create", "update", "trust_host", "create"]
    changes = [kind for kind in await told_events(services) if kind != "checked"]
    assert changes == ["created", "updated", "host_trusted", "created"]
    assert second.password not in await all_that_is_told(services)


async def test_a_known_host_in_other_letters_is_not_trusted_with_another_key(
    services: Services,
) -> None:
    known, other = (HostKey(kind="ssh-ed25519", key=key) for key in ("AAAA", "BBBB"))
    row = StoreRow(
        name="tape",
        kind="sftp",
        options='{"host": "Tape.example.org"}',
        host_keys=known_lines("Tape.example.org", 22, [known]),
        created_at=now(),
        updated_at=now(),
    )
    async with services.database.write(SYSTEM) as work:
        work.session.add(row)
    assert await trusted_at_first(services, "tape.EXAMPLE.org", 22, [other, known]) == [known]
    with pytest.raises(HostKeyChanged, match="'tape'"):
        await trusted_at_first(services, "tape.EXAMPLE.org", 22, [other])
    assert await trusted_at_first(services, "tape.example.org", 23, [other]) == [other]


async def nobody_else_speaks_to_it(services: Services, store_id: int) -> None:
    async with services.database.read() as session:
        place = await open_place(session, services, store_id)
    with pytest.raises(HostKeyChanged):
        await RcloneStore.connect(services.get(RcloneHub).daemon, place.remote)


async def only_the_confirmed_key_is_trusted(
    admin: httpx.AsyncClient, old: str, now_shown: list[str]
) -> None:
    address, (new, confirmed) = "/api/stores/host/host-key", now_shown
    shown = (await admin.post(address)).json()
    assert shown["changed"] is True
    assert [(k["fingerprint"], k["trusted"], k["shown"]) for k in shown["keys"]] == [
        (old, True, False),
        (new, False, True),
        (confirmed, False, True),
    ]
    unknown = await admin.post(address, json={"fingerprint": old})
    assert (unknown.status_code, unknown.json()["details"]["shown"]) == (409, now_shown)
    tried = await admin.post(f"{address}?dry_run=true", json={"fingerprint": confirmed})
    assert tried.status_code == 200
    assert (await check(admin, "host"))[1]["code"] == "host_key_changed"
    done = (await admin.post(address, json={"fingerprint": f" {confirmed} "})).json()
    assert [(k["fingerprint"], k["trusted"]) for k in done["keys"]] == [
        (confirmed, True),
        (new, False),
    ]


async def test_a_host_that_does_not_answer_is_trusted_when_it_first_does(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    port = free_port()
    body = {"host": "127.0.0.1", "port": port, "user": "tester", "pass": PASSWORD}
    answer = await admin.post(
        "/api/stores", json={"name": "host", "kind": "sftp", "root": "files", "options": body}
    )
    assert (answer.status_code, answer.json()["host_keys"]) == (201, [])
    assert "holdfast store check host" in answer.headers["X-Holdfast-Warning"]
    assert (await check(admin, "host"))[0] == 503
    async with services.database.read() as session:
        with pytest.raises(HostKeyUnknown, match="never showed its key"):
            await open_place(session, services, answer.json()["id"])
    async with sftp_server(tmp_path / "server", port=port) as server:
        status, refused = await check(admin, "host")
        assert (status, "refuses the login" in refused["detail"]) == (502, True), refused
        await admin.put("/api/stores/host", json={"options": {"pass": server.password}})
        status, found = await check(admin, "host")
        assert (status, found["empty"]) == (200, True), found
        await admin.put("/api/stores/host", json={"root": "files/none"})
        assert (await check(admin, "host"))[0] == 404
    status, gone = await check(admin, "host")
    assert (status, gone["hint"]) == (502, "is the server running?"), gone
    assert PASSWORD not in await all_that_is_told(services)

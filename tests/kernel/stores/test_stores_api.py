"""Stores over HTTP: made, shown without secrets, changed, refused, deleted, brought back."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.backup import create_backup
from holdfast.kernel.backup_restore import restore_backup
from holdfast.kernel.clock import now
from holdfast.kernel.contributors import Verdict, contributors
from holdfast.kernel.errors import Conflict, Invalid, NotFound
from holdfast.kernel.secrets import CannotUnseal, Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.stores import service
from holdfast.kernel.stores.doctor import check_stores
from holdfast.kernel.stores.place import open_place
from holdfast.kernel.stores.service import StoreChanges
from holdfast.kernel.work import SYSTEM, Role
from holdfast.tiers.tables import TierRow
from tests.kernel.api import a_token
from tests.kernel.stores.stores_kit import (
    PASSWORD,
    S3_SECRET,
    a_local_store,
    all_that_is_told,
    an_s3_store,
    audited_actions,
    calls,
    told_events,
)

pytestmark = pytest.mark.real
JSON = {"Content-Type": "application/json"}


async def opened(services: Services, store_id: int, prefix: str = "") -> Any:
    async with services.database.read() as session:
        return await open_place(session, services, store_id, prefix)


async def test_a_store_is_kept_sealed_and_shown_masked(
    services: Services, admin: httpx.AsyncClient
) -> None:
    answer = await admin.post("/api/stores", json=an_s3_store())
    made = answer.json()
    assert answer.status_code == 201, made
    assert made["options"]["secret_access_key"] == "****"
    assert made["options"]["access_key_id"] == "AKIA********"
    assert made["sealed"] == ["access_key_id", "secret_access_key"]
    by_name = (await admin.get("/api/stores/cold")).json()
    by_id = (await admin.get(f"/api/stores/{made['id']}")).json()
    assert by_name == by_id == {**made, "used_by": []}
    told = await all_that_is_told(services)
    assert S3_SECRET not in told
    assert "AKIA12345678" not in told
    assert (await audited_actions(services), await told_events(services)) == (
        ["create"],
        ["created"],
    )
    place = await opened(services, made["id"], "/deep/")
    assert place.s3.secret_key == S3_SECRET
    assert (place.s3.bucket, place.s3.prefix) == ("archive", "lab/deep/")
    assert place.remote.root == "archive/lab/deep"
    assert S3_SECRET not in repr(place)


async def test_stores_are_listed_by_name_in_pages_and_searched(
    admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    for name in ("tape", "attic", "attic-2"):
        await admin.post("/api/stores", json=a_local_store(tmp_path, name))
    page = await admin.get("/api/stores", params={"limit": 1, "offset": 1})
    assert [row["name"] for row in page.json()] == ["attic-2"]
    assert page.headers["X-Total-Count"] == "3"
    found = await admin.get("/api/stores", params={"search": "TTI"})
    assert [row["name"] for row in found.json()] == ["attic", "attic-2"]


async def test_what_is_not_named_stays_and_null_takes_away(
    services: Services, admin: httpx.AsyncClient
) -> None:
    body = an_s3_store(options={"region": "de-1", "storage_class": "COLD"})
    made = (await admin.post("/api/stores", json=body)).json()
    shown = made["options"]
    changed = await admin.put(
        "/api/stores/cold",
        json={"name": "colder", "options": {**shown, "region": "de-2", "storage_class": None}},
    )
    assert changed.status_code == 200, changed.json()
    assert changed.json()["options"] == {
        **{name: value for name, value in shown.items() if name != "storage_class"},
        "region": "de-2",
    }
    place = await opened(services, made["id"])
    assert (place.s3.access_key, place.s3.secret_key) == ("AKIA12345678", S3_SECRET)
    assert (await admin.get("/api/stores/cold")).status_code == 404
    assert "changed_secrets" not in await all_that_is_told(services)
    await admin.put("/api/stores/colder", json={"options": {"secret_access_key": "another-one"}})
    told = await all_that_is_told(services)
    assert '"changed_secrets": ["secret_access_key"]' in told
    assert "another-one" not in told
    assert (await opened(services, made["id"])).s3.secret_key == "another-one"
    await admin.put("/api/stores/colder", json={"description": ""})
    assert await told_events(services) == ["created", "updated", "updated"]


async def test_a_store_is_deleted_only_when_nothing_uses_it(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "kept").touch()
    made = (await admin.post("/api/stores", json=a_local_store(tmp_path))).json()
    users = ["tier photos"]

    async def ask(_: AsyncSession, store_id: int) -> list[str]:
        return users if store_id == made["id"] else []

    contributors(services).store_users.append(ask)
    refused = await admin.delete("/api/stores/disk")
    assert refused.status_code == 409
    assert "tier photos" in refused.json()["detail"]
    assert (await admin.get("/api/stores/disk")).json()["used_by"] == users
    users.clear()
    assert (await admin.delete("/api/stores/disk?dry_run=true")).status_code == 204
    assert (await admin.get("/api/stores/disk")).status_code == 200
    assert (await admin.delete("/api/stores/disk")).status_code == 204
    assert (await admin.get("/api/stores/disk")).status_code == 404
    for nobody in ("99999999999", "9" * 5000):
        assert (await admin.delete(f"/api/stores/{nobody}")).status_code == 404
    assert (tmp_path / "kept").exists()


async def test_of_two_who_want_the_same_name_one_gets_it(
    services: Services, admin: httpx.AsyncClient
) -> None:
    both = await asyncio.gather(*(admin.post("/api/stores", json=an_s3_store()) for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [201, 409]


async def test_a_store_that_another_row_needs_stays(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    made = (await admin.post("/api/stores", json=a_local_store(tmp_path))).json()
    async with services.database.write(SYSTEM) as work:
        moment = now()
        work.session.add(
            TierRow(
                name="photos",
                root=b"/photos",
                store_id=made["id"],
                created_at=moment,
                updated_at=moment,
            )
        )
    refused = await admin.delete("/api/stores/disk")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_dry_run_checks_and_keeps_nothing(
    services: Services, admin: httpx.AsyncClient
) -> None:
    tried = await admin.post("/api/stores?dry_run=true", json=an_s3_store())
    assert tried.status_code == 201
    assert (await admin.get("/api/stores")).json() == []
    await admin.post("/api/stores", json=an_s3_store())
    tried = await admin.put("/api/stores/cold?dry_run=true", json={"name": "warm"})
    assert tried.json()["name"] == "warm"
    assert [row["name"] for row in (await admin.get("/api/stores")).json()] == ["cold"]
    assert await audited_actions(services) == ["create"]


async def test_viewers_look_operators_check_and_admins_write(
    services: Services, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    await admin.post("/api/stores", json=a_local_store(tmp_path))
    for role, may_check in ((Role.VIEWER, False), (Role.OPERATOR, True)):
        async with calls(services, await a_token(services, role, role.name)) as client:
            assert (await client.get("/api/stores/disk")).status_code == 200
            checked = await client.post("/api/stores/disk/check")
            assert checked.status_code == (200 if may_check else 403)
            for method, path in (
                ("POST", ""),
                ("PUT", "/disk"),
                ("DELETE", "/disk"),
                ("POST", "/disk/host-key"),
            ):
                assert (await client.request(method, f"/api/stores{path}")).status_code == 403


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name"),
    "digits alone": ({"name": "17"}, "name"),
    "a slash": ({"name": "a/b"}, "name"),
    "a kind nobody has": ({"kind": "punchcards", "options": {}}, "no kind of remote"),
    "an option nobody has": ({"options": {"speed": 3}}, "no option speed"),
    "no bucket": ({"root": "/"}, "bucket"),
    "a way out": ({"root": "archive/../other"}, "'..'"),
    "half a key": ({"options": {"secret_access_key": ""}}, "belong together"),
    "no endpoint": ({"options": {"endpoint": ""}}, "endpoint"),
    "a folder in the endpoint": ({"options": {"endpoint": "http://h/x"}}, "endpoint"),
    "options as a text": ({"options": f"pass={PASSWORD}"}, "options must be"),
    "a list": ({"options": {"region": [PASSWORD]}}, "must be a text"),
    "half a character": ({"options": {"region": "\ud800"}}, "surrogate"),
    "half a character as a name": ({"options": {"\udfff": "x"}}, "surrogate"),
    "half a character in the root": ({"root": "archive/\ud800"}, "surrogate"),
    "half a character in the description": ({"description": "\ud800"}, "surrogate"),
    "a long description": ({"description": "x" * 1001}, "description"),
    "another store": ({"kind": "crypt", "options": {"remote": "x:y"}}, "another remote"),
    "a program": ({"kind": "sftp", "options": {"ssh": "touch x"}}, "run a program"),
    "a command": ({"kind": "webdav", "options": {"bearer_token_command": "x"}}, "run a program"),
    "an address with a login": (
        {"kind": "webdav", "options": {"url": f"http://me:{PASSWORD}@host/"}},
        "password in its address",
    ),
    "no host": ({"kind": "sftp", "options": {"user": "u"}}, "host"),
    "a host that is an option": ({"kind": "sftp", "options": {"host": "-oX"}}, "host"),
    "a port of its own": ({"kind": "sftp", "options": {"host": "h", "port": "x"}}, "port"),
    "a long port": ({"kind": "sftp", "options": {"host": "h", "port": "9" * 5000}}, "port"),
    "no user": ({"kind": "sftp", "options": {"host": "h"}}, "user"),
    "no login": ({"kind": "sftp", "options": {"host": "h", "user": "u"}}, "password or a key"),
    "keys of one's own": (
        {"kind": "sftp", "options": {"host": "h", "known_hosts_file": "none"}},
        "kept with the store",
    ),
    "a local folder without a root": (
        {"kind": "local", "root": "data", "options": {}},
        "absolute path",
    ),
}


def a_bad_body(changes: dict[str, Any]) -> dict[str, Any]:
    """A good S3 store with these changes, or another kind with nothing but them."""
    given = changes.get("options", {})
    if changes.get("kind", "s3") != "s3" or not isinstance(given, dict):
        return {**an_s3_store(), **changes}
    body = an_s3_store(options=given)
    options = {name: value for name, value in body["options"].items() if value}
    return {**body, **changes, "options": options}


async def test_what_cannot_be_a_store_is_refused_with_the_reason(
    services: Services, admin: httpx.AsyncClient
) -> None:
    for what, (changes, reason) in BAD.items():
        body = json.dumps(a_bad_body(changes))
        answer = await admin.post("/api/stores", content=body, headers=JSON)
        assert answer.status_code == 422, what
        assert reason in answer.json()["detail"], (what, answer.json())
        assert PASSWORD not in answer.text
        assert S3_SECRET not in answer.text
    unknown = await admin.post("/api/stores", json={**an_s3_store(), "more": 1})
    assert unknown.status_code == 422
    assert S3_SECRET not in unknown.text
    await admin.post("/api/stores", json=an_s3_store())
    assert (await admin.post("/api/stores", json=an_s3_store())).status_code == 409
    await admin.post("/api/stores", json=an_s3_store("other"))
    assert (await admin.put("/api/stores/other", json={"name": "cold"})).status_code == 409


async def test_a_prefix_stays_below_the_stores_root(
    services: Services, admin: httpx.AsyncClient
) -> None:
    made = (await admin.post("/api/stores", json=an_s3_store())).json()
    with pytest.raises(Invalid):
        await opened(services, made["id"], "../other")
    with pytest.raises(NotFound):
        await opened(services, made["id"] + 1)


async def test_who_changes_what_somebody_else_just_changed_is_told(
    services: Services, admin: httpx.AsyncClient
) -> None:
    await admin.post("/api/stores", json=an_s3_store())
    async with services.database.read() as session:
        seen = await service.get_store(session, "cold")
    await service.update_store(services, SYSTEM, "cold", StoreChanges(description="first"))
    prepared = await service.prepare(services, service._draft_of(services, seen))
    with pytest.raises(Conflict, match="meanwhile"):
        async with services.database.write(SYSTEM) as work:
            await service._replace(work, services, seen, prepared)


async def test_secrets_survive_a_backup_and_are_told_when_the_secret_is_another(
    services: Services, admin: httpx.AsyncClient
) -> None:
    made = (await admin.post("/api/stores", json=an_s3_store())).json()
    backup = await create_backup(services)
    await admin.delete("/api/stores/cold")
    await services.database.close()
    await restore_backup(services.loaded, backup.path)
    assert (await opened(services, made["id"])).s3.secret_key == S3_SECRET
    (well,) = await check_stores(services)
    assert well.verdict is Verdict.OK
    other = dataclasses.replace(services, sealer=Sealer("another secret"))
    with pytest.raises(CannotUnseal):
        await opened(other, made["id"])
    async with calls(other) as client:
        (listed,) = (await client.get("/api/stores")).json()
        assert listed["readable"] is False
        assert S3_SECRET not in json.dumps(listed)
        (ill,) = await check_stores(other)
        assert (ill.verdict, "cold" in ill.detail) == (Verdict.FAIL, True)
        mended = await client.put("/api/stores/cold", json={"options": an_s3_store()["options"]})
        assert mended.json()["readable"] is True
    assert (await opened(other, made["id"])).s3.secret_key == S3_SECRET

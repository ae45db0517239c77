"""The pages of stores: forms by kind, secrets kept, checks, keys of hosts, roles."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

import holdfast.kernel.stores.pages
import holdfast.kernel.web.console.pages
from holdfast.kernel.clock import now
from holdfast.kernel.contributors import contributors
from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from holdfast.kernel.stores.page_fields import offered_kinds
from holdfast.kernel.stores.place import secrets_of
from holdfast.kernel.stores.rclone_remote import RemoteOption
from holdfast.kernel.stores.service import get_store
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from tests.gateway.pages.web import Web, column, words
from tests.kernel.stores.stores_kit import PASSWORD, S3_SECRET, all_that_is_told, with_hub
from tests.kernel.web_pages import open_pages
from tests.servers.sftp import USER, sftp_server

pytestmark = pytest.mark.real  # the options of a kind are asked of rclone
AWKWARD = "<script>alert('x')</script>"
S3 = {"name": "cold", "kind": "s3", "root": "archive/lab", "endpoint": "http://127.0.0.1:9"}
S3 |= {"access_key_id": "AKIA12345678", "secret_access_key": S3_SECRET}


@pytest.fixture
async def services(database: Database, tmp_path: Path) -> AsyncIterator[Services]:
    async with with_hub(database, tmp_path) as made:
        yield made


@pytest.fixture
async def web(services: Services) -> AsyncIterator[Web]:
    holdfast.kernel.web.console.pages.contribute(services)
    holdfast.kernel.stores.pages.contribute(services)
    own = (holdfast.kernel.web.console.pages.router, holdfast.kernel.stores.pages.router)
    async with open_pages(services, *own) as opened:
        yield opened


async def made(web: Web, kind: str, /, **fields: Any) -> str:
    answer = await web.post(f"/web/stores/new?kind={kind}", **fields)
    return str(answer.headers["location"])


async def secrets(services: Services, name: str) -> dict[str, str]:
    async with services.database.read() as session:
        return secrets_of(services, await get_store(session, name))


async def test_a_store_is_made_changed_and_deleted_and_its_secrets_never_shown(
    services: Services, web: Web
) -> None:
    address = await made(web, "s3", **S3)
    for path in (address, f"{address}/edit", "/web/stores", "/web/search?q=cold"):
        page = await web.get(path)
        assert S3_SECRET not in page
        assert "cold" in page
    form = await web.get(f"{address}/edit")
    shown_key = form.partition('name="access_key_id"')[2].partition('value="')[2].partition('"')[0]
    assert shown_key.startswith("AKIA")
    assert "12345678" not in shown_key
    kept: dict[str, Any] = {"name": "cold", "root": "archive/lab", "endpoint": S3["endpoint"]}
    await web.post(f"{address}/edit", **kept, access_key_id=shown_key, region="eu-1")
    assert await secrets(services, "cold") == {
        "access_key_id": "AKIA12345678",
        "secret_access_key": S3_SECRET,
    }
    assert "eu-1" in await web.get(address)
    await web.post(f"{address}/edit", **kept, access_key_id=shown_key, secret_access_key="another")
    assert (await secrets(services, "cold"))["secret_access_key"] == "another"
    assert "eu-1" not in await web.get(address)
    await web.post(f"{address}/delete", confirm="cool", status=422)
    await web.post(f"{address}/delete", confirm="cold")
    await web.get(address, status=404)
    assert S3_SECRET not in await all_that_is_told(services)


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        ("s3", {**S3, "root": "/"}, "bucket or bucket/prefix"),
        ("s3", {**S3, "secret_access_key": ""}, "belong together"),
        ("s3", {**S3, "name": AWKWARD}, "letters, digits"),
        ("sftp", {"name": "h", "host": "h", "user": "u"}, "password or a key"),
        ("sftp", {"name": "h", "host": "h", "user": "u", "key_pem": PASSWORD, "port": "0"}, "port"),
        ("local", {"name": "d", "root": "relative"}, "absolute path"),
    ],
)
async def test_what_cannot_be_a_store_is_drawn_again_without_what_is_secret(
    web: Web, kind: str, fields: dict[str, Any], says: str
) -> None:
    answer = await web.post(f"/web/stores/new?kind={kind}", status=422, **fields)
    assert says in words(answer.text)
    for secret in (S3_SECRET, PASSWORD, AWKWARD):
        assert secret not in answer.text
    assert "No store yet" in await web.get("/web/stores")


async def test_every_kind_of_rclone_has_a_form_of_its_own_options(web: Web) -> None:
    kinds = await web.get("/web/stores/new?kind=other")
    assert "?kind=webdav" in kinds
    for refused in ("crypt", "alias", "union", "s3", "memory"):
        assert f'?kind={refused}"' not in kinds
    form = await web.get("/web/stores/new?kind=webdav")
    assert 'name="url"' in form
    assert 'type="password" id="f-pass"' in form
    assert 'name="known_hosts_file"' not in await web.get("/web/stores/new?kind=sftp")
    fields = {"name": "dav", "url": "http://127.0.0.1:9/dav", "user": "u", "pass": PASSWORD}
    address = await made(web, "webdav", **fields)
    shown = words(await web.get(address))
    assert "http://127.0.0.1:9/dav" in shown
    assert "pass sealed ****" in shown
    forgotten: dict[str, Any] = {"forget-pass": "true"}
    await web.post(f"{address}/edit", name="dav", url=fields["url"], **forgotten)
    assert "sealed" not in words(await web.get(address)).partition("What it is")[2]
    await web.get("/web/stores/new?kind=nonsense", status=422)


def test_kinds_that_stand_on_others_are_not_offered() -> None:
    option = RemoteOption(name="remote", is_password=False, is_sensitive=False)
    known: dict[str, Any] = {"box": {}, "crypt": {"remote": option}, "sftp": {}, "memory": {}}
    assert offered_kinds(known) == ["box"]


async def test_the_last_check_is_kept_until_the_store_changes(web: Web, tmp_path: Path) -> None:
    root = tmp_path / "disk"
    address = await made(web, "local", name="disk", root=str(root))
    assert "It was not checked" in await web.get(address)
    await web.post(f"{address}/check", who="operator")
    page = words(await web.get(address))
    assert "is not there" in page
    overview = words(await web.get("/"))
    assert "Store disk cannot be reached" in overview
    assert column(await web.get("/web/stores?state=not-reached"), 0) == ["disk"]
    root.mkdir()
    await web.post(f"{address}/check")
    page = words(await web.get(address))
    assert "Proves content by" in page
    assert "nothing yet" in page
    assert "cannot be reached" not in await web.get("/")
    await web.post(f"{address}/edit", name="disk", root=str(tmp_path))
    assert "It was not checked" in await web.get(address)


async def test_a_changed_key_is_trusted_only_once_its_fingerprint_was_typed(
    services: Services, web: Web, tmp_path: Path
) -> None:
    async with sftp_server(tmp_path / "one") as server:
        fields = {"host": "127.0.0.1", "port": str(server.port), "user": USER}
        address = await made(web, "sftp", name="host", **fields, **{"pass": server.password})
        page = await web.get(f"{address}?check=keys")
        assert "The host shows a key that is trusted" in page
        old = page.partition("SHA256:")[2].partition("<")[0]
    async with sftp_server(tmp_path / "two", port=server.port):
        page = await web.get(f"{address}?check=keys")
        assert "The host shows none of the trusted keys" in page
        dialog = page.partition('<dialog id="trust-')[2].partition("</dialog>")[0]
        new = dialog.partition('data-must-be="')[2].partition('"')[0]
        assert new.startswith("SHA256:")
        assert f"SHA256:{old}" in dialog
        assert (
            "<dialog"
            not in (await web.get(f"{address}?check=keys", who="operator"))
            .partition('id="keys"')[2]
            .partition("</section>")[0]
        )
        await web.post(f"{address}/trust", who="operator", confirm=new, status=403)
        await web.post(f"{address}/trust", confirm="", status=422)
        await web.post(f"{address}/trust", confirm=f"SHA256:{old}", status=409)
        await web.post(f"{address}/trust", confirm=new)
        assert "The host shows a key that is trusted" in await web.get(f"{address}?check=keys")


async def test_each_page_is_for_its_roles_and_a_viewer_sees_no_button(
    web: Web, tmp_path: Path
) -> None:
    address = await made(web, "local", name="disk", root=str(tmp_path))
    for who, forms in (("viewer", 403), ("operator", 403), ("admin", 200)):
        await web.get(address, who=who)
        for path in ("/web/stores/new", f"{address}/edit"):
            await web.get(path, who=who, status=forms)
    page = (await web.get(address, who="viewer")).partition("<main")[2].partition("</main>")[0]
    assert "<button" not in page
    assert "<form" not in page
    for verb in ("check", "trust", "delete"):
        await web.post(f"{address}/{verb}", who="viewer", confirm="disk", status=403)
    assert "Edit" not in words(await web.get(address, who="operator")).partition("Check")[2][:40]


async def test_what_uses_a_store_is_told_and_keeps_it(
    services: Services, web: Web, tmp_path: Path
) -> None:
    async def users(*_: object) -> list[str]:
        return ["tier photos & films"]

    contributors(services).store_users.append(users)
    address = await made(web, "local", name="disk", root=str(tmp_path))
    page = await web.get(address)
    assert "/web/search?q=photos+%26+films" in page
    assert "can be deleted when nothing uses it" in page
    await web.post(f"{address}/delete", confirm="disk", status=409)


async def test_ten_thousand_stores_are_paged_sorted_and_searched_with_few_statements(
    services: Services, web: Web
) -> None:
    moment = now()
    rows = [
        {"name": f"store-{n:05}", "kind": "local", "root": f"/srv/disk/{n}", "options": "{}"}
        | {"secrets_enc": "", "host_keys": "", "description": "", "check_told": "{}"}
        | {"created_at": moment, "updated_at": moment}
        for n in range(10_000)
    ]
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(insert(StoreRow), rows)
    for query, first in (
        ("", "store-00000"),
        ("?page=200", "store-09950"),
        ("?sort=-name", "store-09999"),
        ("?q=disk/9999&kind=local", "store-09999"),
    ):
        with web.statements() as sent:
            page = await web.get(f"/web/stores{query}")
        asked = [one for one in sent if one.lstrip().upper().startswith("SELECT")]
        assert len(asked) <= 8, asked
        assert column(page, 0)[0] == first

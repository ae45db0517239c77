"""Web of a pool's members, its keys, and the set-up of a member's machine."""

import asyncio
import re
from html import unescape
from typing import Any

import pytest

from holdfast.gateway.tables import CredentialRow
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.work import SYSTEM
from tests.gateway.pages.web import Web, column, words
from tests.gateway.room import Room

pytestmark = pytest.mark.real
MEMBER: dict[str, Any] = {
    "address": "127.0.0.1:9001",
    "weight": "5",
    "max_fails": "2",
    "fail_timeout_s": "10",
    "enabled": "true",
}
SECRET = "a-very-secret-key"


async def the_pool(room: Room, *addresses: str) -> tuple[str, list[int]]:
    pool_id = await room.pool("one", *addresses)
    listed = await room.ok("GET", f"/pools/{pool_id}/members")
    return f"/web/pools/{pool_id}", [member["id"] for member in listed]


async def enabled(room: Room) -> list[bool]:
    return [member["enabled"] for member in await room.ok("GET", "/pools/1/members")]


async def test_a_member_is_added_and_serves_as_soon_as_the_page_comes(
    web: Web, quick_room: Room, echo_one: str
) -> None:
    here, _ = await the_pool(quick_room)
    await quick_room.vhost(1)
    answer = await web.post(f"{here}/members/new", **{**MEMBER, "address": echo_one})
    assert answer.headers["location"] == here
    assert await quick_room.asks("/b/k") == "one GET /b/k"


async def test_a_member_is_changed(web: Web, quick_room: Room) -> None:
    here, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    shown = await web.get(f"{here}/members/{number}/edit")
    assert 'value="127.0.0.1:9001"' in shown
    sent: dict[str, Any] = {name: text for name, text in MEMBER.items() if name != "enabled"}
    await web.post(f"{here}/members/{number}/edit", **sent, description="rack 4")
    (member,) = await quick_room.ok("GET", "/pools/1/members")
    assert (member["weight"], member["enabled"]) == (5, False)
    assert member["description"] == "rack 4"


async def test_a_clone_begins_as_another_member_is_and_has_an_address_of_its_own(
    web: Web, quick_room: Room
) -> None:
    here, (number,) = await the_pool(quick_room, "[::1]:9000")
    path = f"/pools/1/members/{number}"
    await quick_room.ok("PUT", path, weight=7, enabled=False, description="rack 4")
    shown = unescape(await web.get(here))
    assert f'href="{here}/members/{number}/clone"' in shown
    assert """data-copy="holdfast member delete one '[::1]:9000' --yes\"""" in shown
    form = await web.get(f"{here}/members/{number}/clone", who="operator")
    assert "Clone [::1]:9000" in words(form)
    assert 'name="weight" required min="1" max="100" value="7"' in re.sub(
        r' aria-d[^"]*"[^"]*"', "", form
    )
    sent: dict[str, Any] = {**MEMBER, "weight": "7"}
    await web.post(f"{here}/members/{number}/clone", status=422, **sent | {"address": ""})
    await web.post(f"{here}/members/{number}/clone", **sent)
    listed = await quick_room.ok("GET", "/pools/1/members")
    assert [(one["address"], one["weight"]) for one in listed] == [
        ("[::1]:9000", 7),
        ("127.0.0.1:9001", 7),
    ]


async def test_a_wrong_address_is_said_at_its_field(web: Web, quick_room: Room) -> None:
    here, _ = await the_pool(quick_room)
    sent: dict[str, Any] = {**MEMBER, "address": "no port; }"}
    shown = (await web.post(f"{here}/members/new", status=422, **sent)).text
    assert 'aria-invalid="true"' in shown.partition('id="f-address"')[2].partition(">")[0]
    assert 'value="no port; }"' in shown


async def test_only_http_pools_ask_for_a_role(web: Web, quick_room: Room) -> None:
    await quick_room.pool("s3")
    await quick_room.pool("web", type="http")
    assert "f-role" not in await web.get("/web/pools/1/members/new")
    assert "f-role" in await web.get("/web/pools/2/members/new")
    await web.post("/web/pools/2/members/new", **MEMBER, role="replica")
    assert (await quick_room.ok("GET", "/pools/2/members"))[0]["role"] == "replica"


async def test_one_member_is_switched_off_and_on(web: Web, quick_room: Room) -> None:
    here, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    await web.post(f"{here}/members/{number}/disable")
    assert await enabled(quick_room) == [False]
    assert "no enabled member" in (quick_room.live("pools/one.conf") or "")
    await web.post(f"{here}/members/{number}/enable")
    assert await enabled(quick_room) == [True]


async def test_chosen_members_are_switched_in_one_change(web: Web, quick_room: Room) -> None:
    here, ids = await the_pool(quick_room, *(f"127.0.0.1:900{i}" for i in range(3)))
    before = quick_room.gateway.generations.current() or 0
    await web.post(f"{here}/members/enabled", chosen=ids[:2], do="disable")
    assert await enabled(quick_room) == [False, False, True]
    assert quick_room.gateway.generations.current() == before + 1
    await web.post(f"{here}/members/enabled", chosen=ids, do="enable")
    assert await enabled(quick_room) == [True] * 3


async def test_the_last_enabled_member_is_not_taken_out_among_others(
    web: Web, quick_room: Room
) -> None:
    here, ids = await the_pool(quick_room, "127.0.0.1:9001", "127.0.0.1:9002")
    before = await quick_room.everything()
    refused = await web.post(f"{here}/members/enabled", status=409, chosen=ids, do="disable")
    assert "answer 502" in words(refused.text)
    assert await quick_room.everything() == before


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (422, {"chosen": "1", "do": "explode"}),
        (422, {"chosen": "x", "do": "enable"}),
        (404, {"chosen": "77", "do": "enable"}),
        (303, {"do": "enable"}),
    ],
)
async def test_a_choice_that_is_none_changes_nothing(
    web: Web, quick_room: Room, status: int, sent: dict[str, Any]
) -> None:
    here, _ = await the_pool(quick_room, "127.0.0.1:9001")
    before = await quick_room.everything()
    await web.post(f"{here}/members/enabled", status=status, **sent)
    assert await quick_room.everything() == before


async def test_disabling_the_last_one_asks_first(web: Web, quick_room: Room) -> None:
    here, ids = await the_pool(quick_room, "127.0.0.1:9001", "127.0.0.1:9002")
    assert "the last enabled member" not in await web.get(here)
    await web.post(f"{here}/members/{ids[0]}/disable")
    assert "Disable the last enabled member?" in await web.get(here)


async def test_a_member_is_removed(web: Web, quick_room: Room) -> None:
    here, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    await web.post(f"{here}/members/{number}/remove")
    assert await quick_room.ok("GET", "/pools/1/members") == []
    await web.post(f"{here}/members/{number}/remove", status=404)
    await web.post(f"{here}/members/1/remove", who="viewer", status=403)


async def test_a_viewer_makes_no_set_up_over_the_api_either(web: Web, quick_room: Room) -> None:
    _, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    path = f"/api/pools/1/members/{number}/node-config"
    await web.get(path, who="viewer", status=403)
    assert "[]" in await web.get("/api/pools/1/node-config-summary", who="viewer")
    await web.get(path, who="operator")


async def test_connections_are_tested_when_asked_for(
    web: Web, quick_room: Room, echo_one: str, free_port: int
) -> None:
    here, _ = await the_pool(quick_room, echo_one, f"127.0.0.1:{free_port}", "unix:/no/such.sock")
    assert "Connection" not in await web.get(here)
    took = column(await web.get(f"{here}?check=true"), 3)
    assert re.fullmatch(r"connected [\d.]+ ms", took[0])
    assert took[1].startswith("no connection Connect call failed") or "refused" in took[1]
    assert "No such file" in took[2]


async def test_members_are_sorted_and_searched(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one")
    for port, weight in ((9001, 1), (9002, 9), (9003, 5)):
        body = {"address": f"127.0.0.1:{port}", "weight": weight}
        await quick_room.ok("POST", "/pools/1/members", 201, **body)
    assert column(await web.get("/web/pools/1?sort=-weight"), 4) == ["9", "5", "1"]
    assert column(await web.get("/web/pools/1?q=9003"), 1) == ["127.0.0.1:9003"]


async def test_keys_are_stored_masked_and_forgotten(web: Web, quick_room: Room) -> None:
    here, _ = await the_pool(quick_room, "127.0.0.1:9001")
    assert "the global ones" in words(await web.get(here))
    sent: dict[str, Any] = {
        "access_key": "AKIAEXAMPLE12345",
        "secret_key": SECRET,
        "region": "eu-1",
    }
    await web.post(f"{here}/keys", **sent)
    for path in (here, f"{here}/keys"):
        shown = await web.get(path)
        assert SECRET not in shown
        assert "AKIAEXAMPLE12345" not in shown
        assert "AKIA****" in shown
    assert "the pool's own" in words(await web.get(here))
    await web.post(f"{here}/keys/remove")
    assert "the global ones" in words(await web.get(here))


async def test_a_refused_form_of_keys_does_not_send_the_secret_back(
    web: Web, quick_room: Room
) -> None:
    here, _ = await the_pool(quick_room)
    sent: dict[str, Any] = {"access_key": "AKIA", "secret_key": SECRET, "endpoint_url": "ftp://x"}
    shown = await web.post(f"{here}/keys", status=422, **sent)
    assert SECRET not in shown.text
    assert "ftp://x" in shown.text


async def test_http_pools_have_no_keys(web: Web, quick_room: Room) -> None:
    await quick_room.pool("web", type="http")
    assert "S3 keys" not in await web.get("/web/pools/1")
    await web.get("/web/pools/1/keys", status=400)


async def test_the_files_of_a_machine_are_shown_and_noted_without_keys(
    web: Web, quick_room: Room
) -> None:
    here, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    at = f"{here}/members/{number}/setup"
    sent: dict[str, Any] = {"node_type": "nginx-nanio", "data_dir": "/srv/s3", "nanio_port": "9100"}
    sent |= {"nanio_host": "127.0.0.1", "nanio_region": "eu-1"}
    shown = await web.post(at, status=200, **sent, access_key="AKIA", secret_key=SECRET)
    for path in ("/etc/nanio/options.toml", "/etc/systemd/system/nanio.service"):
        assert path in shown.text
    assert f'secret_key = "{SECRET}"' in unescape(shown.text)
    assert shown.text.count("data-copy-from") == 4
    listed = await web.get(at)
    assert SECRET not in listed
    assert "nginx-nanio /srv/s3 127.0.0.1:9100 eu-1" in words(listed)
    again = re.search(r"\?again=\d+", listed)
    assert again
    begun = await web.get(at + again[0])
    assert '<option value="nginx-nanio" selected>' in begun
    assert 'value="/srv/s3"' in begun


async def test_a_set_up_that_cannot_be_is_refused_at_its_field(web: Web, quick_room: Room) -> None:
    here, (number,) = await the_pool(quick_room, "127.0.0.1:9001")
    sent: dict[str, Any] = {"node_type": "nanio-only", "data_dir": "relative", "nanio_port": "9000"}
    sent |= {"nanio_host": "0.0.0.0", "nanio_region": "us-east-1"}
    shown = (await web.post(f"{here}/members/{number}/setup", status=422, **sent)).text
    assert 'aria-invalid="true"' in shown.partition('id="f-data_dir"')[2].partition(">")[0]
    assert "Nothing was made" in shown


async def test_two_who_change_one_pool_at_once_both_have_their_change(
    web: Web, quick_room: Room
) -> None:
    here, _ = await the_pool(quick_room)
    at = f"{here}/members/new"
    addresses = [f"127.0.0.1:900{i}" for i in range(4)]
    await asyncio.gather(*(web.post(at, **{**MEMBER, "address": one}) for one in addresses))
    listed = await quick_room.ok("GET", "/pools/1/members")
    assert sorted(member["address"] for member in listed) == addresses


async def test_keys_that_cannot_be_read_are_told_on_the_pools_page_and_replaced(
    web: Web, quick_room: Room
) -> None:
    here, _ = await the_pool(quick_room)
    sent: dict[str, Any] = {"access_key": "access", "secret_key": SECRET, "region": "us-east-1"}
    await web.post(f"{here}/keys", **sent)
    async with quick_room.services.database.write(SYSTEM) as work:
        row = await work.session.get(CredentialRow, 1)
        assert row is not None
        row.secret_key_enc = row.access_key_enc = Sealer("of another time").seal("access")
    for path in (here, f"{here}/keys"):
        assert "HOLDFAST_SECRET" in await web.get(path)
    await web.post(f"{here}/keys", **sent)
    assert "HOLDFAST_SECRET" not in await web.get(here)

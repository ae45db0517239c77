"""Web of pools: the list, the forms with a try, one pool, deleting it."""

from typing import Any

import pytest
from sqlalchemy import insert, text

from holdfast.gateway.tables import MemberRow, PoolRow
from holdfast.kernel.clock import now
from tests.gateway.pages.web import ROLES, Web, column, words
from tests.gateway.room import Room

pytestmark = pytest.mark.real
NASTY = "<script>alert(1)</script>\"'{{12345*6789}}"
FORM: dict[str, Any] = {
    "name": "one",
    "type": "nanio",
    "lb_method": "least_conn",
    "keepalive": "32",
}


async def test_the_first_page_teaches_the_first_step(web: Web) -> None:
    assert "Make the first pool" in await web.get("/web/pools")
    assert "Make the first pool" not in await web.get("/web/pools", who="viewer")


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_may_look(web: Web, quick_room: Room, role: str) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    await web.get("/web/pools", who=role)
    await web.get(f"/web/pools/{pool_id}", who=role)


async def test_a_viewer_is_shown_nothing_that_would_refuse(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    shown = await web.get(f"/web/pools/{pool_id}", who="viewer")
    main = shown.partition("<main")[2].partition("</main>")[0]
    assert 'method="post"' not in main
    assert not [verb for verb in ("/edit", "/clone", "/new", "/setup") if verb in main]


@pytest.mark.parametrize("verb", ["new", "1/edit", "1/clone", "1/keys", "1/members/new"])
async def test_a_form_is_for_those_who_may_send_it(web: Web, quick_room: Room, verb: str) -> None:
    await quick_room.pool("one", "127.0.0.1:9")
    await web.get(f"/web/pools/{verb}", who="viewer", status=403)
    await web.get(f"/web/pools/{verb}", who="operator")
    await web.post(f"/web/pools/{verb}", who="viewer", status=403, **FORM)


async def test_a_pool_is_made_by_the_form(web: Web, quick_room: Room) -> None:
    answer = await web.post("/web/pools/new", **FORM, description="in hall 2")
    assert answer.headers["location"] == "/web/pools/1"
    assert quick_room.live("pools/one.conf")
    assert "in hall 2" in await web.get("/web/pools/1")


async def test_a_try_shows_the_file_and_keeps_nothing(web: Web, quick_room: Room) -> None:
    before = await quick_room.everything()
    answer = await web.post("/web/pools/new", status=200, do="preview", **FORM)
    assert "nginx -t passed" in answer.text
    assert "upstream one {" in words(answer.text)
    assert await quick_room.everything() == before


async def test_a_try_of_a_change_shows_what_changes(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9")
    changed: dict[str, Any] = {**FORM, "lb_method": "ip_hash", "do": "preview"}
    shown = await web.post("/web/pools/1/edit", status=200, **changed)
    assert "- least_conn;" in words(shown.text)
    assert "+ ip_hash;" in words(shown.text)
    same = await web.post("/web/pools/1/edit", status=200, **FORM, do="preview")
    assert "stays as it is" in same.text


async def test_what_nginx_refuses_is_shown_with_its_words(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one")
    before = await quick_room.everything()
    unknown: dict[str, Any] = {
        "address": "no-such-host.invalid:9000",
        "weight": "1",
        "max_fails": "3",
    }
    sent: dict[str, Any] = {**unknown, "fail_timeout_s": "30", "enabled": "true", "do": "preview"}
    shown = await web.post(f"/web/pools/{pool_id}/members/new", status=422, **sent)
    assert "nginx -t failed with this file" in shown.text
    assert "host not found in upstream" in words(shown.text)
    assert await quick_room.everything() == before


async def test_a_wrong_field_is_marked_and_keeps_what_was_typed(web: Web) -> None:
    sent: dict[str, Any] = {**FORM, "keepalive": "5000", "description": "kept"}
    shown = (await web.post("/web/pools/new", status=422, **sent)).text
    field = shown.partition('id="f-keepalive"')[2].partition(">")[0]
    assert 'aria-invalid="true"' in field
    assert "f-keepalive-error" in field
    assert "kept" in shown


async def test_a_field_that_the_service_refuses_is_marked(web: Web) -> None:
    shown = (await web.post("/web/pools/new", status=422, **{**FORM, "name": "a b"})).text
    assert 'aria-invalid="true"' in shown.partition('id="f-name"')[2].partition(">")[0]


async def test_a_taken_name_is_told(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one")
    shown = await web.post("/web/pools/new", status=409, **FORM)
    assert "already exists" in words(shown.text)


async def test_an_emptied_comment_is_gone(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one", description="was here")
    await web.post("/web/pools/1/edit", **FORM, description="")
    assert not (await quick_room.ok("GET", "/pools/1"))["description"]


async def test_a_clone_begins_as_the_pool_is(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one", lb_method="ip_hash", keepalive=7)
    shown = await web.get("/web/pools/1/clone")
    assert 'value="one-copy"' in shown
    assert '<option value="ip_hash" selected>' in shown
    await web.post("/web/pools/1/clone", **{**FORM, "name": "one-copy", "keepalive": "7"})
    assert (await quick_room.ok("GET", "/pools/2"))["keepalive"] == 7


async def test_deleting_needs_the_name(web: Web, quick_room: Room) -> None:
    await quick_room.pool("one")
    before = await quick_room.everything()
    await web.post("/web/pools/1/delete", status=422, confirm="on")
    await web.post("/web/pools/1/delete", status=422, other="one")
    assert await quick_room.everything() == before
    await web.post("/web/pools/1/delete", confirm="one")
    await web.get("/web/pools/1", status=404)
    assert quick_room.live("pools/one.conf") is None


async def test_a_pool_in_use_says_by_whom_and_is_not_deleted(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one")
    vhost_id = await quick_room.vhost(pool_id)
    await quick_room.route(vhost_id, "/photos/", pool_id)
    shown = words(await web.get("/web/pools/1"))
    assert "s3.local default pool" in shown
    assert "s3.local /photos/" in shown
    refused = await web.post("/web/pools/1/delete", status=409, confirm="one")
    assert "s3.local" in words(refused.text)


@pytest.mark.parametrize("path", ["/web/pools", "/web/pools/1", "/web/pools/1/edit", "/"])
async def test_what_somebody_typed_is_text(web: Web, quick_room: Room, path: str) -> None:
    await quick_room.pool("one", description=NASTY)
    shown = await web.get(path)
    assert "<script>alert" not in shown
    assert "83810205" not in shown
    assert path == "/" or "&lt;script&gt;alert(1)" in shown


async def test_the_list_searches_filters_and_sorts(web: Web, quick_room: Room) -> None:
    await quick_room.pool("beta", "127.0.0.1:91", "127.0.0.1:92")
    await quick_room.pool("alpha", "127.0.0.1:9_".replace("_", "3"), description="100% cold")
    await quick_room.pool("web", type="http")
    listed = {
        "": ["alpha 100% cold", "beta", "web"],
        "?sort=-name": ["web", "beta", "alpha 100% cold"],
        "?sort=-members": ["beta", "alpha 100% cold", "web"],
        "?type=http": ["web"],
        "?state=idle": ["web"],
        "?q=127.0.0.1:92": ["beta"],
        "?q=100%25": ["alpha 100% cold"],
        "?q=%25e%25": [],
        "?sort=bogus&page=x": ["alpha 100% cold", "beta", "web"],
    }
    for query, names in listed.items():
        assert column(await web.get(f"/web/pools{query}"), 0) == names, query


async def test_ten_thousand_pools_are_paged_with_few_statements(
    web_of_each: Web, room: Room
) -> None:
    moment = now()
    times = {"created_at": moment, "updated_at": moment}
    async with room.services.database.engine.begin() as connection:
        rows = [{"name": f"pool-{i:05d}", "type": "nanio", **times} for i in range(10_000)]
        fill = {"lb_method": "least_conn", "keepalive": 32}
        await connection.execute(insert(PoolRow), [row | fill for row in rows])
        ids = (await connection.execute(text("SELECT id FROM pool"))).scalars().all()
        member = {"role": "active", "weight": 1, "max_fails": 3, "fail_timeout_s": 30}
        members = [
            {"pool_id": number, "address": f"h{number}:{port}", "enabled": True, **member, **times}
            for number in ids
            for port in (1, 2)
        ]
        await connection.execute(insert(MemberRow), members)
    queries = ("", "?page=150", "?q=pool-07", "?q=h5:1", "?sort=-members", "?state=idle")
    for query in queries:
        with web_of_each.statements() as sent:
            shown = await web_of_each.get(f"/web/pools{query}")
        assert len([s for s in sent if "FROM pool" in s]) <= 3, sent
        assert len(sent) <= 16, sent
        assert shown.count("/web/pools/") < 80


async def test_the_overview_tells_of_pools_that_answer_nobody(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one")
    await quick_room.vhost(pool_id)
    shown = words(await web.get("/"))
    assert "Pool one has no enabled member Clients are sent to it and get 502" in shown
    await quick_room.ok("POST", f"/pools/{pool_id}/members", 201, address="127.0.0.1:9")
    assert "has no enabled member" not in await web.get("/")


async def test_the_search_finds_pools_members_and_what_one_may_do(
    web: Web, quick_room: Room
) -> None:
    await quick_room.pool("photos", "127.0.0.1:9999")
    assert "/web/pools/1" in await web.get("/web/search?q=phot")
    assert "127.0.0.1:9999" in words(await web.get("/web/search?q=:9999"))
    assert "/web/pools/new" in await web.get("/web/search?q=new+pool", who="operator")
    assert "/web/pools/new" not in await web.get("/web/search?q=new+pool", who="viewer")

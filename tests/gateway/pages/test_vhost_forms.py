"""Forms of a vhost: new, edit, clone; extra blocks; preview and test."""

from typing import Any

import pytest

from tests.gateway.pages.web import Web, words
from tests.gateway.room import HOST, Room

pytestmark = pytest.mark.real
TOP = "# mine, at the top"


def a_form(room: Room, **fields: Any) -> dict[str, Any]:
    """What a browser sends for a new vhost without TLS."""
    form = {"server_name": HOST, "listen_port": str(room.port), "enabled": "true"}
    form |= {"ip_rule_mode": "", "ip_rule_ips": "", "extra_directives": "", "default_pool_id": ""}
    return form | fields


def a_block(line: int, zone: str, content: str) -> dict[str, str]:
    """The fields of one extra block."""
    return {f"extra_blocks.{line}.zone": zone, f"extra_blocks.{line}.content": content}


@pytest.mark.parametrize("verb", ["new", "1/edit", "1/clone"])
async def test_a_form_is_for_those_who_may_send_it(web: Web, quick_room: Room, verb: str) -> None:
    await quick_room.vhost(None)
    await web.get(f"/web/vhosts/{verb}", who="viewer", status=403)
    await web.get(f"/web/vhosts/{verb}", who="operator")
    await web.post(f"/web/vhosts/{verb}", who="viewer", status=403, **a_form(quick_room))


async def test_a_vhost_is_made_by_the_form(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    form = a_form(quick_room, default_pool_id=str(pool_id), description="the store")
    form |= {"ip_rule_mode": "deny", "ip_rule_ips": "192.0.2.7\r\n10.0.0.0/8, 2001:db8::/32"}
    form |= a_block(0, "top", TOP) | a_block(1, "end", "# last") | a_block(2, "end", "# the last")
    answer = await web.post("/web/vhosts/new", **form)
    assert answer.headers["location"] == "/web/vhosts/1"
    made = await quick_room.ok("GET", "/vhosts/1")
    assert made["ip_rule_ips"] == ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"]
    assert [block["zone"] for block in made["extra_blocks"]] == ["top", "end", "end"]
    assert made["default_pool_id"] == pool_id
    assert TOP in (quick_room.live(f"vhosts/{HOST}.conf") or "")
    shown = words(await web.get("/web/vhosts/1"))
    assert "Everybody but: 192.0.2.7" in shown
    assert "the store" in shown


async def test_a_try_shows_the_file_and_keeps_nothing(web: Web, quick_room: Room) -> None:
    before = await quick_room.everything()
    form = a_form(quick_room, extra_directives="client_max_body_size 5g;")
    answer = await web.post("/web/vhosts/new", status=200, do="preview", **form)
    assert "nginx -t passed" in answer.text
    assert "client_max_body_size 5g;" in words(answer.text)
    assert await quick_room.everything() == before


@pytest.mark.parametrize("do", ["preview", ""])
async def test_what_nginx_refuses_is_shown_with_its_own_words(
    web: Web, quick_room: Room, do: str
) -> None:
    before = await quick_room.everything()
    form = a_form(quick_room, extra_directives="no_such_directive 5;", do=do)
    answer = await web.post("/web/vhosts/new", status=422, **form)
    assert "unknown directive" in words(answer.text)
    assert "no_such_directive 5;" in answer.text
    assert await quick_room.everything() == before


async def test_a_change_is_tried_beside_what_is_live(web: Web, quick_room: Room) -> None:
    await quick_room.vhost(None, extra_directives="client_max_body_size 5g;")
    form = a_form(quick_room, extra_directives="client_max_body_size 7g;", do="preview")
    answer = words((await web.post("/web/vhosts/1/edit", status=200, **form)).text)
    assert "-client_max_body_size 5g;" in answer
    assert "+client_max_body_size 7g;" in answer
    assert "7g" not in (quick_room.live(f"vhosts/{HOST}.conf") or "")


async def test_an_emptied_field_takes_away_what_was_there(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    await quick_room.vhost(
        pool_id,
        description="old",
        extra_directives="client_max_body_size 5g;",
        ip_rule_mode="allow",
        ip_rule_ips=["10.0.0.1"],
        extra_blocks=[{"zone": "top", "content": TOP}, {"zone": "end", "content": "# stays"}],
    )
    form = a_form(quick_room, description="") | a_block(0, "top", "") | a_block(1, "end", "# stays")
    await web.post("/web/vhosts/1/edit", **form)
    left = await quick_room.ok("GET", "/vhosts/1")
    assert left["extra_blocks"] == [{"zone": "end", "content": "# stays"}]
    empty = ("description", "extra_directives", "ip_rule_mode", "ip_rule_ips", "default_pool_id")
    assert [left[name] for name in empty] == [None] * 5


async def test_a_saved_form_that_changed_nothing_changes_nothing(
    web: Web, quick_room: Room
) -> None:
    await quick_room.vhost(None, extra_blocks=[{"zone": "top", "content": TOP}])
    before = await quick_room.everything()
    await web.post("/web/vhosts/1/edit", **a_form(quick_room) | a_block(0, "top", TOP))
    assert await quick_room.everything() == before


async def test_a_button_adds_a_block_and_keeps_what_was_typed(web: Web, quick_room: Room) -> None:
    form = a_form(quick_room, server_name="", description="half a form") | a_block(0, "top", TOP)
    answer = (await web.post("/web/vhosts/new", status=200, do="more", **form)).text
    assert 'name="extra_blocks.1.content"' in answer
    assert 'name="extra_blocks.2.content"' not in answer
    assert TOP in answer
    assert "half a form" in answer
    assert "aria-invalid" not in answer


async def test_a_block_without_a_place_is_told_at_that_field(web: Web, quick_room: Room) -> None:
    form = a_form(quick_room) | a_block(0, "top", "") | a_block(3, "", "# where?")
    answer = (await web.post("/web/vhosts/new", status=422, **form)).text
    start = answer.partition('aria-invalid="true"')[0]
    assert start.rpartition("<select")[2].startswith(' id="f-extra_blocks.3.zone"')


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("server_name", "no host name"),
        ("listen_port", "70000"),
        ("ip_rule_mode", "sometimes"),
        ("description", "x" * 1001),
    ],
)
async def test_a_wrong_field_is_drawn_again_with_its_words(
    web: Web, quick_room: Room, field: str, value: str
) -> None:
    before = await quick_room.everything()
    form = a_form(quick_room, **{field: value})
    answer = (await web.post("/web/vhosts/new", status=422, **form)).text
    assert f'id="f-{field}-error"' in answer
    assert answer.count("autofocus") == 1
    assert await quick_room.everything() == before


async def test_tls_without_its_files_says_what_is_missing(web: Web, quick_room: Room) -> None:
    answer = await web.post("/web/vhosts/new", status=422, **a_form(quick_room, ssl="true"))
    assert "ssl_cert_path and ssl_key_path are required" in answer.text


async def test_an_unknown_pool_is_refused(web: Web, quick_room: Room) -> None:
    form = a_form(quick_room, default_pool_id="77")
    answer = await web.post("/web/vhosts/new", status=400, **form)
    assert "Pool 77 not found" in answer.text


async def test_a_clone_begins_as_the_other_one_and_may_take_its_routes(
    web: Web, quick_room: Room
) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    await quick_room.vhost(pool_id, extra_blocks=[{"zone": "top", "content": TOP}])
    await quick_room.route(1, "/photos/", pool_id, description="holidays")
    await quick_room.route(1, "/a/b/", pool_id)
    shown = await web.get("/web/vhosts/1/clone")
    assert f'value="copy-of-{HOST}"' in shown
    assert "Copy its routes too (2)" in shown
    form = a_form(quick_room, server_name="two.local", default_pool_id=str(pool_id))
    form |= a_block(0, "top", TOP)
    await web.post("/web/vhosts/1/clone", **form, copy_routes="true")
    made = await quick_room.ok("GET", "/vhosts/2/routes")
    assert sorted(route["path_prefix"] for route in made) == ["/", "/a/b/", "/photos/"]
    assert quick_room.flags()["two.local/photos"] == "one"
    await web.post("/web/vhosts/1/clone", **form | {"server_name": "three.local"})
    assert len(await quick_room.ok("GET", "/vhosts/3/routes")) == 1


async def test_a_renamed_vhost_keeps_its_routes(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    await quick_room.vhost(pool_id)
    await quick_room.route(1, "/photos/", pool_id)
    form = a_form(quick_room, server_name="new.local", default_pool_id=str(pool_id))
    await web.post("/web/vhosts/1/edit", **form)
    assert list(quick_room.flags()) == ["new.local/photos"]
    assert quick_room.live(f"vhosts/{HOST}.conf") is None

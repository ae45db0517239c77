"""Vhosts and their routes through the API, with a real nginx behind."""

import pytest

from holdfast.gateway.api.deps import WARNING_HEADER
from tests.gateway.room import HOST, Room

pytestmark = pytest.mark.real


async def test_a_vhost_has_the_contracts_fields_and_a_root_route(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    vhost_id = await quick_room.vhost(pool_id)
    shown = await quick_room.ok("GET", f"/vhosts/{vhost_id}")
    assert (shown["ssl"], shown["enabled"], shown["extra_blocks"]) == (False, True, None)
    assert (shown["ip_rule_mode"], shown["ip_rule_ips"]) == (None, None)
    (root,) = await quick_room.ok("GET", f"/vhosts/{vhost_id}/routes")
    assert (root["path_prefix"], root["pool_name"], root["enabled"]) == ("/", "one", True)
    path = f"/vhosts/{vhost_id}/routes/{root['id']}"
    await quick_room.ok("PUT", path, 400, pool_id=pool_id, extra_directives="expires 1h")
    await quick_room.ok("DELETE", path, 400)


async def test_a_vhost_needs_certificates_with_tls(quick_room: Room) -> None:
    await quick_room.ok("POST", "/vhosts", 422, server_name="a.b")
    vhost_id = await quick_room.vhost()
    await quick_room.ok("PUT", f"/vhosts/{vhost_id}", 400, ssl=True)


async def test_names_are_unique_whatever_their_case(quick_room: Room) -> None:
    await quick_room.vhost()
    body = {"server_name": HOST.upper(), "ssl": False}
    assert (await quick_room.call("POST", "/vhosts", body)).status_code == 409


async def test_blocks_and_rules_can_be_changed_and_cleared(room: Room, echo_one: str) -> None:
    pool_id = await room.pool("one", echo_one)
    vhost_id = await room.vhost(pool_id)
    path = f"/vhosts/{vhost_id}"
    blocks = [{"zone": "end", "content": "location = /x { return 200 'block'; }"}]
    changed = await room.ok("PUT", path, extra_blocks=blocks)
    assert changed["extra_blocks"] == blocks
    assert await room.asks("/x") == "block"
    await room.ok("PUT", path, extra_blocks=[], ip_rule_mode="deny", ip_rule_ips=["127.0.0.0/8"])
    assert "403" in await room.asks("/x")
    await room.call("PUT", path, {"ip_rule_mode": None, "ip_rule_ips": None})
    assert await room.asks("/x") == "one GET /x"


async def test_a_new_default_pool_moves_the_root_route(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    await room.ok("PUT", f"/vhosts/{vhost_id}", default_pool_id=two)
    assert await room.asks("/bkt/x") == "two GET /bkt/x"
    (root,) = await room.ok("GET", f"/vhosts/{vhost_id}/routes")
    assert root["pool_id"] == two
    await room.ok("PUT", f"/vhosts/{vhost_id}", 400, default_pool_id=999)


async def test_a_renamed_vhost_takes_its_routes_along_and_leaves_nothing(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    await room.route(vhost_id, "/bkt/", two)
    await room.ok("PUT", f"/vhosts/{vhost_id}", server_name="new.local")
    assert room.live(f"vhosts/{HOST}.conf") is None
    assert room.live(f"vhosts/{HOST}.meta.json") is None
    assert room.flags() == {"new.local/bkt": "two"}
    assert await room.asks("/bkt/x", host="new.local") == "two GET /bkt/x"


async def test_a_deleted_vhost_leaves_nothing(room: Room) -> None:
    pool_id = await room.pool("one", "127.0.0.1:1")
    vhost_id = await room.vhost(pool_id)
    await room.route(vhost_id, "/bkt/", pool_id)
    await room.ok("DELETE", f"/vhosts/{vhost_id}", 204)
    assert room.flags() == {}
    assert room.live(f"vhosts/{HOST}.conf") is None
    await room.ok("DELETE", f"/pools/{pool_id}", 204)


async def test_a_preview_is_what_would_be_written(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    vhost_id = await quick_room.vhost(pool_id)
    shown = await quick_room.ok("GET", f"/vhosts/{vhost_id}/preview")
    assert shown["content"] == quick_room.live(f"vhosts/{HOST}.conf")
    assert shown["filepath"].endswith(f"/live/vhosts/{HOST}.conf")
    before = await quick_room.everything()
    draft = {
        "server_name": "draft.local",
        "ssl": False,
        "default_pool_id": pool_id,
        "routes": [{"path_prefix": "/a/b/", "pool_id": pool_id}],
    }
    shown = (await quick_room.call("POST", "/vhosts/preview", draft)).json()
    assert "server_name draft.local;" in shown["content"]
    assert "location /a/b/ {" in shown["content"]
    assert await quick_room.everything() == before


async def test_a_plain_bucket_route_is_live_without_a_generation(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    generation = room.gateway.generations.current()
    made = await room.route(vhost_id, "/bucket/", two)
    assert await room.asks("/bucket/x") == "two GET /bucket/x"
    assert await room.asks("/bucket") == "two GET /bucket"
    assert (made["bucket"], made["bucket_provisioned"]) == ("bucket", False)
    assert (made["pool_name"], made["default_pool_id"], made["enabled"]) == ("two", one, True)
    await room.ok("DELETE", f"/vhosts/{vhost_id}/routes/{made['id']}", 204)
    assert await room.asks("/bucket/x") == "one GET /bucket/x"
    assert room.gateway.generations.current() == generation


async def test_a_prefix_is_taken_once_with_or_without_its_slash(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    vhost_id = await quick_room.vhost(pool_id)
    await quick_room.route(vhost_id, "/bkt/", pool_id)
    path = f"/vhosts/{vhost_id}/routes"
    for prefix in ("/bkt/", "/bkt"):
        refused = await quick_room.ok("POST", path, 409, path_prefix=prefix, pool_id=pool_id)
        assert "already exists for this vhost" in refused["detail"]
    await quick_room.ok("POST", path, 422, path_prefix="/bkt/", pool_id=pool_id, key_prefix="a b")


@pytest.mark.parametrize("prefix", ["/", "b/", "/a//b", "/../x", "/a b/", "/a;/", "/_hf/x"])
async def test_prefixes_that_are_none_are_refused(quick_room: Room, prefix: str) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    vhost_id = await quick_room.vhost(pool_id)
    path = f"/vhosts/{vhost_id}/routes"
    await quick_room.ok("POST", path, 422, path_prefix=prefix, pool_id=pool_id)


async def test_routes_are_listed_longest_first(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    vhost_id = await quick_room.vhost(pool_id)
    for prefix in ("/bb/", "/a/b/c/", "/aa/"):
        await quick_room.route(vhost_id, prefix, pool_id)
    found = await quick_room.ok("GET", f"/vhosts/{vhost_id}/routes")
    assert [route["path_prefix"] for route in found] == ["/a/b/c/", "/aa/", "/bb/", "/"]


async def test_pool_types_are_not_mixed(quick_room: Room) -> None:
    nanio, http = await quick_room.pool("n"), await quick_room.pool("h", type="http")
    vhost_id = await quick_room.vhost(nanio)
    path = f"/vhosts/{vhost_id}/routes"
    refused = await quick_room.ok("POST", path, 400, path_prefix="/bkt/", pool_id=http)
    assert "You cannot mix pool types within a vhost." in refused["detail"]
    await quick_room.ok("POST", path, 400, path_prefix="/bkt/", pool_id=999)
    await quick_room.ok("POST", "/vhosts/999/routes", 404, path_prefix="/bkt/", pool_id=http)


async def test_directives_move_a_route_into_the_file_and_back(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    made = await room.route(vhost_id, "/bkt/", two, extra_directives="add_header X-Test yes always")
    assert "add_header X-Test yes always;" in (room.live(f"vhosts/{HOST}.conf") or "")
    assert await room.asks("/bkt/x") == "two GET /bkt/x"
    path = f"/vhosts/{vhost_id}/routes/{made['id']}"
    await room.ok("PUT", path, extra_directives="")
    assert "X-Test" not in (room.live(f"vhosts/{HOST}.conf") or "")
    assert await room.asks("/bkt/x") == "two GET /bkt/x"
    await room.ok("PUT", path, enabled=False)
    assert await room.asks("/bkt/x") == "one GET /bkt/x"
    assert '"path_prefix": "/bkt/"' in (room.live(f"vhosts/{HOST}.meta.json") or "")
    await room.ok("PUT", path, enabled=True)
    assert await room.asks("/bkt/x") == "two GET /bkt/x"


async def test_a_key_prefix_is_put_before_the_key(room: Room, echo_one: str) -> None:
    pool_id = await room.pool("one", echo_one)
    vhost_id = await room.vhost(pool_id)
    made = await room.route(vhost_id, "/files/", pool_id, key_prefix="/bucket/deep/")
    assert made["key_prefix"] == "bucket/deep"
    assert await room.asks("/files/x") == "one GET /bucket/deep/x"


async def test_an_empty_bucket_changes_its_pool_at_once_when_told_so(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    made = await room.route(vhost_id, "/bkt/", one)
    path = f"/vhosts/{vhost_id}/routes/{made['id']}"
    changed = await room.ok("PUT", path, pool_id=two, allow_orphan=True)
    assert (changed["pool_name"], changed["migration_id"]) == ("two", None)
    assert await room.asks("/bkt/x") == "two GET /bkt/x"


async def test_a_change_without_reload_waits_for_one(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one = await room.pool("one", echo_one)
    vhost_id = await room.vhost(one)
    (member,) = await room.ok("GET", f"/pools/{one}/members")
    answer = await room.client.put(
        f"/api/pools/{one}/members/{member['id']}?reload=false", json={"address": echo_two}
    )
    assert "reload" in answer.headers[WARNING_HEADER]
    assert await room.asks("/x") == "one GET /x"
    await room.route(vhost_id, "/bkt/", one)
    assert await room.asks("/x") == "two GET /x"

"""Pools, members, credentials and node set-ups through the API."""

import pytest

from tests.gateway.room import Room

pytestmark = pytest.mark.real


async def test_a_pool_with_a_member_serves_as_soon_as_the_calls_return(
    room: Room, echo_one: str
) -> None:
    pool_id = await room.pool("one", echo_one)
    await room.vhost(pool_id)
    assert await room.asks("/bkt/x") == "one GET /bkt/x"
    assert (await room.ok("GET", f"/pools/{pool_id}"))["name"] == "one"


async def test_a_new_pool_has_the_contracts_fields(quick_room: Room) -> None:
    made = await quick_room.ok("POST", "/pools", 201, name="a.b_c-1", unknown="ignored")
    assert made["type"] == "nanio"
    assert made["lb_method"] == "least_conn"
    assert (made["keepalive"], made["description"]) == (32, None)
    assert made["source_nanio_pool_id"] is None
    assert len(made["created_at"]) == len("YYYY-MM-DD HH:MM:SS")
    assert quick_room.live("pools/a.b_c-1.meta.json")


async def test_pools_are_listed_by_name_in_pages(quick_room: Room) -> None:
    for name in ("b", "c", "a"):
        await quick_room.pool(name)
    answer = await quick_room.call("GET", "/pools", limit=2, offset=1)
    assert [pool["name"] for pool in answer.json()] == ["b", "c"]
    assert answer.headers["X-Total-Count"] == "3"


async def test_a_renamed_pool_leaves_no_file_and_goes_on_serving(room: Room, echo_one: str) -> None:
    pool_id = await room.pool("one", echo_one)
    vhost_id = await room.vhost(pool_id)
    await room.route(vhost_id, "/bkt/", pool_id)
    await room.ok("PUT", f"/pools/{pool_id}", name="new.name")
    assert room.live("pools/one.conf") is None
    assert room.live("pools/one.meta.json") is None
    assert await room.asks("/bkt/x") == "one GET /bkt/x"
    assert await room.asks("/other") == "one GET /other"
    assert list(room.flags().values()) != ["one"]


async def test_an_empty_change_changes_nothing(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one")
    before = await quick_room.everything()
    await quick_room.call("PUT", f"/pools/{pool_id}", {})
    await quick_room.call("PUT", f"/pools/{pool_id}", {"name": None})
    assert await quick_room.everything() == before


async def test_a_pool_in_use_cannot_be_deleted(quick_room: Room) -> None:
    one, two = await quick_room.pool("one"), await quick_room.pool("two")
    vhost_id = await quick_room.vhost(one)
    route = await quick_room.route(vhost_id, "/bkt/", two)
    refused = await quick_room.ok("DELETE", f"/pools/{one}", 409)
    assert "default pool for vhost(s): s3.local" in refused["detail"]
    refused = await quick_room.ok("DELETE", f"/pools/{two}", 409)
    assert "referenced by routes on vhost(s): s3.local" in refused["detail"]
    await quick_room.ok("DELETE", f"/vhosts/{vhost_id}/routes/{route['id']}", 204)
    await quick_room.ok("DELETE", f"/pools/{two}", 204)
    await quick_room.ok("GET", f"/pools/{two}", 404)
    assert quick_room.live("pools/two.conf") is None


async def test_the_last_member_can_go(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1")
    await quick_room.vhost(pool_id)
    (member,) = await quick_room.ok("GET", f"/pools/{pool_id}/members")
    await quick_room.ok("DELETE", f"/pools/{pool_id}/members/{member['id']}", 204)
    assert "502" in await quick_room.asks("/bkt/x")


async def test_roles_suit_the_type_and_have_a_default(quick_room: Room) -> None:
    nanio, http = await quick_room.pool("n"), await quick_room.pool("h", type="http")
    path = f"/pools/{http}/members"
    made = await quick_room.ok("POST", path, 201, address="127.0.0.1:1")
    assert made["role"] == "primary"
    await quick_room.ok("POST", path, 201, address="127.0.0.1:2", role="replica")
    await quick_room.ok("POST", path, 400, address="127.0.0.1:3", role="active")
    path = f"/pools/{nanio}/members"
    refused = await quick_room.ok("POST", path, 400, address="127.0.0.1:1", role="replica")
    assert "all members are active" in refused["detail"]
    await quick_room.ok("PUT", f"/pools/{http}", 400, type="nanio")


async def test_an_address_is_named_once(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:1", "127.0.0.1:2")
    path = f"/pools/{pool_id}/members"
    await quick_room.ok("POST", path, 409, address=" 127.0.0.1:1 ")
    (_, second) = await quick_room.ok("GET", path)
    await quick_room.ok("PUT", f"{path}/{second['id']}", 409, address="127.0.0.1:1")


async def test_a_change_of_a_member_is_live(room: Room, echo_one: str, echo_two: str) -> None:
    pool_id = await room.pool("one", echo_one)
    await room.vhost(pool_id)
    (member,) = await room.ok("GET", f"/pools/{pool_id}/members")
    path = f"/pools/{pool_id}/members/{member['id']}"
    changed = await room.ok("PUT", path, address=echo_two, weight=7)
    assert changed["weight"] == 7
    assert await room.asks("/x") == "two GET /x"
    await room.ok("GET", f"/pools/{pool_id}/members/999", 404)


async def test_credentials_are_sealed_and_masked(room: Room) -> None:
    pool_id = await room.pool("one")
    path = f"/pools/{pool_id}/credentials"
    shown = await room.ok("GET", path)
    assert (shown["source"], shown["access_key_masked"]) == ("global", "(not set)")
    stored = await room.ok("PUT", path, access_key="AKIA1234", secret_key="very-secret")
    assert (stored["source"], stored["access_key_masked"]) == ("pool", "AKIA****")
    assert stored["region"] == "us-east-1"
    sidecar = room.live("pools/one.meta.json") or ""
    assert "access_key_enc" in sidecar
    assert "AKIA1234" not in sidecar
    assert "very-secret" not in sidecar
    assert await room.ok("DELETE", path) == {"ok": True, "pool_id": pool_id}
    await room.ok("DELETE", path, 404)
    assert "access_key_enc" not in (room.live("pools/one.meta.json") or "")


async def test_a_change_of_a_sidecar_alone_does_not_reload_nginx(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one")
    nginx = quick_room.gateway.nginx
    loaded = (await nginx.status()).loaded_generation
    answer = await quick_room.call(
        "PUT", f"/pools/{pool_id}/credentials", {"access_key": "a", "secret_key": "b"}
    )
    assert answer.status_code == 200
    assert (await nginx.status()).loaded_generation == loaded
    assert quick_room.gateway.generations.current() == (loaded or 0) + 1


async def test_credentials_are_for_nanio_pools(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", type="http")
    refused = await quick_room.ok("GET", f"/pools/{pool_id}/credentials", 400)
    assert "Pool 'one' is of type 'http'" in refused["detail"]


@pytest.mark.parametrize(
    ("node_type", "files"),
    [
        ("nanio-only", ["/etc/nanio/options.toml", "/etc/systemd/system/nanio.service"]),
        ("nginx-only", ["/etc/nginx/conf.d/nanio-serve.conf"]),
        (
            "nginx-nanio",
            [
                "/etc/nanio/options.toml",
                "/etc/systemd/system/nanio.service",
                "/etc/nginx/conf.d/nanio-proxy.conf",
            ],
        ),
    ],
)
async def test_node_set_ups_are_made_and_kept_without_keys(
    quick_room: Room, node_type: str, files: list[str]
) -> None:
    pool_id = await quick_room.pool("one", "10.0.0.5:9000")
    (member,) = await quick_room.ok("GET", f"/pools/{pool_id}/members")
    path = f"/pools/{pool_id}/members/{member['id']}/node-config"
    body = {"node_type": node_type, "access_key": "AKIAX", "secret_key": "s3cr3t"}
    made = (await quick_room.call("POST", path, body)).json()
    assert [file["path"] for file in made["files"]] == files
    asked = await quick_room.call("GET", path, type=node_type)
    assert [file["path"] for file in asked.json()["files"]] == files
    (shown,) = await quick_room.ok("GET", f"/pools/{pool_id}/node-config-summary")
    assert shown["member"]["address"] == "10.0.0.5:9000"
    assert len(shown["recent_configs"]) == 2
    assert "s3cr3t" not in str(shown)
    assert (await quick_room.call("GET", path, type="other")).status_code == 400
    keyless = {"node_type": node_type, "access_key": None, "secret_key": None}
    assert (await quick_room.call("POST", path, keyless)).status_code == 200
    await quick_room.ok("POST", path, 422, node_type="other")
    await quick_room.ok("POST", path, 422, node_type="nginx-only", data_dir="/d; } evil {")


async def test_nginx_and_nanio_never_get_the_same_port(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "10.0.0.5:9000")
    (member,) = await quick_room.ok("GET", f"/pools/{pool_id}/members")
    path = f"/pools/{pool_id}/members/{member['id']}/node-config"
    made = (await quick_room.call("POST", path, {"node_type": "nginx-nanio"})).json()
    options, _, proxy = (file["content"] for file in made["files"])
    assert "port = 9001" in options
    assert "server 127.0.0.1:9001;" in proxy
    assert "listen 9000;" in proxy
    refused = await quick_room.ok("POST", path, 422, node_type="nginx-nanio", nanio_port=9000)
    assert "nanio_port" in refused["detail"]
    alone = (await quick_room.call("POST", path, {"node_type": "nanio-only"})).json()
    assert "port = 9000" in alone["files"][0]["content"]

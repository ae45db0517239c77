"""What is stored, what is on disk and what nginx runs with are one thing, whatever is refused."""

import asyncio
import shutil
from pathlib import Path

import pytest

from holdfast.gateway.api.deps import WARNING_HEADER
from holdfast.gateway.flags import Flag
from holdfast.gateway.tables import RouteRow
from holdfast.kernel.work import SYSTEM
from tests.gateway.room import HOST, Room, open_room

pytestmark = pytest.mark.real

INJECTIONS = [
    "127.0.0.1:1; } server {",
    "a\nb;",
    "x;",
    "a{b",
    "}",
    '"',
    "a'b",
    "$hf_pool",
    "..",
    "../../etc/passwd",
    "a b",
    "a\\",
    "a#b",
    "\0",
]


async def with_pool_and_vhost(room: Room) -> tuple[int, int]:
    pool_id = await room.pool("one", "127.0.0.1:1")
    return pool_id, await room.vhost(pool_id)


async def test_what_nginx_refuses_changes_nothing_anywhere(room: Room, echo_one: str) -> None:
    pool_id = await room.pool("one", echo_one)
    vhost_id = await room.vhost(pool_id)
    before = await room.everything()
    refused = await room.call(
        "PUT", f"/vhosts/{vhost_id}", {"server_name": "x.y", "extra_directives": "no_such 1;"}
    )
    assert refused.status_code == 422
    assert 'unknown directive "no_such"' in refused.json()["details"]
    assert refused.json()["code"] == "nginx_refused"
    assert await room.everything() == before
    assert await room.asks("/x") == "one GET /x"
    await room.route(vhost_id, "/files/", pool_id, key_prefix="still/works")


async def test_a_port_that_is_taken_is_refused_and_changes_nothing(
    quick_room: Room, echo_one: str, echo_two: str
) -> None:
    pool_id = await quick_room.pool("one", echo_one)
    vhost_id = await quick_room.vhost(pool_id)
    before = await quick_room.everything()
    taken = int(echo_two.rpartition(":")[2])
    refused = await quick_room.call("PUT", f"/vhosts/{vhost_id}", {"listen_port": taken})
    assert refused.status_code == 422
    assert f":{taken} failed (98: Address already in use)" in refused.json()["details"]
    assert await quick_room.everything() == before
    assert await quick_room.asks("/x") == "one GET /x"


async def test_a_rehearsal_changes_nothing_and_tells_what_nginx_says(quick_room: Room) -> None:
    pool_id, vhost_id = await with_pool_and_vhost(quick_room)
    before = await quick_room.everything()
    path = f"/api/vhosts/{vhost_id}?dry_run=true"
    assert (await quick_room.client.put(path, json={"server_name": "x.y"})).status_code == 200
    bad = {"extra_directives": "no_such 1;"}
    assert (await quick_room.client.put(path, json=bad)).status_code == 422
    path = f"/api/vhosts/{vhost_id}/routes?dry_run=true"
    body = {"path_prefix": "/bucket/", "pool_id": pool_id}
    assert (await quick_room.client.post(path, json=body)).status_code == 201
    assert await quick_room.everything() == before


@pytest.mark.parametrize("bad", INJECTIONS)
async def test_no_field_leaves_its_place(quick_room: Room, bad: str) -> None:
    pool_id, vhost_id = await with_pool_and_vhost(quick_room)
    (member,) = await quick_room.ok("GET", f"/pools/{pool_id}/members")
    before = await quick_room.everything()
    node = f"/pools/{pool_id}/members/{member['id']}/node-config"
    attempts = [
        ("POST", "/pools", {"name": bad}),
        ("PUT", f"/pools/{pool_id}", {"name": bad}),
        ("PUT", f"/pools/{pool_id}", {"lb_method": bad}),
        ("POST", f"/pools/{pool_id}/members", {"address": bad}),
        ("POST", f"/pools/{pool_id}/members", {"address": f"127.0.0.1:80{bad}"}),
        ("PUT", f"/pools/{pool_id}/members/{member['id']}", {"address": bad}),
        ("POST", "/vhosts", {"server_name": bad, "ssl": False}),
        ("PUT", f"/vhosts/{vhost_id}", {"server_name": f"a{bad}"}),
        ("PUT", f"/vhosts/{vhost_id}", {"ip_rule_mode": "deny", "ip_rule_ips": [bad]}),
        ("PUT", f"/vhosts/{vhost_id}", {"ssl": True, "ssl_cert_path": bad, "ssl_key_path": "/k"}),
        ("POST", f"/vhosts/{vhost_id}/routes", {"path_prefix": f"/{bad}/", "pool_id": pool_id}),
        (
            "POST",
            f"/vhosts/{vhost_id}/routes",
            {"path_prefix": "/a/b/", "pool_id": pool_id, "key_prefix": bad},
        ),
        (
            "PUT",
            f"/pools/{pool_id}/credentials",
            {"access_key": "a", "secret_key": "b", "region": bad},
        ),
        (
            "PUT",
            f"/pools/{pool_id}/credentials",
            {"access_key": "a", "secret_key": "b", "endpoint_url": f"http://h{bad}"},
        ),
        ("POST", node, {"node_type": "nanio-only", "data_dir": f"/{bad}"}),
        ("POST", node, {"node_type": "nanio-only", "nanio_region": bad}),
        ("POST", node, {"node_type": "nanio-only", "nanio_host": bad}),
    ]
    for method, path, body in attempts:
        answer = await quick_room.call(method, path, body)
        assert answer.status_code == 422, (path, body, answer.text)
    assert await quick_room.everything() == before


@pytest.mark.parametrize(
    "text",
    [
        "} server { listen 1; }",
        "expires 1h; }",
        "include /etc/passwd;",
        "proxy_pass http://127.0.0.1:1;",
        "return 200 'a",
        "perl 'x';",
    ],
)
async def test_raw_text_stays_in_its_block(quick_room: Room, text: str) -> None:
    pool_id, vhost_id = await with_pool_and_vhost(quick_room)
    before = await quick_room.everything()
    path = f"/vhosts/{vhost_id}"
    attempts = [
        ("PUT", path, {"extra_directives": text}),
        ("PUT", path, {"extra_blocks": [{"zone": "end", "content": text}]}),
        (
            "POST",
            f"{path}/routes",
            {"path_prefix": "/bucket/", "pool_id": pool_id, "extra_directives": text},
        ),
    ]
    for method, where, body in attempts:
        answer = await quick_room.call(method, where, body)
        assert answer.status_code == 422, (body, answer.text)
    assert await quick_room.everything() == before


@pytest.mark.parametrize("ip", ["999.1.1.1/99", "deed", "10.0.0.1/8", "::1/200"])
async def test_rules_are_real_addresses(quick_room: Room, ip: str) -> None:
    _, vhost_id = await with_pool_and_vhost(quick_room)
    body = {"ip_rule_mode": "allow", "ip_rule_ips": [ip]}
    assert (await quick_room.call("PUT", f"/vhosts/{vhost_id}", body)).status_code == 422


async def test_without_the_include_line_changes_are_kept_and_the_answer_tells(
    sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "holdfast.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/holdfast.db"
    async with open_room(url, tmp_path, include=False) as room:
        answer = await room.call("POST", "/pools", {"name": "one"})
        assert answer.status_code == 201
        assert "include" in answer.headers[WARNING_HEADER]
        assert room.live("pools/one.conf")


async def test_without_a_running_nginx_changes_are_tested_and_kept(
    sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "holdfast.db")
    url = f"sqlite+aiosqlite:///{tmp_path}/holdfast.db"
    async with open_room(url, tmp_path, running=False) as room:
        answer = await room.call("POST", "/pools", {"name": "one"})
        assert "not running" in answer.headers[WARNING_HEADER]
        vhost = {"server_name": "a.b", "ssl": False, "extra_directives": "no_such 1;"}
        assert (await room.call("POST", "/vhosts", vhost)).status_code == 422
        audits = await room.ok("GET", "/pools")
        assert [pool["name"] for pool in audits] == ["one"]


async def test_calls_at_the_same_time_are_all_kept(room: Room, echo_one: str) -> None:
    pool_id = await room.pool("one", echo_one)
    vhost_id = await room.vhost(pool_id)
    numbers = range(6)
    async with asyncio.TaskGroup() as group:
        for n in numbers:
            group.create_task(room.route(vhost_id, f"/bucket{n}/", pool_id))
            group.create_task(room.route(vhost_id, f"/deep/{n}/", pool_id))
            group.create_task(room.pool(f"pool{n}"))
    assert set(room.flags()) == {f"{HOST}/bucket{n}" for n in numbers}
    conf = room.live(f"vhosts/{HOST}.conf") or ""
    assert all(f"location /deep/{n}/ {{" in conf for n in numbers)
    assert all(room.live(f"pools/pool{n}.conf") for n in numbers)
    assert await room.asks("/deep/3/x") == "one GET /deep/3/x"


async def test_one_of_two_calls_for_the_same_name_is_refused(room: Room) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(room.call("POST", "/pools", {"name": "same"})) for _ in range(3)]
    assert sorted(task.result().status_code for task in tasks) == [201, 409, 409]


async def test_a_flag_that_a_migration_has_in_hand_is_left_alone(quick_room: Room) -> None:
    pool_id, vhost_id = await with_pool_and_vhost(quick_room)
    two = await quick_room.pool("two", "127.0.0.1:2")
    made = await quick_room.route(vhost_id, "/bucket/", pool_id)
    async with quick_room.services.database.write(SYSTEM) as work:
        route = await work.session.get(RouteRow, made["id"])
        assert route is not None
        route.migration_id = 7
    quick_room.gateway.flags.set_flag(HOST, "bucket", Flag.parse("e5.src.one.two"))
    before = await quick_room.everything()
    path = f"/vhosts/{vhost_id}/routes/{made['id']}"
    await quick_room.ok("PUT", path, 409, pool_id=two)
    await quick_room.ok("DELETE", path, 409)
    await quick_room.ok("DELETE", f"/vhosts/{vhost_id}", 409)
    await quick_room.ok("PUT", f"/vhosts/{vhost_id}", 409, server_name="other.local")
    assert await quick_room.everything() == before


async def test_two_hundred_vhosts_are_one_generation_and_one_reload(
    quick_room: Room, echo_one: str
) -> None:
    await quick_room.pool("one", echo_one)
    first = quick_room.gateway.generations.current() or 0
    operations = [
        {
            "op": "create",
            "kind": "vhost",
            "server_name": f"v{n}.local",
            "ssl": False,
            "listen_port": quick_room.port,
            "default_pool": "one",
        }
        for n in range(200)
    ]
    answer = await quick_room.call("POST", "/config/batch", {"operations": operations})
    assert len(answer.json()["results"]) == 200
    assert quick_room.gateway.generations.current() == first + 1
    assert await quick_room.asks("/x", host="v199.local") == "one GET /x"
    operations = [
        {
            "op": "create",
            "kind": "route",
            "vhost": f"v{n}.local",
            "pool": "one",
            "path_prefix": "/bucket/",
        }
        for n in range(200)
    ]
    await quick_room.ok("POST", "/config/batch", operations=operations)
    assert quick_room.gateway.generations.current() == first + 1
    assert len(quick_room.flags()) == 200

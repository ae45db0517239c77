"""Many changes in one call: all of them, or none."""

import pytest

from tests.gateway.room import HOST, Json, Room

pytestmark = pytest.mark.real


async def batch(room: Room, *operations: dict[str, Json], status: int = 200) -> Json:
    answer = await room.call("POST", "/config/batch", {"operations": operations})
    assert answer.status_code == status, answer.text
    return answer.json()


def a_vhost(room: Room, **fields: Json) -> dict[str, Json]:
    basic = {"op": "create", "kind": "vhost", "server_name": HOST, "ssl": False}
    return {**basic, "listen_port": room.port, **fields}


async def test_a_batch_uses_what_it_makes(room: Room, echo_one: str, echo_two: str) -> None:
    made = await batch(
        room,
        {"op": "create", "kind": "pool", "name": "one"},
        {"op": "create", "kind": "member", "pool": "one", "address": echo_one},
        {"op": "create", "kind": "pool", "name": "two"},
        {"op": "create", "kind": "member", "pool": "two", "address": echo_two},
        {
            "op": "create",
            "kind": "credentials",
            "pool": "two",
            "access_key": "a",
            "secret_key": "b",
        },
        a_vhost(room, default_pool="one"),
        {"op": "create", "kind": "route", "vhost": HOST, "pool": "two", "path_prefix": "/bucket/"},
    )
    assert [item["index"] for item in made["results"]] == list(range(7))
    assert (made["ok"], made["dry_run"]) == (True, False)
    assert await room.asks("/bucket/x") == "two GET /bucket/x"
    assert await room.asks("/other") == "one GET /other"
    assert len(room.gateway.generations.history()) == 3  # the first two are empty


async def test_a_batch_changes_and_deletes_by_name(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one, two = await room.pool("one", echo_one), await room.pool("two", echo_two)
    vhost_id = await room.vhost(one)
    await room.route(vhost_id, "/bucket/", two)
    await batch(
        room,
        {"op": "update", "kind": "vhost", "vhost": HOST, "default_pool": "two"},
        {"op": "update", "kind": "pool", "pool": "two", "name": "three"},
        {"op": "update", "kind": "member", "pool": "three", "member": echo_two, "weight": 5},
        {"op": "delete", "kind": "route", "vhost": HOST, "route": "/bucket"},
        {"op": "delete", "kind": "pool", "pool": "one"},
    )
    assert await room.asks("/bucket/x") == "two GET /bucket/x"
    assert [pool["name"] for pool in await room.ok("GET", "/pools")] == ["three"]
    assert room.flags() == {}


async def test_an_error_names_its_operation_and_nothing_is_kept(room: Room) -> None:
    before = await room.everything()
    refused = await batch(
        room,
        {"op": "create", "kind": "pool", "name": "one"},
        a_vhost(room, default_pool="one"),
        {"op": "create", "kind": "route", "vhost": HOST, "pool": "one", "path_prefix": "/aa/"},
        {"op": "create", "kind": "route", "vhost": HOST, "pool": "one", "path_prefix": "/aa"},
        status=409,
    )
    assert refused["details"]["index"] == 3
    assert refused["detail"].startswith("operations[3] (create route): Route with prefix '/aa'")
    assert await room.everything() == before


async def test_a_field_that_does_not_fit_is_told_with_its_place(quick_room: Room) -> None:
    refused = await batch(
        quick_room,
        {"op": "create", "kind": "pool", "name": "one"},
        {"op": "create", "kind": "member", "pool": "one", "address": "h:1", "weight": 101},
        status=422,
    )
    assert refused["detail"][0]["loc"] == ["body", "operations", 1, "weight"]


async def test_a_refusal_of_nginx_keeps_nothing_of_a_batch(quick_room: Room) -> None:
    before = await quick_room.everything()
    refused = await batch(
        quick_room,
        {"op": "create", "kind": "pool", "name": "one"},
        a_vhost(quick_room, default_pool="one", extra_directives="no_such 1;"),
        {"op": "create", "kind": "route", "vhost": HOST, "pool": "one", "path_prefix": "/aa/"},
        status=422,
    )
    assert "no_such" in refused["details"]
    assert await quick_room.everything() == before
    assert quick_room.flags() == {}


async def test_a_rehearsed_batch_keeps_nothing(quick_room: Room) -> None:
    before = await quick_room.everything()
    operations = [{"op": "create", "kind": "pool", "name": "one"}, a_vhost(quick_room)]
    answer = await quick_room.client.post(
        "/api/config/batch?dry_run=true", json={"operations": operations}
    )
    assert answer.json()["dry_run"] is True
    assert await quick_room.everything() == before


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "update", "kind": "pool", "pool": "none"}, 404),
        ({"op": "update", "kind": "pool"}, 400),
        ({"op": "delete", "kind": "route", "vhost": "none", "route": "/a"}, 404),
        ({"op": "explode", "kind": "pool"}, 422),
        ({"op": "create", "kind": "thing"}, 422),
        ({"op": "create", "kind": "pool"}, 422),
    ],
)
async def test_operations_that_are_none(
    quick_room: Room, operation: dict[str, Json], status: int
) -> None:
    await batch(quick_room, operation, status=status)


async def test_a_thousand_routes_are_one_change(room: Room) -> None:
    pool_id = await room.pool("one", "127.0.0.1:1")
    await room.vhost(pool_id)
    generation = room.gateway.generations.current()
    routes = [
        {"op": "create", "kind": "route", "vhost": HOST, "pool": "one", "path_prefix": f"/b{n}/"}
        for n in range(1000)
    ]
    made = await batch(room, *routes)
    assert len({item["id"] for item in made["results"]}) == 1000
    assert room.gateway.generations.current() == generation
    assert len(room.flags()) == 1000

"""Pages of a vhost's routes: the table, the forms, what is live at once, bulk changes."""

from typing import Any

import pytest
from sqlalchemy import insert

from holdfast.gateway.tables import RouteRow, derived_columns
from holdfast.kernel.clock import now
from tests.gateway.pages.web import Web, column, words
from tests.gateway.room import HOST, Room

pytestmark = pytest.mark.real
ROUTES = "/web/vhosts/1/routes"
MANY = 10_000


async def a_vhost(room: Room) -> tuple[int, int]:
    """Vhost 1 with a default pool, and another pool: both ids."""
    one = await room.pool("one", "127.0.0.1:9")
    two = await room.pool("two", "127.0.0.1:10")
    await room.vhost(one)
    return one, two


def a_form(pool_id: int, prefix: str = "/photos/", **fields: Any) -> dict[str, Any]:
    """What a browser sends for an enabled route."""
    form = {"path_prefix": prefix, "pool_id": str(pool_id), "enabled": "true"}
    return form | {"description": "", "key_prefix": "", "extra_directives": ""} | fields


@pytest.mark.parametrize("verb", ["new", "2/edit", "2/clone"])
async def test_a_form_is_for_those_who_may_send_it(web: Web, quick_room: Room, verb: str) -> None:
    _, two = await a_vhost(quick_room)
    await quick_room.route(1, "/photos/", two)
    await web.get(f"{ROUTES}/{verb}", who="viewer", status=403)
    await web.get(f"{ROUTES}/{verb}", who="operator")
    await web.post(f"{ROUTES}/{verb}", who="viewer", status=403, **a_form(two))


async def test_a_buckets_route_is_live_at_once_and_says_so(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    before = quick_room.gateway.generations.current()
    answer = await web.post(f"{ROUTES}/new", **a_form(two))
    assert answer.headers["location"] == "/web/vhosts/1#routes"
    assert "without%20a%20reload" in answer.headers["set-cookie"]
    assert quick_room.flags() == {f"{HOST}/photos": "two"}
    assert quick_room.gateway.generations.current() == before
    assert column(await web.get("/web/vhosts/1"), 4) == ["at once"]


async def test_a_clone_begins_as_another_route_is_and_has_a_prefix_of_its_own(
    web: Web, quick_room: Room
) -> None:
    _, two = await a_vhost(quick_room)
    lines = "client_max_body_size 50g;"
    await quick_room.route(1, "/photos/2026/", two, extra_directives=lines)
    assert f'href="{ROUTES}/2/clone"' in await web.get("/web/vhosts/1")
    form = await web.get(f"{ROUTES}/2/clone")
    assert lines in form
    assert f'<option value="{two}" selected>' in form
    await web.post(f"{ROUTES}/2/clone", status=409, **a_form(two, "/photos/2026/"))
    sent = a_form(two, "/videos/2026/", extra_directives=lines)
    await web.post(f"{ROUTES}/2/clone", **sent)
    listed = await quick_room.ok("GET", "/vhosts/1/routes")
    copies = [one for one in listed if one["extra_directives"] == lines]
    assert sorted(one["path_prefix"] for one in copies) == ["/photos/2026/", "/videos/2026/"]


async def test_a_route_in_a_file_does_not_say_that(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    answer = await web.post(f"{ROUTES}/new", **a_form(two, "/photos/2026/"))
    assert "without%20a%20reload" not in answer.headers["set-cookie"]
    assert column(await web.get("/web/vhosts/1"), 4) == ["by a reload"]


async def test_a_try_of_a_buckets_route_says_that_no_file_changes(
    web: Web, quick_room: Room
) -> None:
    _, two = await a_vhost(quick_room)
    before = await quick_room.everything()
    answer = await web.post(f"{ROUTES}/new", status=200, do="preview", **a_form(two))
    assert "without a reload of nginx: no file changes" in words(answer.text)
    assert await quick_room.everything() == before


async def test_a_try_of_another_route_shows_the_file(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    before = await quick_room.everything()
    form = a_form(two, extra_directives="client_max_body_size 9g;", do="preview")
    answer = words((await web.post(f"{ROUTES}/new", status=200, **form)).text)
    assert "nginx -t passed" in answer
    assert "client_max_body_size 9g;" in answer
    assert await quick_room.everything() == before


async def test_what_nginx_refuses_is_shown_with_its_own_words(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    before = await quick_room.everything()
    form = a_form(two, extra_directives="no_such_directive 9;")
    answer = await web.post(f"{ROUTES}/new", status=422, **form)
    assert "unknown directive" in words(answer.text)
    assert await quick_room.everything() == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("path_prefix", "/a b/"), ("path_prefix", ""), ("pool_id", "x"), ("key_prefix", "a;b")],
)
async def test_a_wrong_field_is_drawn_again_with_its_words(
    web: Web, quick_room: Room, field: str, value: str
) -> None:
    _, two = await a_vhost(quick_room)
    before = await quick_room.everything()
    form = a_form(two) | {field: value}
    answer = (await web.post(f"{ROUTES}/new", status=422, **form)).text
    assert f'id="f-{field}-error"' in answer
    assert 'aria-invalid="true"' in answer
    assert await quick_room.everything() == before


async def test_a_second_route_at_one_place_is_refused(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    await quick_room.route(1, "/photos/", two)
    answer = await web.post(f"{ROUTES}/new", status=409, **a_form(two, "/photos"))
    assert "already exists" in answer.text


async def test_the_form_begins_with_the_bucket_of_the_address(web: Web, quick_room: Room) -> None:
    await a_vhost(quick_room)
    assert 'value="/photos/"' in await web.get(f"{ROUTES}/new?bucket=photos")


async def test_a_route_is_changed_and_emptied(web: Web, quick_room: Room) -> None:
    one, two = await a_vhost(quick_room)
    fields = {"description": "old", "extra_directives": "client_max_body_size 9g;"}
    made = await quick_room.route(1, "/photos/", two, **fields)
    assert "client_max_body_size 9g;" in await web.get(f"{ROUTES}/{made['id']}/edit")
    await web.post(f"{ROUTES}/{made['id']}/edit", **a_form(one, allow_orphan="true"))
    left = await quick_room.ok("GET", f"/vhosts/1/routes/{made['id']}")
    assert (left["pool_id"], left["description"], left["extra_directives"]) == (one, None, None)
    assert quick_room.flags() == {f"{HOST}/photos": "one"}


async def test_a_pool_that_does_not_answer_is_not_left_by_a_guess(
    web: Web, quick_room: Room
) -> None:
    one, two = await a_vhost(quick_room)
    made = await quick_room.route(1, "/photos/", two)
    await quick_room.ok(
        "PUT", f"/pools/{two}/credentials", access_key="a", secret_key="b" * 8
    )  # fmt: skip
    before = await quick_room.everything()
    answer = await web.clients["admin"].post(f"{ROUTES}/{made['id']}/edit", data=a_form(one))
    assert answer.status_code in {502, 503}
    assert await quick_room.everything() == before


async def test_a_route_is_switched_off_and_on_and_deleted(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    made = await quick_room.route(1, "/photos/", two)
    await web.post(f"{ROUTES}/{made['id']}/disable")
    assert quick_room.flags() == {}
    await web.post(f"{ROUTES}/{made['id']}/enable")
    assert quick_room.flags() == {f"{HOST}/photos": "two"}
    await web.post(f"{ROUTES}/{made['id']}/delete")
    assert quick_room.flags() == {}
    assert "No routes yet" in await web.get("/web/vhosts/1")


async def test_chosen_routes_are_switched_together(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    ids = [(await quick_room.route(1, f"/b{n}00/", two))["id"] for n in range(3)]
    answer = await web.post(f"{ROUTES}/enabled?q=b", chosen=ids[:2], do="disable")
    assert answer.headers["location"] == "/web/vhosts/1?q=b#routes"
    assert list(quick_room.flags()) == [f"{HOST}/b200"]
    assert column(await web.get("/web/vhosts/1"), 3) == ["disabled", "disabled", "enabled"]
    await web.post(f"{ROUTES}/enabled", chosen=ids, do="enable")
    assert len(quick_room.flags()) == 3


async def test_routes_of_another_vhost_are_not_reached(web: Web, quick_room: Room) -> None:
    _, two = await a_vhost(quick_room)
    await quick_room.vhost(two, "other.local")
    made = await quick_room.route(2, "/photos/", two)
    before = await quick_room.everything()
    await web.post(f"{ROUTES}/enabled", status=404, chosen=str(made["id"]), do="disable")
    await web.post(f"{ROUTES}/{made['id']}/disable", status=404)
    await web.post(f"{ROUTES}/{made['id']}/delete", status=404)
    await web.get(f"{ROUTES}/{made['id']}/edit", status=404)
    assert await quick_room.everything() == before


async def test_the_route_of_the_default_pool_is_not_changed_here(
    web: Web, quick_room: Room
) -> None:
    await a_vhost(quick_room)
    (root,) = await quick_room.ok("GET", "/vhosts/1/routes")
    for verb in ("disable", "delete"):
        answer = await web.post(f"{ROUTES}/{root['id']}/{verb}", status=400)
        assert "follows the vhost&#39;s default pool" in answer.text
    assert "/disable" not in (await web.get("/web/vhosts/1")).partition('id="routes"')[2]


async def test_ten_thousand_routes_are_listed_with_a_few_statements(
    web: Web, quick_room: Room
) -> None:
    _, two = await a_vhost(quick_room)
    moment = now()
    lines: list[dict[str, Any]] = [
        {
            "vhost_id": 1,
            "path_prefix": f"/bucket-{number:05d}/",
            "pool_id": two,
            "key_prefix": None,
            "extra_directives": None,
            "enabled": True,
            "description": None,
            "created_at": moment,
            "updated_at": moment,
        }
        for number in range(MANY)
    ]
    async with quick_room.services.database.engine.begin() as connection:
        await connection.execute(
            insert(RouteRow), [line | derived_columns(**line) for line in lines]
        )
    for query in ("", "page=150", "q=bucket-099", "sort=-pool", "kind=flag"):
        with web.statements() as found:
            shown = await web.get(f"/web/vhosts/1?{query}")
        assert len([one for one in found if one.startswith("SELECT")]) < 25, found
        assert len(column(shown, 1)) == 50
    assert "of 10\u202f000" in await web.get("/web/vhosts/1")

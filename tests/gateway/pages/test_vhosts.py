"""Pages of vhosts: the list, one of them, on and off, deleting, search, what needs somebody."""

import pytest
from sqlalchemy import insert

from holdfast.gateway.pages import vhost_parts
from holdfast.gateway.tables import VhostRow
from holdfast.kernel.clock import now
from holdfast.kernel.web.console.registry import ConsoleParts
from tests.gateway.pages.web import ROLES, Web, column, words
from tests.gateway.room import HOST, Room

pytestmark = pytest.mark.real
NASTY = "<script>alert(1)</script>\"'{{7*7}}"
MANY = 10_000


async def some_vhosts(room: Room) -> int:
    """Three of them; the pool that two have."""
    pool_id = await room.pool("one", "127.0.0.1:9")
    await room.vhost(pool_id, "a.example", description="the first")
    await room.vhost(None, "b.example")
    await room.vhost(pool_id, "c.example", enabled=False)
    return pool_id


async def fill(room: Room, count: int) -> None:
    """Many rows, straight into the table."""
    moment = now()
    lines = [
        {
            "server_name": f"v{number:05d}.example",
            "listen_port": 80,
            "ssl": False,
            "created_at": moment,
            "updated_at": moment,
        }
        for number in range(count)
    ]
    async with room.services.database.engine.begin() as connection:
        await connection.execute(insert(VhostRow), lines)


async def test_the_first_page_teaches_the_first_step(web: Web) -> None:
    assert "Make the first vhost" in await web.get("/web/vhosts")
    assert "Make the first vhost" not in await web.get("/web/vhosts", who="viewer")


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_may_look(web: Web, quick_room: Room, role: str) -> None:
    await some_vhosts(quick_room)
    await web.get("/web/vhosts", who=role)
    await web.get("/web/vhosts/1", who=role)


async def test_a_viewer_is_shown_nothing_that_would_refuse(web: Web, quick_room: Room) -> None:
    pool_id = await some_vhosts(quick_room)
    await quick_room.route(1, "/photos/", pool_id)
    for path in ("/web/vhosts", "/web/vhosts/1"):
        shown = await web.get(path, who="viewer")
        main = shown.partition("<main")[2].partition("</main>")[0]
        assert 'method="post"' not in main
        assert "checkbox" not in main
        assert not [verb for verb in ("/edit", "/clone", "/new") if verb in main]


@pytest.mark.parametrize(
    "verb",
    ["enabled", "1/enable", "1/disable", "1/delete", "1/routes/enabled", "1/routes/1/delete"],
)
async def test_a_viewer_changes_nothing(web: Web, quick_room: Room, verb: str) -> None:
    await some_vhosts(quick_room)
    before = await quick_room.everything()
    await web.post(f"/web/vhosts/{verb}", who="viewer", status=403, chosen="1", do="disable")
    assert await quick_room.everything() == before


async def test_the_list_is_searched_filtered_and_sorted(web: Web, quick_room: Room) -> None:
    await some_vhosts(quick_room)

    async def names(query: str) -> list[str]:
        return [cell.split()[0] for cell in column(await web.get(f"/web/vhosts?{query}"), 1)]

    assert await names("") == ["a.example", "b.example", "c.example"]
    assert await names("sort=-name") == ["c.example", "b.example", "a.example"]
    assert await names("q=FIRST") == ["a.example"]
    assert await names("state=disabled") == ["c.example"]
    assert await names("state=lost") == ["b.example"]
    assert await names("tls=no&state=enabled") == ["a.example", "b.example"]
    assert "No vhost fits" in await web.get("/web/vhosts?tls=yes")
    assert "No vhost fits" in await web.get("/web/vhosts?q=%25")


async def test_ten_thousand_vhosts_are_listed_with_a_few_statements(
    web: Web, quick_room: Room
) -> None:
    await fill(quick_room, MANY)
    for query in ("", "page=150", "q=v099", "sort=-routes", "state=lost", "sort=pool"):
        with web.statements() as found:
            shown = await web.get(f"/web/vhosts?{query}")
        assert len([one for one in found if one.startswith("SELECT")]) < 10, found
        assert len(column(shown, 1)) == 50
    assert column(await web.get("/web/vhosts?page=200"), 1)[-1] == "v09999.example"


async def test_chosen_vhosts_are_disabled_and_enabled_by_one_change(
    web: Web, quick_room: Room
) -> None:
    await some_vhosts(quick_room)
    before = quick_room.gateway.generations.current()
    answer = await web.post("/web/vhosts/enabled?sort=-name", chosen=["1", "2"], do="disable")
    assert answer.headers["location"] == "/web/vhosts?sort=-name"
    assert quick_room.gateway.generations.current() == (before or 0) + 1
    assert column(await web.get("/web/vhosts"), 4) == ["disabled"] * 3
    assert quick_room.live("vhosts/a.example.conf") is None
    await web.post("/web/vhosts/enabled", chosen=["1", "2", "3"], do="enable")
    assert column(await web.get("/web/vhosts"), 4) == ["enabled"] * 3


async def test_a_bulk_change_that_makes_no_sense_changes_nothing(
    web: Web, quick_room: Room
) -> None:
    await some_vhosts(quick_room)
    before = await quick_room.everything()
    await web.post("/web/vhosts/enabled", status=422, chosen="one", do="disable")
    await web.post("/web/vhosts/enabled", status=422, chosen="1", do="delete")
    await web.post("/web/vhosts/enabled", status=404, chosen=["1", "77"], do="disable")
    await web.post("/web/vhosts/enabled", do="disable")
    assert await quick_room.everything() == before


async def test_one_vhost_is_switched_off_and_on(web: Web, quick_room: Room) -> None:
    await some_vhosts(quick_room)
    await web.post("/web/vhosts/1/disable")
    assert "there is no file" in await web.get("/web/vhosts/1")
    await web.post("/web/vhosts/1/enable")
    assert "server_name a.example;" in words(await web.get("/web/vhosts/1"))


async def test_only_the_typed_name_deletes(web: Web, quick_room: Room) -> None:
    await some_vhosts(quick_room)
    before = await quick_room.everything()
    await web.post("/web/vhosts/1/delete", status=422, confirm="b.example")
    await web.post("/web/vhosts/1/delete", status=422)
    assert await quick_room.everything() == before
    await web.post("/web/vhosts/1/delete", confirm="a.example")
    await web.get("/web/vhosts/1", status=404)
    assert quick_room.live("vhosts/a.example.conf") is None


async def test_what_people_wrote_is_never_markup(web: Web, quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9")
    blocks = [{"zone": "end", "content": f"# {NASTY}"}]
    await quick_room.vhost(pool_id, description=NASTY, extra_blocks=blocks)
    await quick_room.route(1, "/photos/", pool_id, description=NASTY)
    for path in ("/web/vhosts", "/web/vhosts/1", "/web/vhosts/1/edit", "/web/vhosts/1/clone"):
        shown = await web.get(path)
        assert "<script>alert" not in shown
        assert NASTY in words(shown)


async def test_an_edit_by_hand_is_told_on_the_vhosts_page(web: Web, quick_room: Room) -> None:
    await some_vhosts(quick_room)
    assert "as written" in words(await web.get("/web/vhosts/1"))
    file = quick_room.gateway.generations.live / "vhosts/a.example.conf"
    text = file.read_text()
    file.unlink()
    assert "Its file is missing" in words(await web.get("/web/vhosts/1"))
    file.write_text(text + "# mine\n")
    assert "changed by hand" in words(await web.get("/web/vhosts/1"))


async def test_the_search_finds_server_names_and_prefixes(web: Web, quick_room: Room) -> None:
    pool_id = await some_vhosts(quick_room)
    await quick_room.route(1, "/photos/", pool_id)
    parts = quick_room.services.get(ConsoleParts)
    async with quick_room.services.database.read() as session:
        found = await vhost_parts._find(quick_room.services, session, "A.EXAM")
        routes = await vhost_parts._find(quick_room.services, session, "photo")
    assert [(hit.title, hit.href) for hit in found] == [("a.example", "/web/vhosts/1")]
    assert [(hit.title, hit.detail) for hit in routes] == [("/photos/", "of a.example")]
    assert "New vhost" in [hit.title for hit in parts.actions]


async def test_a_vhost_that_sends_nothing_anywhere_needs_somebody(
    web: Web, quick_room: Room
) -> None:
    pool_id = await some_vhosts(quick_room)
    services = quick_room.services
    async with services.database.read() as session:
        needs = await vhost_parts._needs(services, session)
        figures = await vhost_parts._figures(services, session)
    assert [need.href for need in needs] == ["/web/vhosts/2"]
    assert [(one.title, one.value, one.detail) for one in figures] == [
        ("Vhosts", "3", "1 disabled"),
        ("Routes", "0", ""),
    ]
    assert "every request is answered 404" in words(await web.get("/web/vhosts/2"))
    await quick_room.route(2, "/photos/", pool_id)
    async with services.database.read() as session:
        assert not await vhost_parts._needs(services, session)


async def test_the_page_has_the_name_of_the_host(web: Web, quick_room: Room) -> None:
    await quick_room.vhost(None)
    assert f'<h1 tabindex="-1">{HOST}</h1>' in await web.get("/web/vhosts/1")

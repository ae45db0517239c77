"""Pages of the configuration, with a real nginx: state, drift, history, and what can be done."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.identity.service import create_token
from holdfast.kernel.work import SYSTEM, Role
from tests.gateway.older_tool import SECRET, install
from tests.gateway.pages.console import Pages, pages_of, told, words
from tests.gateway.pages.web import column
from tests.gateway.room import Room, open_room

pytestmark = pytest.mark.real
POOL = "pools/one.conf"


@pytest.fixture
async def pages(quick_room: Room) -> AsyncIterator[Pages]:
    async with pages_of(quick_room.services) as opened:
        yield opened


def edit(room: Room, path: str, old: str, new: str) -> None:
    """What an operator does with an editor."""
    file = room.root / "live" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def test_the_state_names_what_is_desired_live_and_running_apart(
    quick_room: Room, pages: Pages, echo_one: str, echo_two: str
) -> None:
    room = quick_room
    pool = await room.pool("one", echo_one)
    await room.vhost(pool)
    shown = words(await pages.get("/web/config"))
    assert "nginx runs with what is desired." in shown
    (member,) = await room.ok("GET", f"/pools/{pool}/members")
    path = f"/pools/{pool}/members/{member['id']}"
    await room.call("PUT", path, {"address": echo_two}, reload="false")
    number = room.gateway.generations.current()
    shown = words(await pages.get("/web/config"))
    assert f"A reload is due: nginx runs with generation {(number or 0) - 1}." in shown
    assert f"Live on disk What nginx reads at its next reload. Generation {number}" in shown
    assert "A reload of nginx is due" in await pages.get("/")
    answer = await pages.post("/web/config/reload", 200)
    assert "nginx runs with what is on disk." in answer.text
    assert "test is successful" in answer.text
    assert await room.asks("/b/x") == "two GET /b/x"
    assert "A reload of nginx is due" not in await pages.get("/")


async def test_without_the_include_line_the_remedy_has_it_ready_to_copy(
    sqlite_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "holdfast.db"
    path.write_bytes(sqlite_template.read_bytes())
    async with (
        open_room(f"sqlite+aiosqlite:///{path}", tmp_path, include=False) as room,
        pages_of(room.services) as pages,
    ):
        shown = await pages.get("/web/config")
        assert f"include {room.root}/live/http.conf;</pre>" in shown
        assert "missing" in words(shown)
        assert "Nothing is live" in await pages.get("/")


async def test_drift_is_shown_in_both_forms_and_absorbed(quick_room: Room, pages: Pages) -> None:
    room = quick_room
    pool = await room.pool("one", "127.0.0.1:9001")
    assert "Every file is as it was written" in await pages.get("/web/config/drift")
    edit(room, POOL, "keepalive 32", "keepalive 33")
    assert "1 file differs" in await pages.get("/")
    shown = await pages.get("/web/config/drift")
    assert '<span class="del">-    keepalive 32;\n</span>' in shown
    assert '<span class="add">+    keepalive 33;\n</span>' in shown
    assert "nginx runs with it from its next reload." in words(shown)
    shown = await pages.get("/web/config/drift?diff=sides")
    assert '<span class="del">    keepalive 32;\n</span>' in shown
    assert '<span class="add">    keepalive 33;\n</span>' in shown
    answer = await pages.post("/web/config/absorb", path=POOL, diff="sides")
    assert answer.headers["location"] == "/web/config/drift?diff=sides"
    assert f"{POOL} is absorbed" in told(answer)
    assert (await room.ok("GET", f"/pools/{pool}"))["keepalive"] == 33
    assert "differs" not in words(await pages.get("/"))


async def test_a_file_is_restored_and_one_that_nothing_stands_for_removed(
    quick_room: Room, pages: Pages
) -> None:
    room = quick_room
    await room.pool("one", "127.0.0.1:9001")
    edit(room, POOL, "keepalive 32", "keepalive 33")
    (room.root / "live/pools/mine.conf").write_text("upstream mine { server 127.0.0.1:1; }\n")
    shown = words(await pages.get("/web/config/drift?kind=extra"))
    assert "pools/mine.conf" in shown
    assert POOL not in shown
    shown = words(await pages.get(f"/web/config/file?path={POOL}"))
    assert "It is not as it was written." in shown
    answer = await pages.post("/web/config/restore", path=POOL)
    assert "is restored" in told(answer)
    assert "keepalive 32" in (room.live(POOL) or "")
    answer = await pages.post("/web/config/restore", path="pools/mine.conf")
    assert "is removed" in told(answer)
    assert room.live("pools/mine.conf") is None
    for path in ("/etc/passwd", "../../etc/passwd", "pools/none.conf"):
        await pages.post("/web/config/restore", 404, path=path)
        await pages.get(f"/web/config/file?path={path}", 404)
    await pages.post("/web/config/absorb", 422)


async def test_what_cannot_be_absorbed_is_refused_with_its_lines(
    quick_room: Room, pages: Pages
) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32;", "keepalive 32;\n    <nonsense>;")
    answer = await pages.post("/web/config/absorb", 422, path=POOL)
    assert "&lt;nonsense&gt;" in answer.text
    assert "<nonsense>" not in answer.text


async def test_an_edit_of_a_plain_vhost_is_said_to_be_live_only_once_absorbed(
    quick_room: Room, pages: Pages
) -> None:
    room = quick_room
    pool = await room.pool("one", "127.0.0.1:9001")
    for name in ("a.local", "b.local"):
        await room.vhost(pool, name)
    for name in ("a.local", "b.local"):
        edit(room, f"vhosts/{name}.conf", "server {", "server {\n    gzip on;")
    shown = await pages.get("/web/config/file?path=vhosts/a.local.conf")
    assert "nginx runs with it from its next reload." in shown
    shown = await pages.get("/web/config/file?path=vhosts/b.local.conf")
    assert "shares a server block" in shown
    await pages.post("/web/config/absorb", path="vhosts/b.local.conf")
    edit(room, "vhosts/b.local.conf", "gzip on;", "gzip off;")
    shown = await pages.get("/web/config/file?path=vhosts/b.local.conf")
    assert "nginx runs with it from its next reload." in shown


async def test_files_that_are_not_compared_are_named_with_the_reason(
    quick_room: Room, pages: Pages
) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    (quick_room.root / "live/pools/notes.txt").write_text("mine")
    shown = words(await pages.get("/web/config/drift"))
    assert "pools/notes.txt not named .conf or .json" in shown


async def test_a_generation_shows_its_change_and_the_way_back_is_rehearsed_then_taken(
    quick_room: Room, pages: Pages
) -> None:
    room = quick_room
    pool = await room.pool("one", "127.0.0.1:9001")
    number = room.gateway.generations.current()
    await room.ok("PUT", f"/pools/{pool}", keepalive=64)
    shown = words(await pages.get("/web/config/history"))
    assert f"{(number or 0) + 1} " in shown
    assert "update pool" in shown
    numbers = [int(one) for one in column(await pages.get("/web/config/history?sort=number"), 0)]
    assert numbers == sorted(numbers)
    found = column(await pages.get("/web/config/history?q=UPDATE+pool"), 0)
    assert found == [str((number or 0) + 1)]
    at = f"/web/config/generations/{number}"
    shown = await pages.get(f"{at}?to=live")
    assert '<span class="add">+    keepalive 32;\n</span>' in shown
    answer = await pages.post(at, 200)
    assert "The way back works" in answer.text
    assert (await room.ok("GET", f"/pools/{pool}"))["keepalive"] == 64
    await pages.post(f"{at}/rollback", 422)
    assert (await room.ok("GET", f"/pools/{pool}"))["keepalive"] == 64
    answer = await pages.post(f"{at}/rollback", confirm=at.rpartition("/")[2])
    assert f"Generation {number} is live again." in told(answer)
    assert (await room.ok("GET", f"/pools/{pool}"))["keepalive"] == 32
    again = await pages.post(f"{at}/rollback", 409, confirm=at.rpartition("/")[2])
    assert "is live already" in again.text
    await pages.get("/web/config/generations/999", 404)


async def test_a_rebuild_shows_what_would_change_before_it_does(
    quick_room: Room, pages: Pages
) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    tried = await pages.post("/web/config/rebuild", 200, do="preview")
    assert f"To be written (1) {POOL}" in words(tried.text)
    assert 'data-copy-curl="POST /api/config/rebuild?dry_run=true"' in tried.text
    assert 'data-copy="holdfast config rebuild --dry-run"' in tried.text
    await pages.post("/web/config/rebuild", 422)
    assert "keepalive 33" in (quick_room.live(POOL) or "")
    done = await pages.post("/web/config/rebuild", 200, confirm="rebuild")
    assert POOL in words(done.text)
    assert "keepalive 32" in (quick_room.live(POOL) or "")
    again = await pages.post("/web/config/rebuild", 200, confirm="rebuild")
    assert "there is nothing to do" in words(again.text)


async def test_what_was_added_by_hand_is_shown_and_then_taken_over(
    quick_room: Room, pages: Pages
) -> None:
    pool = await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    tried = await pages.post("/web/config/sync", 200, do="preview")
    assert "1 changed pools" in words(tried.text)
    assert (await quick_room.ok("GET", f"/pools/{pool}"))["keepalive"] == 32
    await pages.post("/web/config/sync", 200)
    assert (await quick_room.ok("GET", f"/pools/{pool}"))["keepalive"] == 33


async def test_the_database_is_replaced_by_the_disk_only_when_that_is_typed(
    quick_room: Room, pages: Pages
) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    tried = await pages.post("/web/config/adopt", 200, do="preview")
    assert "pool one: 1 members" in words(tried.text)
    before = await quick_room.everything()
    await pages.post("/web/config/adopt", 422, confirm="yes")
    assert await quick_room.everything() == before
    done = await pages.post("/web/config/adopt", 200, confirm="replace")
    assert "The database is what is on disk." in words(done.text)
    (pool,) = await quick_room.ok("GET", "/pools")
    assert pool["keepalive"] == 33


async def test_nginxs_words_are_shown_when_it_refuses(quick_room: Room, pages: Pages) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32;", "keepalive <b>;")
    for task in ("validate", "reload"):
        answer = await pages.post(f"/web/config/{task}", 200)
        assert "invalid value &#34;&lt;b&gt;&#34;" in answer.text
        assert "<b>" not in answer.text


async def test_the_older_tool_is_taken_over_after_a_look(
    quick_room: Room, pages: Pages, tmp_path: Path
) -> None:
    room = quick_room
    nginx, db = install(tmp_path, room.port, "127.0.0.1:9001", "127.0.0.1:9002")
    fields = {"nginx_dir": str(nginx), "db": str(db), "secret": SECRET}
    bad = await pages.post("/web/config/import", 422, nginx_dir="relative")
    assert 'aria-invalid="true"' in bad.text
    await pages.post("/web/config/import", 404, nginx_dir=str(tmp_path))
    tried = await pages.post("/web/config/import", 200, **fields)
    assert "Pools 3 Members 3 Vhosts 1 Routes 3 Keys of pools 1" in words(tried.text)
    assert SECRET not in tried.text
    assert await room.ok("GET", "/pools") == []
    done = await pages.post("/web/config/import", 303, seen="true", **fields)
    assert "3 pools, 1 vhosts and 3 routes are here." in told(done)
    assert len(await room.ok("GET", "/pools")) == 3
    assert "has pools or vhosts already" in await pages.get("/web/config/import")
    await pages.post("/web/config/import", 409, **fields)


async def test_roles_see_and_do_what_they_may(quick_room: Room, pages: Pages) -> None:
    room = quick_room
    await room.pool("one", "127.0.0.1:9001")
    edit(room, POOL, "keepalive 32", "keepalive 33")
    for role in (Role.VIEWER, Role.OPERATOR):
        async with room.services.database.write(SYSTEM) as work:
            _, token = await create_token(work, name=role.name.lower(), role=role)
        is_operator = role is Role.OPERATOR
        async with pages_of(room.services, token) as person:
            for path in ("", "/drift", "/history", "/files", f"/file?path={POOL}"):
                shown = await person.get(f"/web/config{path}")
                main = shown.partition("<main")[2].partition("</main>")[0]
                assert is_operator or 'method="post"' not in main, path
            for task in ("validate", "reload", "rebuild", "sync"):
                await person.get(f"/web/config/{task}", 200 if is_operator else 403)
            for task in ("adopt", "import"):
                await person.get(f"/web/config/{task}", 403)
                await person.post(f"/web/config/{task}", 403)
            if not is_operator:
                await person.post("/web/config/restore", 403, path=POOL)

"""What people note on members, vhosts and routes: kept on disk, and no business of nginx's."""

from pathlib import Path

import pytest

from tests.gateway.room import HOST, Json, Room
from tests.gateway.test_rebuild_from_disk import described, without_its_database

pytestmark = pytest.mark.real


async def with_notes(room: Room) -> tuple[str, str, list[str]]:
    """Paths of a member, a vhost and of its routes, each with a description."""
    pool = await room.pool("one")
    members = f"/pools/{pool}/members"
    member = await room.ok("POST", members, 201, address="127.0.0.1:9001", description="rack 4")
    vhost = await room.vhost(pool, description="for the press")
    plain = await room.route(vhost, "/plain/", pool, description="photos of 2019")
    own = await room.route(vhost, "/deep/er/", pool, description="of the museum")
    off = await room.route(vhost, "/off/", pool, enabled=False, description="not yet")
    routes = [f"/vhosts/{vhost}/routes/{route['id']}" for route in (plain, own, off)]
    return f"{members}/{member['id']}", f"/vhosts/{vhost}", routes


async def notes(room: Room, paths: list[str]) -> list[str | None]:
    return [(await room.ok("GET", path))["description"] for path in paths]


async def test_descriptions_survive_the_loss_of_the_database(
    room: Room, sqlite_template: Path, tmp_path: Path
) -> None:
    member, vhost, routes = await with_notes(room)
    told = await notes(room, [member, vhost, *routes])
    assert told == ["rack 4", "for the press", "photos of 2019", "of the museum", "not yet"]
    known = await described(room)
    async with without_its_database(room, sqlite_template, tmp_path) as empty:
        await empty.ok("POST", "/config/rebuild-from-disk")
        assert await described(empty) == known
        again = await empty.ok("POST", "/config/rebuild")
        assert (again["written"], again["removed"]) == ([], [])


@pytest.mark.parametrize("value", ["", "another"])
async def test_a_description_changes_without_nginx(quick_room: Room, value: Json) -> None:
    member, vhost, routes = await with_notes(quick_room)
    loaded = (await quick_room.gateway.nginx.status()).loaded_generation
    conf = quick_room.live(f"vhosts/{HOST}.conf")
    for path in [member, vhost, *routes]:
        await quick_room.ok("PUT", path, description=value)
        assert (await quick_room.ok("GET", path))["description"] == value
    assert (await quick_room.gateway.nginx.status()).loaded_generation == loaded
    assert quick_room.live(f"vhosts/{HOST}.conf") == conf
    sidecar = quick_room.live(f"vhosts/{HOST}.meta.json") or ""
    assert "of 2019" not in sidecar
    assert ("another" in sidecar) is (value == "another")
    again = await quick_room.ok("POST", "/config/rebuild")
    assert (again["written"], again["removed"]) == ([], [])


async def test_null_leaves_a_description_as_it_is(quick_room: Room) -> None:
    """Older clients send every field, null where they have nothing to say."""
    member, vhost, routes = await with_notes(quick_room)
    pool = member.partition("/members/")[0]
    await quick_room.ok("PUT", pool, description="of the press")
    paths = [pool, member, vhost, *routes]
    known = await notes(quick_room, paths)
    for path in paths:
        await quick_room.ok("PUT", path, description=None)
    assert await notes(quick_room, paths) == known


async def test_a_route_that_goes_takes_its_description_along(quick_room: Room) -> None:
    _, _, routes = await with_notes(quick_room)
    await quick_room.ok("DELETE", routes[0], 204)
    assert "of 2019" not in (quick_room.live(f"vhosts/{HOST}.meta.json") or "")


async def test_a_description_too_long_or_with_a_nul_is_refused(quick_room: Room) -> None:
    member, vhost, routes = await with_notes(quick_room)
    before = await quick_room.everything()
    for path in [member, vhost, routes[0]]:
        for text in ["x" * 1001, "a\0b"]:
            answer = await quick_room.call("PUT", path, {"description": text})
            assert answer.status_code == 422, answer.text
    assert await quick_room.everything() == before


async def test_no_folder_of_flags_is_left_of_a_vhost_that_went(quick_room: Room) -> None:
    _, vhost, _ = await with_notes(quick_room)
    await quick_room.ok("PUT", vhost, server_name="new.local")
    assert sorted(path.name for path in (quick_room.root / "routes").iterdir()) == [
        ".ready", "new.local",
    ]  # fmt: skip
    await quick_room.ok("PUT", vhost, server_name=HOST)
    assert quick_room.flags() == {f"{HOST}/plain": "one"}
    await quick_room.ok("DELETE", vhost, 204)
    assert [path.name for path in (quick_room.root / "routes").iterdir()] == [".ready"]


async def test_a_tried_deletion_leaves_the_flags_of_a_vhost(quick_room: Room) -> None:
    _, vhost, _ = await with_notes(quick_room)
    before = await quick_room.everything()
    tried = await quick_room.call("DELETE", vhost, dry_run="true")
    assert tried.status_code == 204, tried.text
    assert await quick_room.everything() == before

"""What somebody edited on disk is taken over, or refused with the lines that would be lost."""

from pathlib import Path

import pytest

from holdfast.gateway.flags import Flag, FlagState
from holdfast.gateway.service import drift
from holdfast.gateway.service.health import check_drift, check_flags, contribute, first_closed
from holdfast.kernel.contributors import Verdict, contributors
from tests.gateway.room import Json, Room

pytestmark = pytest.mark.real

POOL = "pools/one.conf"
VHOST = "vhosts/s3.local.conf"


def edit(room: Room, path: str, old: str, new: str) -> None:
    file = room.root / "live" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def absorb(room: Room, path: str, status: int = 200) -> Json:
    answer = await room.call("POST", "/config/absorb-file", {"path": path})
    assert answer.status_code == status, answer.text
    return answer.json()


async def nothing_differs(room: Room) -> bool:
    return not await room.ok("GET", "/config/drift")


async def test_an_edited_pool_is_taken_over(room: Room, echo_one: str, echo_two: str) -> None:
    pool_id = await room.pool("one", echo_one)
    await room.vhost(pool_id)
    edit(room, POOL, f"server {echo_one} weight=1", f"server {echo_two} weight=7")
    edit(room, POOL, "least_conn;", "ip_hash;")
    told = await absorb(room, POOL)
    assert (told["ok"], len(told["sha256"])) == (True, 64)
    (member,) = await room.ok("GET", f"/pools/{pool_id}/members")
    assert (member["address"], member["weight"]) == (echo_two, 7)
    assert (await room.ok("GET", f"/pools/{pool_id}"))["lb_method"] == "ip_hash"
    assert await nothing_differs(room)
    assert await room.asks("/b/x") == "two GET /b/x"
    assert (await room.ok("POST", "/config/rebuild"))["written"] == []


async def test_an_edited_vhost_is_taken_over_with_a_new_directive(
    quick_room: Room, echo_one: str
) -> None:
    vhost_id = await quick_room.vhost(await quick_room.pool("one", echo_one))
    edit(quick_room, VHOST, "server_name s3.local;", "server_name s3.local;\n    gzip on;")
    await absorb(quick_room, VHOST)
    vhost = await quick_room.ok("GET", f"/vhosts/{vhost_id}")
    assert vhost["extra_directives"] == "gzip on;"
    assert await nothing_differs(quick_room)


async def test_an_edited_sidecar_is_taken_over(quick_room: Room) -> None:
    pool_id = await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, "pools/one.meta.json", '"description": null', '"description": "by hand"')
    await absorb(quick_room, "pools/one.meta.json")
    assert (await quick_room.ok("GET", f"/pools/{pool_id}"))["description"] == "by hand"
    assert await nothing_differs(quick_room)


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        (POOL, "keepalive 32;", "keepalive 32; zone z 64k;", "zone z 64k"),
        (VHOST, "proxy_set_header X-Real-IP $remote_addr;", "", "X-Real-IP"),
        (VHOST, "server_name s3.local;", "server_name s3.local; location /x { return 204; }", "/x"),
        ("http.conf", "server_names_hash", "# server_names_hash", "http.conf"),
        (POOL, "name:one", "name:other", "other"),
        (POOL, "keepalive 32;", "keepalive 32; }", "unexpected"),
        (POOL, "weight=1", "weight=heavy", "heavy"),
    ],
)
async def test_what_cannot_be_stored_is_refused_by_name(
    quick_room: Room, path: str, old: str, new: str, named: str
) -> None:
    await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    edit(quick_room, path, old, new)
    (quick_room.root / "live/pools/one.meta.json").unlink()
    before = await quick_room.everything()
    told = await absorb(quick_room, path, 422)
    assert named in str(told)
    assert await quick_room.everything() == before


async def test_an_absorbed_edit_that_nginx_refuses_changes_nothing(quick_room: Room) -> None:
    await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    edit(quick_room, VHOST, "server_name s3.local;", "server_name s3.local; gzip perhaps;")
    before = await quick_room.everything()
    told = await absorb(quick_room, VHOST, 422)
    assert told["code"] == "nginx_refused"
    assert await quick_room.everything() == before


async def test_a_flag_set_by_hand_is_taken_over(quick_room: Room) -> None:
    vhost_id = await quick_room.vhost(one := await quick_room.pool("one", "127.0.0.1:9001"))
    two = await quick_room.pool("two", "127.0.0.1:9002")
    await quick_room.route(vhost_id, "/kept/", one)
    flag = Flag(epoch=1, state=FlagState.STATIC, pool_alias="two")
    quick_room.gateway.flags.set_flag("s3.local", "bkt", flag)
    await absorb(quick_room, "routes/s3.local/bkt/cur")
    routes = await quick_room.ok("GET", f"/vhosts/{vhost_id}/routes")
    assert {r["path_prefix"]: r["pool_id"] for r in routes} == {
        "/kept/": one,
        "/bkt/": two,
        "/": one,
    }
    assert await nothing_differs(quick_room)
    flag = Flag(epoch=1, state=FlagState.STATIC, pool_alias="nobody")
    quick_room.gateway.flags.set_flag("s3.local", "other", flag)
    assert "nobody" in str(await absorb(quick_room, "routes/s3.local/other/cur", 422))


async def test_sync_takes_over_what_was_added_and_keeps_the_rest(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one = await room.pool("one", echo_one)
    vhost_id = await room.vhost(one)
    await room.route(vhost_id, "/a/b/", one)
    (room.root / "live/pools/new.conf").write_text(
        f"upstream new {{\n    server {echo_two};\n    keepalive 4;\n}}\n"
    )
    edit(room, POOL, f"server {echo_one}", f"server {echo_two};\n    server {echo_one}")
    (room.root / "live/pools/bad.conf").write_text(
        "upstream bad {\n    server 127.0.0.1:1;\n    hash $uri;\n}\n"
    )
    flag = Flag(epoch=1, state=FlagState.STATIC, pool_alias="one")
    room.gateway.flags.set_flag("s3.local", "bkt", flag)
    told = await room.ok("POST", "/config/sync")
    counts = {key: told[key] for key in ("pools_new", "pools_updated", "members_new")}
    assert counts == {"pools_new": 1, "pools_updated": 1, "members_new": 2}
    assert (told["vhosts_new"], told["vhosts_updated"]) == (0, 0)
    assert (told["routes_synced"], told["files_synced"]) == (1, 2)
    assert len(told["warnings"]) == 1
    assert "hash $uri" in told["warnings"][0]
    assert len(await room.ok("GET", f"/pools/{one}/members")) == 2
    left = [Path(item["path"]).name for item in await room.ok("GET", "/config/drift")]
    assert left == ["bad.conf"]
    again = await room.ok("POST", "/config/sync")
    assert (again["pools_new"], again["members_new"], again["files_synced"]) == (0, 0, 0)


async def test_drift_reaches_health_the_events_and_the_doctor(quick_room: Room) -> None:
    services = quick_room.services
    contribute(services)
    await quick_room.pool("one", "127.0.0.1:9001")
    (alerts,) = contributors(services).drift_alerts
    assert await alerts() == 0
    assert [f.verdict for f in await check_drift(services)] == [Verdict.OK]
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    await drift.watch(services)
    assert await alerts() == 1
    (finding,) = await check_drift(services)
    assert (finding.verdict, POOL in finding.detail) == (Verdict.WARN, True)
    assert finding.remedy


async def test_the_doctor_finds_flags_that_nginx_cannot_read(
    quick_room: Room, tmp_path: Path
) -> None:
    (finding,) = await check_flags(quick_room.services)
    assert finding.verdict is Verdict.OK  # the lab's workers are root
    closed = tmp_path / "closed"
    (closed / "routes").mkdir(parents=True)
    closed.chmod(0o700)
    assert first_closed(closed / "routes", "root") is None
    found = first_closed(closed / "routes", "nobody")
    assert found in {closed, *closed.parents}

"""The files that nginx runs with: state, restore, history and the way back, through the API."""

from pathlib import Path

import pytest

from holdfast.gateway.flags import Flag, FlagState
from holdfast.gateway.tables import RouteRow
from holdfast.kernel.restart import Restarter
from holdfast.kernel.work import SYSTEM
from tests.gateway.room import Json, Room

pytestmark = pytest.mark.real

POOL = "pools/one.conf"


def edit(room: Room, path: str, old: str, new: str) -> None:
    """What an operator does with an editor."""
    file = room.root / "live" / path
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def rewrite(room: Room, path: str) -> Json:
    answer = await room.call("POST", "/config/rewrite-file", {"path": path})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def drifted(room: Room) -> dict[str, str]:
    found = await room.ok("GET", "/config/drift")
    return {item["path"].removeprefix(f"{room.root}/live/"): item["kind"] for item in found}


async def test_the_status_tells_every_file_and_that_nginx_runs_with_it(quick_room: Room) -> None:
    await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    status = await quick_room.ok("GET", "/config/status")
    names = {Path(file["path"]).name for file in status["files"]}
    assert names >= {"http.conf", "one.conf", "one.meta.json", "s3.local.conf"}
    for file in status["files"]:
        assert file["drifted"] is False
        assert file["sha256_disk"] == file["sha256_db"]
        assert file["last_synced_at"].endswith("Z")
    assert status["last_reload_ok"] is True
    assert status["last_reload_at"]
    assert status["reload_pending"] is False
    assert status["generation"] == status["loaded_generation"]
    assert status["startup_differences"] == []


async def test_an_edit_by_hand_is_shown_as_a_diff_and_left_as_it_is(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    status = await quick_room.ok("GET", "/config/status")
    (file,) = [file for file in status["files"] if file["drifted"]]
    assert file["path"] == str(quick_room.root / "live" / POOL)
    assert file["sha256_disk"] != file["sha256_db"]
    assert "-    keepalive 32;\n+    keepalive 33;" in file["diff"]
    assert "keepalive 33" in (quick_room.live(POOL) or "")


async def test_a_change_without_reload_is_pending_until_the_reload(
    quick_room: Room, echo_one: str, echo_two: str
) -> None:
    pool_id = await quick_room.pool("one", echo_one)
    await quick_room.vhost(pool_id)
    (member,) = await quick_room.ok("GET", f"/pools/{pool_id}/members")
    path = f"/pools/{pool_id}/members/{member['id']}"
    answer = await quick_room.call("PUT", path, {"address": echo_two}, reload="false")
    assert answer.status_code == 200
    assert (await quick_room.ok("GET", "/config/status"))["reload_pending"] is True
    assert await quick_room.asks("/b/x") == "one GET /b/x"
    assert (await quick_room.ok("POST", "/config/reload"))["ok"] is True
    assert await quick_room.asks("/b/x") == "two GET /b/x"
    assert (await quick_room.ok("GET", "/config/status"))["reload_pending"] is False


async def test_validate_and_reload_answer_200_with_nginxs_words(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    assert "successful" in (await quick_room.ok("POST", "/config/validate"))["output"]
    edit(quick_room, POOL, "keepalive 32", "keepalive many")
    for call in ("validate", "reload"):
        told = await quick_room.ok("POST", f"/config/{call}")
        assert told["ok"] is False
        assert "many" in told["output"]


async def test_a_backup_is_written_and_checked_by_calls(quick_room: Room) -> None:
    made = await quick_room.ok("POST", "/config/backup", with_secrets=True)
    name = Path(made["backup_path"]).name
    told = await quick_room.ok("POST", f"/config/backups/{name}/check")
    assert told["whole"]
    assert told["has_secrets"]
    await quick_room.ok("POST", "/config/backups/latest/check", 404)


async def test_a_second_rebuild_changes_nothing(room: Room, echo_one: str) -> None:
    vhost_id = await room.vhost(pool_id := await room.pool("one", echo_one))
    await room.route(vhost_id, "/bkt/", pool_id)
    live = room.live("http.conf")
    edit(room, POOL, "keepalive 32", "keepalive 33")
    edit(room, "http.conf", "server_names_hash_max_size", "# by hand\nserver_names_hash_max_size")
    (room.root / "live/pools/extra.conf").write_text("upstream extra { server 127.0.0.1:1; }\n")
    room.gateway.flags.remove("s3.local", "bkt")
    first = await room.ok("POST", "/config/rebuild")
    assert [Path(path).name for path in first["written"]] == ["one.conf", "cur"]
    assert [Path(path).name for path in first["removed"]] == ["extra.conf"]
    assert first["errors"] == []
    assert await drifted(room) == {}
    assert room.flags() == {"s3.local/bkt": "one"}
    assert (room.live("http.conf") or "").count("\n") == (live or "").count("\n")
    before = await room.everything()
    second = await room.ok("POST", "/config/rebuild")
    assert (second["written"], second["removed"]) == ([], [])
    assert await room.everything() == before


async def test_a_rebuild_that_is_tried_only_tells(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    edit(quick_room, "http.conf", "server_names_hash_max", "# by hand\nserver_names_hash_max")
    before = await quick_room.everything()
    told = (await quick_room.call("POST", "/config/rebuild", dry_run="true")).json()
    assert [Path(path).name for path in told["written"]] == ["http.conf", "one.conf"]
    body = {"path": "http.conf"}
    answer = await quick_room.call("POST", "/config/rewrite-file", body, dry_run="true")
    assert answer.status_code == 200
    assert await quick_room.everything() == before


async def test_a_file_is_put_back_as_it_was(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    written = quick_room.live(POOL)
    path = str(quick_room.root / "live" / POOL)
    edit(quick_room, POOL, "keepalive 32", "keepalive 33")
    assert (await rewrite(quick_room, path))["ok"] is True
    assert quick_room.live(POOL) == written
    Path(path).unlink()
    await rewrite(quick_room, path)
    assert quick_room.live(POOL) == written
    extra = quick_room.root / "live/pools/extra.conf"
    extra.write_text("upstream extra { server 127.0.0.1:1; }\n")
    told = await rewrite(quick_room, str(extra))
    assert told["action"] == "removed"
    assert await drifted(quick_room) == {}


@pytest.mark.parametrize("call", ["rewrite-file", "absorb-file"])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../etc/passwd", "pools/../../x", "pools/none.conf", "x"]
)
async def test_no_other_file_of_the_machine_is_touched(
    quick_room: Room, call: str, path: str
) -> None:
    answer = await quick_room.call("POST", f"/config/{call}", {"path": path})
    assert answer.status_code == 404
    assert "root:" not in answer.text


async def test_rows_flags_and_nginx_follow_a_rollback(
    room: Room, echo_one: str, echo_two: str
) -> None:
    one = await room.pool("one", echo_one)
    vhost_id = await room.vhost(one)
    await room.route(vhost_id, "/bkt/", one)
    number = room.gateway.generations.current()
    two = await room.pool("two", echo_two)
    await room.ok("PUT", f"/vhosts/{vhost_id}", default_pool_id=two)
    await room.vhost(two, "later.local", listen_port=room.port)
    assert await room.asks("/x") == "two GET /x"
    done = await room.ok("POST", f"/config/rollback/{number}")
    assert done["generation"] == number
    assert any("later.local" in text for text in done["differences"])
    assert await room.asks("/x") == "one GET /x"
    assert await room.asks("/bkt/x") == "one GET /bkt/x"
    assert [pool["name"] for pool in await room.ok("GET", "/pools")] == ["one"]
    (vhost,) = await room.ok("GET", "/vhosts")
    assert vhost["default_pool_id"] == one
    status = await room.ok("GET", "/config/status")
    assert (status["generation"], status["loaded_generation"]) == (number, number)
    assert await drifted(room) == {}
    assert (await room.ok("POST", "/config/rebuild"))["written"] == []


async def test_a_rollback_that_is_tried_changes_nothing(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    number = quick_room.gateway.generations.current()
    await quick_room.pool("two", "127.0.0.1:9002")
    before = await quick_room.everything()
    answer = await quick_room.call("POST", f"/config/rollback/{number}", dry_run="true")
    assert answer.json()["differences"] == ["pool 'two': deleted"]
    assert await quick_room.everything() == before


async def test_no_rollback_takes_a_routed_buckets_pool_away(quick_room: Room) -> None:
    vhost_id = await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    number = quick_room.gateway.generations.current()
    two = await quick_room.pool("two", "127.0.0.1:9002")
    await quick_room.route(vhost_id, "/bkt/", two)
    before = await quick_room.everything()
    answer = await quick_room.call("POST", f"/config/rollback/{number}")
    assert answer.status_code == 409
    assert "'two'" in answer.json()["detail"]
    assert await quick_room.everything() == before


async def test_no_rollback_while_a_bucket_is_being_moved(quick_room: Room) -> None:
    vhost_id = await quick_room.vhost(pool_id := await quick_room.pool("one", "127.0.0.1:9001"))
    route = await quick_room.route(vhost_id, "/bkt/", pool_id)
    async with quick_room.services.database.write(SYSTEM) as work:
        (await work.session.get_one(RouteRow, route["id"])).migration_id = 7
    answer = await quick_room.call("POST", "/config/rollback/2")
    assert answer.status_code == 409
    assert "bkt" in answer.json()["detail"]


async def test_a_rollback_that_nginx_refuses_changes_nothing(quick_room: Room) -> None:
    await quick_room.vhost(await quick_room.pool("one", "127.0.0.1:9001"))
    number = quick_room.gateway.generations.current()
    await quick_room.pool("two")
    conflicting = (
        f"include {quick_room.root}/live/http.conf;\nupstream one {{ server 127.0.0.1:1; }}"
    )
    text = quick_room.lab.main.read_text()
    quick_room.lab.main.write_text(
        text.replace(f"include {quick_room.root}/live/http.conf;", conflicting)
    )
    before = await quick_room.everything()
    answer = await quick_room.call("POST", f"/config/rollback/{number}")
    assert answer.status_code == 422
    assert "duplicate upstream" in answer.text
    assert await quick_room.everything() == before
    assert (await quick_room.call("POST", "/config/rollback/999")).status_code == 404


async def test_generations_are_listed_and_compared(quick_room: Room) -> None:
    await quick_room.pool("one", "127.0.0.1:9001")
    listed = await quick_room.ok("GET", "/config/generations")
    numbers = [item["number"] for item in listed]
    assert numbers == sorted(numbers, reverse=True)
    assert [item["live"] for item in listed] == [True] + [False] * (len(listed) - 1)
    query = {"before": numbers[1], "after": numbers[0]}
    diff = (await quick_room.call("GET", "/config/generations/diff", **query)).json()["diff"]
    assert "+    server 127.0.0.1:9001" in diff


async def test_previews_are_what_is_written(quick_room: Room) -> None:
    vhost_id = await quick_room.vhost(pool_id := await quick_room.pool("one", "127.0.0.1:9001"))
    shown = await quick_room.ok("GET", f"/config/preview/pool/{pool_id}")
    assert shown == {
        "filepath": str(quick_room.root / "live" / POOL),
        "content": quick_room.live(POOL),
    }
    shown = await quick_room.ok("GET", f"/config/preview/vhost/{vhost_id}")
    assert shown["content"] == quick_room.live("vhosts/s3.local.conf")
    assert (await quick_room.call("GET", "/config/preview/pool/99")).status_code == 404


async def test_settings_are_shown_without_secrets_and_changed_for_the_next_start(
    quick_room: Room,
) -> None:
    shown = await quick_room.ok("GET", "/config/settings")
    assert shown["api_key"] == "the-****"
    assert shown["drift_interval_seconds"] == 60
    changed = await quick_room.ok("PUT", "/config/settings/drift_interval_seconds", value=5)
    assert (changed["ok"], changed["restart_required"]) == (True, True)
    file = Path(shown["config_file"]).read_text()
    assert "drift_interval_seconds = 5" in file
    answers: list[tuple[str, Json, int]] = [
        ("nothing", {"value": 1}, 404),
        ("drift_interval_seconds", {}, 422),
        ("drift_interval_seconds", {"value": "soon"}, 422),
    ]
    for key, body, status in answers:
        answer = await quick_room.call("PUT", f"/config/settings/{key}", body)
        assert answer.status_code == status, answer.text
    assert Path(shown["config_file"]).read_text() == file


async def test_a_restart_is_asked_for_when_the_answer_is_out(quick_room: Room) -> None:
    assert (await quick_room.call("POST", "/config/settings/restart")).status_code == 503
    stopped: list[str] = []
    restarter = quick_room.services.add(Restarter(lambda: stopped.append("now")))
    file = quick_room.services.loaded.config_file
    file.write_text("port = 'x\n")
    await quick_room.ok("POST", "/config/settings/restart", 422)
    assert not restarter.asked
    file.unlink()
    assert (await quick_room.ok("POST", "/config/settings/restart"))["ok"] is True
    assert restarter.asked
    assert stopped == ["now"]


async def test_a_flag_of_another_pool_is_drift_and_is_put_back(quick_room: Room) -> None:
    vhost_id = await quick_room.vhost(one := await quick_room.pool("one", "127.0.0.1:9001"))
    await quick_room.pool("two", "127.0.0.1:9002")
    await quick_room.route(vhost_id, "/bkt/", one)
    flags = quick_room.gateway.flags
    epoch = flags.next_epoch("s3.local", "bkt")
    flags.set_flag("s3.local", "bkt", Flag(epoch=epoch, state=FlagState.STATIC, pool_alias="two"))
    (found,) = await quick_room.ok("GET", "/config/drift")
    assert found["path"] == str(quick_room.root / "routes/s3.local/bkt/cur")
    assert (found["kind"], "+e" in found["diff"]) == ("changed", True)
    await rewrite(quick_room, found["path"])
    assert quick_room.flags() == {"s3.local/bkt": "one"}
    assert await drifted(quick_room) == {}

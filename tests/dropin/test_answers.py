"""What clients of baricadr are answered, without a server, a store or a worker."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.dropin.baricadr import ENDPOINTS, PREFIX
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import job_by_id
from holdfast.kernel.notify.outbox import unseal_addresses
from holdfast.kernel.stores.hub import build_hub
from holdfast.tiers.model import Action, FileState
from holdfast.tiers.tables import TierRunRow
from tests.dropin.test_login import calling
from tests.kernel.api import API_KEY
from tests.tiers.scene import Scene, a_scene

WITH_PATHS = ("pull", "freeze", "list", "tree")
NO_TASK = "Task not found in Baricadr database."


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    made = await a_scene(database, tmp_path, dropin=("baricadr",))
    await made.a_tier()
    return made


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(scene.services) as made:
        made.base_url = httpx.URL(f"http://holdfast{PREFIX}/")
        made.auth = httpx.BasicAuth("operator", API_KEY)
        yield made


async def asked(client: httpx.AsyncClient, call: str, /, **body: Any) -> tuple[int, Any]:
    answer = await client.post(call, json=body)
    return answer.status_code, answer.json()


async def test_its_routes_are_told_and_join_to_the_address_that_the_client_has(
    client: httpx.AsyncClient,
) -> None:
    told = (await client.get("endpoints")).json()
    assert told == ENDPOINTS
    assert len(told) == 11
    assert [rule for rule in told.values() if "<" in rule] == [
        f"/tasks/{what}/<task_id>" for what in ("log", "remove", "status")
    ]
    assert (await client.get("version")).json() == {"version": "0.2.1"}


async def test_what_it_cannot_read_is_answered_as_ever(client: httpx.AsyncClient) -> None:
    failed = (502, {"error": "Internal server error"})
    broken = [("{", "json"), ("[" * 100_000, "json"), ('{"path": 5}', "json"), ("{}", "text")]
    for path in WITH_PATHS:
        bodies: list[object] = [{}, [], {"paths": "x"}]
        for body in bodies:
            answer = await client.post(path, json=body)
            assert (answer.status_code, answer.json()) == (400, {"error": 'Missing "path"'})
        for content, kind in broken:
            headers = {"Content-Type": f"application/{kind}"}
            answer = await client.post(path, content=content, headers=headers)
            assert (answer.status_code, answer.json()) == failed


async def test_a_path_that_nobody_keeps_is_refused(client: httpx.AsyncClient) -> None:
    for path in WITH_PATHS:
        for given, told in (
            ("/etc", "/etc/"),
            ("/etc/", "/etc/"),
            ("/etc/x/../y", "/etc/y/"),
            ("relative", "relative/"),
            ("/nul\0", "/nul\0/"),
            ("/half\udcdf", "/half\udcdf/"),
            ("", "./"),
        ):
            words = f'Could not find baricadr repository for path "{told}"'
            content = json.dumps({"path": given})
            headers = {"Content-Type": "application/json; charset=utf-8"}
            answer = await client.post(path, content=content, headers=headers)
            assert (answer.status_code, answer.json()) == (400, {"error": words})


async def test_a_neighbour_whose_name_begins_alike_is_not_in_the_tier(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    status, told = await asked(client, "pull", path=str(scene.folder("photos2")))
    assert (status, "Could not find" in told["error"]) == (400, True)


@pytest.mark.real
async def test_what_was_frozen_and_the_store_has_lost_is_missing_in_the_tree_alone(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    root, store = str(scene.folder("photos")), scene.place.parent / "archive"
    (store / "sub").mkdir(parents=True)
    (store / "sub" / "kept").write_text("kept")
    for path in (b"sub/kept", b"sub/lost"):
        await scene.journal(1, path, FileState.FROZEN, mtime_ns=86_400 * 10**9)
    await scene.journal(1, b"sub/waits", FileState.QUARANTINED)
    hub = build_hub(scene.services)
    try:
        _, drawn = await asked(client, "tree", path=root, max_depth=0)
        names = ["sub/kept", "sub/lost"]
        assert drawn == [{"Path": path, "missing": True} for path in names]
        _, listed = await asked(client, "list", path=f"{root}/sub", missing=True, full=True)
        assert [one["Path"] for one in listed] == ["kept"]  # and a pull can bring it
    finally:
        await hub.stop()


async def test_a_pull_is_a_task_and_the_same_again_is_the_same_task(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    folder = str(scene.folder("photos"))
    status, told = await asked(client, "pull", path=f"{folder}//a/../b", dry_run="false")
    assert status == 200
    assert (await asked(client, "pull", path=f"{folder}/b"))[1] == told
    for dry in (True, "true", "1"):
        assert (await asked(client, "pull", path=f"{folder}/b", dry_run=dry))[1] != told
    assert (await asked(client, "freeze", path=f"{folder}/b"))[1] != told
    listed = (await client.request("GET", "tasks", json={})).json()
    assert [task["type"] for task in listed] == ["pull", "pull", "freeze"]
    assert [task["status"] for task in listed] == ["new", "new", "waiting"]
    task = listed[0]
    assert (task["task_id"], task["path"], task["finished"]) == (told["task"], f"{folder}/b", None)
    shown = (await client.get(f"tasks/status/{told['task']}")).json()
    assert shown == {**task, "error": None}
    long = "/".join(["x" * 255] * 8)
    deep = (await asked(client, "pull", path=f"{folder}/{long}"))[1]["task"]
    async with scene.services.database.read() as session:
        job = await job_by_id(session, deep)
    assert job is not None
    assert len(job.title) < 310


async def test_what_may_not_be_is_refused_with_400_and_words(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    kept = await scene.a_tier("kept", freezable=False)
    folder = str(scene.folder("photos"))
    for path, body in (
        ("freeze", {"path": kept.root.decode()}),
        ("pull", {"path": folder, "email": "not an address"}),
        ("pull", {"path": folder, "email": "json://10.0.0.1/"}),
        ("pull", {"path": folder, "email": 5}),
        ("pull", {"path": folder, "dry_run": "perhaps"}),
        ("pull", {"path": f"{folder}/.holdfast-quarantine/x"}),
        ("pull", {"path": f"{folder}/{'x' * 256}"}),
        ("freeze", {"path": folder + "/x" * 2048}),
    ):
        status, told = await asked(client, path, **body)
        assert (status, set(told), bool(told["error"])) == (400, {"error"}, True), body
    assert (await client.get("tasks")).json() == []


async def test_mail_that_the_site_cannot_send_stops_no_task(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    folder = str(scene.folder("photos"))
    status, told = await asked(client, "pull", path=folder, email="a@example.org")
    assert status == 200
    async with scene.services.database.read() as session:
        run = await session.get(TierRunRow, told["task"])
        assert run is not None
        assert unseal_addresses(scene.services.sealer, run.notify) == []


async def test_each_state_of_a_job_is_one_of_a_task(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    answer = await scene.asked(Action.PULL, scene.folder("photos"))
    states = {
        JobState.WAITING: "new",
        JobState.RUNNING: "started",
        JobState.CANCELLING: "pulling",
        JobState.DONE: "finished",
        JobState.FAILED: "failed",
        JobState.CANCELLED: "failed",
    }
    for state, expected in states.items():
        await scene.set_state(answer.job_id, state)
        (task,) = (await client.get("tasks")).json()
        assert task["status"] == expected
    shown = (await client.get(f"tasks/status/{answer.job_id}")).json()
    assert shown["error"] == "cancelled"
    for begun, expected in ((None, "started"), (now(), "pulling")):
        await scene.set_state(answer.job_id, JobState.RUNNING, launched=True, started_at=begun)
        (task,) = (await client.get("tasks")).json()
        assert (task["status"], bool(task["started"])) == (expected, bool(begun))
    await scene.set_state(answer.job_id, JobState.DONE)
    no_log = await client.get(f"tasks/log/{answer.job_id}")
    words = "Task log not found, maybe it is too old."
    assert (no_log.status_code, no_log.json()) == (404, {"error": words})


async def test_a_task_that_waits_is_removed_and_what_is_no_task_is_not_found(
    scene: Scene, client: httpx.AsyncClient
) -> None:
    folder = scene.folder("photos")
    task = (await asked(client, "pull", path=str(folder)))[1]["task"]
    assert (await client.head(f"tasks/remove/{task}")).status_code == 405
    removed = await client.get(f"tasks/remove/{task}")
    assert removed.json() == {"info": f"Task {task} removed.", "error": ""}
    assert (await client.get("tasks")).json() == []
    verified = await scene.asked(Action.VERIFY, folder)
    for unknown in (task, verified.job_id, "nobody", "a%00b", "1-2"):
        for what in ("status", "log"):
            answer = await client.get(f"tasks/{what}/{unknown}")
            too_old = {"error": f"{NO_TASK} Maybe it is too old."}
            assert (answer.status_code, answer.json()) == (404, too_old)
        answer = await client.get(f"tasks/remove/{unknown}")
        assert (answer.status_code, answer.json()) == (404, {"error": NO_TASK, "info": ""})
    again = (await asked(client, "pull", path=str(folder)))[1]["task"]
    assert again != task


async def test_every_answer_is_json_whatever_a_browser_asks_for(client: httpx.AsyncClient) -> None:
    html = {"Accept": "text/html"}
    for method, path, status in (("GET", "nothing", 404), ("GET", "pull", 405), ("POST", "", 404)):
        answer = await client.request(method, path, headers=html)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])


async def test_moments_are_as_in_http(scene: Scene, client: httpx.AsyncClient) -> None:
    before = now()
    await asked(client, "pull", path=str(scene.folder("photos")))
    (task,) = (await client.get("tasks")).json()
    assert task["created"] in {f"{moment:%a, %d %b %Y %H:%M:%S} GMT" for moment in (before, now())}
    assert json.dumps(task).isascii()

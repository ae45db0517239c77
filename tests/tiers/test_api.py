"""The calls of the API, without a socket."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.client.http import HoldfastClient
from holdfast.kernel.db import Database
from holdfast.kernel.errors import NotFound, Unavailable
from holdfast.kernel.notify.outbox import unseal_addresses
from holdfast.kernel.services import Services
from holdfast.tiers import api as tiers_api
from holdfast.tiers.api import router
from holdfast.tiers.files import details_path
from holdfast.tiers.model import FileState
from holdfast.tiers.names import to_text
from holdfast.tiers.service import looking_at_all
from holdfast.tiers.service.looking import Listed
from holdfast.tiers.tables import TierRunRow
from tests.kernel.api import API_KEY, client_of
from tests.tiers.scene import Scene, a_scene


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> Scene:
    return await a_scene(database, tmp_path)


@pytest.fixture
async def api(scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(scene.services, API_KEY, router) as client:
        yield client


def a_body(scene: Scene, name: str = "photos", **fields: Any) -> dict[str, Any]:
    path = to_text(bytes(scene.folder(name)))
    return {"name": name, "path": path, "store_id": scene.store_id, "freezable": True, **fields}


async def created(api: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post("/api/tiers", json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def test_a_tier_is_made_shown_changed_listed_and_deleted(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    rule = {"pattern": "/new/**", "policy": "freeze_after", "age_days": 3}
    made = await created(api, a_body(scene, rules=[rule], filters=["- *.tmp"], uid=5))
    assert (made["rules"], made["filters"], made["uid"]) == ([rule], ["- *.tmp"], 5)
    assert (made["age_days"], made["undo_hours"], made["proof"]) == (180, 24.0, "hash")
    address = f"/api/tiers/{made['id']}"
    assert (await api.get(address)).json() == made
    change: dict[str, Any] = {"uid": None, "age_days": 30, "description": "of the group"}
    change |= {"name": None, "filters": [""]}
    changed = (await api.put(address, json=change)).json()
    assert (changed["uid"], changed["age_days"], changed["name"]) == (None, 30, "photos")
    assert changed["filters"] == []
    await created(api, a_body(scene, "films"))
    found = await api.get("/api/tiers", params={"search": "GROUP"})
    assert [tier["name"] for tier in found.json()] == ["photos"]
    page = await api.get("/api/tiers", params={"limit": 1})
    assert ([tier["name"] for tier in page.json()], page.headers["X-Total-Count"]) == (
        ["films"],
        "2",
    )
    assert (await api.delete(address, params={"dry_run": True})).status_code == 204
    assert (await api.get(address)).status_code == 200
    assert (await api.delete(address)).status_code == 204
    assert (await api.get(address)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"path": "relative"}, 422),
        ({"path": "/no/such/folder"}, 422),
        ({"path": "/a/../b"}, 422),
        ({"store_id": 999}, 422),
        ({"filters": ["nonsense"]}, 422),
        ({"age_days": -1}, 422),
        ({"max_files_percent": 101}, 422),
        ({"bandwidth": "fast"}, 422),
        ({"unknown": 1}, 422),
        ({"space_high_percent": 90}, 422),
        ({"rules": [{"pattern": "a", "policy": "burn"}]}, 422),
    ],
)
async def test_what_cannot_be_is_refused(
    scene: Scene, api: httpx.AsyncClient, fields: dict[str, Any], status: int
) -> None:
    answer = await api.post("/api/tiers", json=a_body(scene, **fields))
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


async def test_a_tier_in_a_tier_is_a_conflict(scene: Scene, api: httpx.AsyncClient) -> None:
    await created(api, a_body(scene))
    inner = to_text(bytes(scene.folder("photos/deep")))
    answer = await api.post("/api/tiers", json=a_body(scene, "deep", path=inner))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


async def test_a_pull_answers_with_its_job_and_the_same_again_joins_it(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    made = await created(api, a_body(scene))
    body: dict[str, Any] = {
        "paths": [made["path"] + "/a"],
        "dry_run": True,
        "notify": ["mailto://x@example.org"],
    }
    first = await api.post("/api/tiers/pull", json=body)
    assert (first.status_code, first.json()["joined"]) == (202, False)
    again = (await api.post("/api/tiers/pull", json=body)).json()
    assert again == {"job_id": first.json()["job_id"], "joined": True}
    run = (await api.get(f"/api/tiers/runs/{again['job_id']}")).json()
    assert (run["action"], run["state"], run["outcome"]) == ("pull", "waiting", {})
    assert (run["asked"]["paths"], run["asked"]["dry_run"]) == (["a"], True)
    verified = (await api.post(f"/api/tiers/{made['id']}/verify")).json()
    for sort, jobs in {"action": [again, verified], "-action": [verified, again]}.items():
        runs = (await api.get("/api/tiers/runs", params={"sort": sort})).json()
        assert [one["job_id"] for one in runs] == [job["job_id"] for job in jobs]
    assert (await api.get("/api/tiers/runs?sort=outcome")).status_code == 422
    assert "example.org" not in json.dumps(run)


async def test_what_is_in_no_tier_or_in_several_is_a_bad_request(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    one, two = await created(api, a_body(scene)), await created(api, a_body(scene, "films"))
    for paths in (["/etc/passwd"], [one["path"], two["path"]], [one["path"] + "s"]):
        answer = await api.post("/api/tiers/freeze", json={"paths": paths})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    answer = await api.post("/api/tiers/pull", json={"paths": [one["path"]], "tier": two["id"]})
    assert answer.status_code == 400
    wrong: list[dict[str, Any]] = [{}, {"paths": []}, {"paths": ["x"]}, {"paths": ["/a\u0000"]}]
    for body in wrong:
        answer = await api.post("/api/tiers/pull", json=body)
        assert answer.status_code == 422
        assert "Value error" not in answer.text


async def test_whole_tiers_are_verified_and_reported(scene: Scene, api: httpx.AsyncClient) -> None:
    made = await created(api, a_body(scene))
    for action in ("verify", "report"):
        answer = await api.post(f"/api/tiers/{made['id']}/{action}")
        assert (answer.status_code, answer.json()["joined"]) == (202, False)
        assert (await api.post(f"/api/tiers/{made['id'] + 1}/{action}")).status_code == 404
    part = {"path": f"{made['path']}/2019"}
    answer = await api.post(f"/api/tiers/{made['id']}/report", json=part)
    run = (await api.get(f"/api/tiers/runs/{answer.json()['job_id']}")).json()
    assert (run["asked"]["paths"], run["progress_done"]) == (["2019"], None)
    assert run["title"] == "report photos/2019"
    part = {"path": "/etc"}
    assert (await api.post(f"/api/tiers/{made['id']}/report", json=part)).status_code == 400
    runs = await api.get("/api/tiers/runs", params={"tier": made["id"]})
    assert [run["action"] for run in runs.json()] == ["report", "report", "verify"]
    assert runs.headers["X-Total-Count"] == "3"
    only = await api.get("/api/tiers/runs", params={"action": "verify", "limit": 1})
    assert [run["action"] for run in only.json()] == ["verify"]


async def test_a_freeze_is_undone_and_its_files_are_counted(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    made = await created(api, a_body(scene))
    job_id = (await api.post("/api/tiers/freeze", json={"paths": [made["path"]]})).json()["job_id"]
    await scene.journal(made["id"], b"a", FileState.QUARANTINED, job_id=job_id)
    run = (await api.get(f"/api/tiers/runs/{job_id}")).json()
    assert run["files"] == {"quarantined": {"files": 1, "bytes": 10}}
    undo = await api.post(f"/api/tiers/jobs/{job_id}/undo")
    assert undo.status_code == 202
    assert (await api.post("/api/tiers/jobs/absent/undo")).status_code == 404
    assert (await api.get("/api/tiers/runs/absent")).status_code == 404
    assert (await api.get("/api/tiers/runs/absent/details")).status_code == 404


async def test_what_became_of_each_file_is_read_page_by_page(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    made = await created(api, a_body(scene))
    job_id = (await api.post("/api/tiers/pull", json={"paths": [made["path"]]})).json()["job_id"]
    address = f"/api/tiers/runs/{job_id}/details"
    nothing = await api.get(address)
    assert (nothing.json(), nothing.headers["X-Total-Count"]) == ([], "0")
    reasons = ["excluded", "gone", "excluded: by a rule", "not excluded"]
    lines = [
        {"path": f"f{n}", "bytes": n, "what": "stays", "reason": r} for n, r in enumerate(reasons)
    ]
    path = details_path(scene.services.settings.data_dir, job_id)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = await api.get(address, params={"limit": 2, "offset": 1})
    assert (page.json(), page.headers["X-Total-Count"]) == (lines[1:3], "4")
    some = await api.get(address, params={"reason": "excluded", "limit": 1, "offset": 1})
    assert (some.json(), some.headers["X-Total-Count"]) == ([lines[2]], "2")


async def test_a_dry_run_by_query_is_that_of_the_body_and_never_names_a_job_that_is_not(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    made = await created(api, a_body(scene))
    dry = {"dry_run": True}
    for verb in ("pull", "freeze"):
        answer = await api.post(f"/api/tiers/{verb}", json={"paths": [made["path"]]}, params=dry)
        assert answer.status_code == 202
        run = (await api.get(f"/api/tiers/runs/{answer.json()['job_id']}")).json()
        assert (run["action"], run["asked"]["dry_run"]) == (verb, True)
    for verb in ("verify", "report"):
        answer = await api.post(f"/api/tiers/{made['id']}/{verb}", params=dry)
        assert (answer.status_code, answer.json()) == (200, {"dry_run": True})
    job_id = (await api.post("/api/tiers/freeze", json={"paths": [made["path"]]})).json()["job_id"]
    await scene.journal(made["id"], b"a", FileState.QUARANTINED, job_id=job_id)
    undo = await api.post(f"/api/tiers/jobs/{job_id}/undo", params=dry)
    assert (undo.status_code, undo.json()) == (200, {"dry_run": True, "files": 1, "bytes": 10})
    runs = (await api.get("/api/tiers/runs")).json()
    assert [run["action"] for run in runs] == ["freeze", "freeze", "pull"]


async def test_a_part_of_a_tier_is_verified_and_whoever_asks_is_told_of_the_end(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    made = await created(api, a_body(scene))
    notify = ["mailto://x@example.org"]
    address = f"/api/tiers/{made['id']}"
    part = {"paths": [made["path"] + "/a/b", made["path"] + "/a"], "notify": notify}
    job_id = (await api.post(f"{address}/verify", json=part)).json()["job_id"]
    run = (await api.get(f"/api/tiers/runs/{job_id}")).json()
    assert run["asked"]["paths"] == ["a"]
    told = [job_id, (await api.post(f"{address}/report", json={"notify": notify})).json()["job_id"]]
    frozen = (await api.post("/api/tiers/freeze", json={"paths": [made["path"]]})).json()["job_id"]
    undo = await api.post(f"/api/tiers/jobs/{frozen}/undo", json={"notify": notify})
    told.append(undo.json()["job_id"])
    async with scene.services.database.read() as session:
        for each in told:
            row = await session.get(TierRunRow, each)
            assert row is not None
            assert unseal_addresses(scene.services.sealer, row.notify) == notify
    other = await created(api, a_body(scene, "films"))
    wrong: list[dict[str, Any]] = [{"paths": [other["path"]]}, {"paths": ["/etc"]}]
    for body in wrong:
        assert (await api.post(f"{address}/verify", json=body)).status_code == 400
    assert (await api.post(f"{address}/report", json={"paths": []})).status_code == 422


async def test_a_list_of_all_comes_as_lines_with_its_late_failures_and_no_long_silence(
    scene: Scene, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()

    async def all_files(services: Services, path: bytes) -> AsyncGenerator[list[Listed], None]:
        if path == b"/absent":
            raise NotFound("nothing there")
        await go_on.wait()
        flags = {"local": False, "remote": True, "frozen": False, "differing": False, "lost": False}
        for name in (b"a", b"b\n"):
            yield [Listed(path=name, size_bytes=len(str(services)), **flags)]
        raise Unavailable("the disk went away")

    monkeypatch.setattr(looking_at_all, "all_files", all_files)
    address = "/api/tiers/files"
    assert (await api.get(address, params={"path": "/absent"})).status_code == 404
    lines = tiers_api._lines

    async def noted(*given: Any) -> AsyncIterator[str]:
        async for line in lines(*given):
            yield line
            go_on.set()

    monkeypatch.setattr(tiers_api, "LINE_SECONDS", 0)
    monkeypatch.setattr(tiers_api, "_lines", noted)
    answer = await api.get(address, params={"path": "/some"})
    assert (answer.status_code, answer.text[0]) == (200, "\n")
    first, second, last = (json.loads(line) for line in answer.text.split("\n") if line)
    assert (first["path"], second["path"], first["missing"]) == ("a", "b\u240a", True)
    assert (last["code"], last["detail"]) == ("unavailable", "the disk went away")
    with HoldfastClient("http://holdfast", transport=Canned(answer.content)) as client:
        rows = client.lines(address)
        assert (next(rows)["path"], next(rows)["path"]) == ("a", "b\u240a")
        with pytest.raises(Unavailable, match="went away"):
            next(rows)


class Canned(httpx.BaseTransport):
    """Answers the same always."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=self._content, request=request)

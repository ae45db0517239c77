"""The typed calls of tiers, against the API itself in this process."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from holdfast.client import tiers
from holdfast.client.http import HoldfastClient
from holdfast.client.tiers import Counted, Detail, Progress, Started, Tiers
from holdfast.kernel.errors import BadRequest, Conflict, NotFound, TimedOut
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import set_job
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.api import router
from holdfast.tiers.files import details_path
from holdfast.tiers.tables import TierRunRow
from tests.kernel.api import API_KEY, client_of
from tests.tiers.scene import Scene, a_scene
from tests.tiers.trees import a_database

T = TypeVar("T")
_KEPT = ("content-type", "x-total-count")


class Bridge(httpx.BaseTransport):
    """Calls from a thread, answered by an application in an event loop."""

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._api, self._loop = api, asyncio.get_running_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path, content = request.url.raw_path.decode(), request.read()
        kind = {"Content-Type": request.headers.get("Content-Type", "")} if content else {}
        call = self._api.request(request.method, path, content=content, headers=kind)
        answer = asyncio.run_coroutine_threadsafe(call, self._loop).result()
        kept = {name: answer.headers[name] for name in _KEPT if name in answer.headers}
        return httpx.Response(answer.status_code, headers=kept, content=answer.content)


async def called(scene: Scene, call: Callable[[Tiers], T]) -> T:
    """What a program gets."""
    async with client_of(scene.services, API_KEY, router) as api:
        with HoldfastClient("http://holdfast", transport=Bridge(api)) as client:
            return await asyncio.to_thread(call, Tiers(client))


@pytest.fixture
async def scene(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Scene]:
    async with a_database(sqlite_template, tmp_path) as database:
        yield await a_scene(database, tmp_path)


async def test_what_is_asked_is_begun_waited_for_and_told(scene: Scene) -> None:
    row = await scene.a_tier()
    folder = row.root.decode()
    (tier,) = await called(scene, lambda api: api.list())
    assert (tier.id, tier.name, tier.path) == (row.id, "photos", folder)
    assert tier.options["freezable"] is True
    begun = await called(scene, lambda api: api.pull(f"{folder}/a", notify=[]))
    assert await called(scene, lambda api: api.pull(f"{folder}/a")) == Started(
        job_id=begun.job_id, joined=True
    )
    with pytest.raises(TimedOut):
        await called(scene, lambda api: api.wait(begun.job_id, timeout_seconds=0))
    async with scene.services.database.write(SYSTEM) as work:
        run = await work.session.get(TierRunRow, begun.job_id)
        assert run is not None
        left = {"excluded": {"files": 1, "bytes": 2}}
        run.outcome = json.dumps({"files": 3, "bytes": 4, "skipped": left, "seconds": 1.5})
    await scene.set_state(begun.job_id, JobState.DONE)
    ended = await called(scene, lambda api: api.wait(begun.job_id))
    assert (ended.action, ended.state, ended.has_ended) == ("pull", "done", True)
    assert ended.done == Counted(files=3, size_bytes=4)
    assert ended.skipped == {"excluded": Counted(files=1, size_bytes=2)}
    assert ended.outcome["seconds"] == 1.5
    line = {"path": "a", "bytes": 5, "what": "stays", "reason": "excluded"}
    details_path(scene.services.settings.data_dir, begun.job_id).write_text(json.dumps(line) + "\n")
    told = await called(scene, lambda api: [*api.details(begun.job_id, reason="excluded")])
    assert told == [Detail(path="a", size_bytes=5, what="stays", reason="excluded")]
    frozen = await called(scene, lambda api: api.freeze(folder, dry_run=True))
    run_of = await called(scene, lambda api: api.run(frozen.job_id))
    assert (run_of.state, run_of.has_ended, run_of.done.files) == ("waiting", False, 0)
    assert run_of.progress is None
    async with scene.services.database.write(SYSTEM) as work:
        far = {"progress_done": 5, "progress_total": 9, "progress_unit": "bytes"}
        await set_job(work.session, frozen.job_id, among=JobState, **far)
    run_of = await called(scene, lambda api: api.run(frozen.job_id))
    assert run_of.progress == Progress(done=5, total=9, unit="bytes", text="")
    whole = await called(scene, lambda api: api.verify(row.id))
    part = await called(scene, lambda api: api.verify(row.id, f"{folder}/a"))
    assert whole.job_id != part.job_id
    first = await called(scene, lambda api: api.report(row.id))
    second = await called(scene, lambda api: api.report(row.id, f"{folder}/a"))
    asked = await called(scene, lambda api: [*api.runs(tier_id=row.id, action="report")])
    assert {run.job_id for run in asked} == {first.job_id, second.job_id}
    with pytest.raises(Conflict, match="froze nothing"):
        await called(scene, lambda api: api.undo(begun.job_id))
    with pytest.raises(BadRequest, match="in no tier"):
        await called(scene, lambda api: api.pull("/etc"))


async def test_a_tier_is_made_changed_and_deleted(scene: Scene) -> None:
    path, store = str(scene.folder("photos")), scene.store_id
    tried = await called(scene, lambda api: api.create("x", path, store, dry_run=True, age_days=7))
    assert tried.options["age_days"] == 7
    assert not await called(scene, lambda api: api.list())
    made = await called(scene, lambda api: api.create("photos", path, store))
    await called(scene, lambda api: api.update(made.id, dry_run=True, age_days=9))
    await called(scene, lambda api: api.update(made.id, description="what we look at"))
    found = await called(scene, lambda api: api.show(made.id))
    assert (found.options["description"], found.options["age_days"]) == ("what we look at", 180)
    await called(scene, lambda api: api.delete(made.id))
    with pytest.raises(NotFound):
        await called(scene, lambda api: api.show(made.id))


def test_files_are_told_with_where_they_are() -> None:
    row = {
        "path": "a/b",
        "bytes": 7,
        "local": None,
        "remote": True,
        "frozen": False,
        "differing": False,
        "missing": False,
        "lost": False,
    }
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        if request.url.path.endswith("/files"):
            return httpx.Response(200, content="\n" + json.dumps(row) + "\n")
        return httpx.Response(200, json=[row], headers={"X-Total-Count": "1"})

    with HoldfastClient("http://x", transport=httpx.MockTransport(answer)) as client:
        (found,) = Tiers(client).files("/t/a", depth=2)
        assert list(Tiers(client).files("/t/a", depth=0)) == [found]
    assert (found.path, found.size_bytes, found.local, found.remote) == ("a/b", 7, None, True)
    assert dict(asked[0].params) == {
        "limit": str(tiers.LARGEST_PAGE),
        "offset": "0",
        "path": "/t/a",
        "depth": "2",
    }
    assert dict(asked[1].params) == {"path": "/t/a"}

"""Jobs and schedules over HTTP."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from holdfast.kernel.db import Database
from holdfast.kernel.identity.service import create_token
from holdfast.kernel.jobs import service
from holdfast.kernel.jobs.api import router
from holdfast.kernel.web.app import build_app
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.jobs.harness import Evidence, services_for, submit

SCHEDULE = {"name": "nightly", "kind": "sample.tick", "cron": "0 3 * * *"}


@contextlib.asynccontextmanager
async def nothing_beside(_: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
async def api(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The API of jobs, called as an admin."""
    services = services_for(tmp_path / "data", database_url)
    app = build_app(services, [router], nothing_beside)
    async with services.database.write(SYSTEM) as work:
        _, token = await create_token(work, name="tests", role=Role.ADMIN)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://test", headers=headers
    ) as client:
        yield client
    await services.database.close()


async def as_role(api: httpx.AsyncClient, database: Database, role: Role) -> None:
    async with database.write(SYSTEM) as work:
        _, token = await create_token(work, name=f"a {role.name}".replace(" ", "-"), role=role)
    api.headers["Authorization"] = f"Bearer {token}"


async def tick(database: Database, evidence: Evidence, *locks: str) -> str:
    return await submit(database, "sample.tick", {"evidence": str(evidence.path)}, locks=locks)


async def submit_titled(database: Database, title: str) -> None:
    async with database.write(SYSTEM) as work:
        service.submit(work, "sample.tick", {}, title=title)


async def test_jobs_are_listed_newest_first_filtered_and_in_pages(
    api: httpx.AsyncClient, database: Database, evidence: Evidence
) -> None:
    first, second, third = [await tick(database, evidence, f"pools/{n}") for n in "abc"]
    await api.post(f"/api/jobs/{second}/cancel")
    everything = await api.get("/api/jobs", params={"limit": 2})
    waiting = await api.get("/api/jobs", params={"state": "waiting"})
    locked = await api.get("/api/jobs", params={"lock": "pools/a"})
    sample = await api.get("/api/jobs", params={"kind": "sample"})
    samp = await api.get("/api/jobs", params={"kind": "samp"})
    assert [job["id"] for job in everything.json()] == [third, second]
    assert everything.headers["X-Total-Count"] == "3"
    assert [job["id"] for job in waiting.json()] == [third, first]
    assert [job["id"] for job in locked.json()] == [first]
    assert (len(sample.json()), samp.json()) == (3, [])


async def test_jobs_are_sorted_by_what_is_asked_for(
    api: httpx.AsyncClient, database: Database
) -> None:
    for title in ("b", "c", "a"):
        await submit_titled(database, title)

    async def titles(sort: str) -> list[str]:
        return [job["title"] for job in (await api.get("/api/jobs", params={"sort": sort})).json()]

    assert await titles("title") == ["a", "b", "c"]
    assert await titles("-title") == ["c", "b", "a"]
    assert await titles("submitted") == ["b", "c", "a"]
    for sort in ("state", "by", "started", "finished"):
        assert sorted(await titles(sort)) == ["a", "b", "c"]
    assert (await api.get("/api/jobs", params={"sort": "args"})).status_code == 422


async def test_a_job_is_shown_cancelled_and_retried(
    api: httpx.AsyncClient, database: Database, evidence: Evidence
) -> None:
    job_id = await tick(database, evidence)
    cancelled = await api.post(f"/api/jobs/{job_id}/cancel")
    again = await api.post(f"/api/jobs/{job_id}/cancel")
    retried = await api.post(f"/api/jobs/{job_id}/retry")
    shown = await api.get(f"/api/jobs/{job_id}")
    log = await api.get(f"/api/jobs/{job_id}/log", params={"offset": -100})
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert (retried.status_code, retried.json()["attempt"]) == (202, 2)
    assert (shown.json()["state"], shown.json()["steps"]) == ("waiting", [])
    assert (log.status_code, log.json()["text"]) == (200, "")


@pytest.mark.parametrize("path", ["/api/jobs/none", "/api/jobs/none/log", "/api/schedules/none"])
async def test_what_is_not_there_is_not_found(api: httpx.AsyncClient, path: str) -> None:
    assert (await api.get(path)).status_code == 404


async def test_a_schedule_is_made_paused_triggered_and_deleted(api: httpx.AsyncClient) -> None:
    made = await api.post("/api/schedules", json=SCHEDULE)
    paused = await api.patch("/api/schedules/nightly", json={"enabled": False})
    triggered = await api.post("/api/schedules/nightly/trigger")
    jobs = await api.get("/api/jobs", params={"schedule": "nightly"})
    await api.post("/api/schedules", json=SCHEDULE | {"name": "weekly"})
    for query, names in {
        "": ["nightly", "weekly"],
        "?sort=-name": ["weekly", "nightly"],
        "?limit=1&offset=1": ["weekly"],
        "?search=NIGHT": ["nightly"],
    }.items():
        listed = await api.get(f"/api/schedules{query}")
        assert [one["name"] for one in listed.json()] == names
    assert (await api.get("/api/schedules?sort=args")).status_code == 422
    await api.delete("/api/schedules/weekly")
    deleted = await api.delete("/api/schedules/nightly")
    left = await api.get("/api/schedules")
    assert (made.status_code, made.json()["next_run_at"][11:16]) == (201, "03:00")
    assert paused.json()["enabled"] is False
    assert [job["id"] for job in jobs.json()] == [triggered.json()["job_id"]]
    assert jobs.json()[0]["created_by"] == "tests"
    assert deleted.status_code == 204
    assert left.json() == []


@pytest.mark.parametrize(
    "wrong", [{"cron": "never"}, {"kind": "no.such"}, {"name": "../x"}, {"colour": "red"}]
)
async def test_a_wrong_schedule_is_refused(api: httpx.AsyncClient, wrong: dict[str, str]) -> None:
    assert (await api.post("/api/schedules", json=SCHEDULE | wrong)).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "least"),
    [
        ("GET", "/api/jobs", Role.VIEWER),
        ("GET", "/api/schedules", Role.VIEWER),
        ("POST", "/api/jobs/none/cancel", Role.OPERATOR),
        ("POST", "/api/jobs/none/retry", Role.OPERATOR),
        ("POST", "/api/schedules/none/trigger", Role.OPERATOR),
        ("DELETE", "/api/schedules/none", Role.ADMIN),
        ("PATCH", "/api/schedules/none", Role.ADMIN),
        ("POST", "/api/schedules", Role.ADMIN),
    ],
)
async def test_each_call_asks_for_its_role(
    api: httpx.AsyncClient, database: Database, method: str, path: str, least: Role
) -> None:
    for role in Role:
        await as_role(api, database, role)
        answer = await api.request(method, path, json={})
        assert (answer.status_code == 403) is (role < least), (role, answer.text)

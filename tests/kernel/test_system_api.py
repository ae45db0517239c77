"""Health, readiness, audit and figures."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast import __version__
from holdfast.kernel.contributors import Gauge, contributors
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import client_of, services_for


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as opened:
        yield opened


async def changes(services: Services, *entities: tuple[str, int]) -> None:
    for kind, number in entities:
        async with services.database.write(SYSTEM) as work:
            work.audit("create", kind, number, after={"id": number})


async def test_health_needs_no_token_and_has_the_fields_that_clients_know(
    services: Services,
) -> None:
    async def three() -> int:
        return 3

    contributors(services).drift_alerts.append(three)
    async with client_of(services, "") as anybody:
        answer = await anybody.get("/api/health")
    assert answer.json() == {
        "status": "ok",
        "version": __version__,
        "dev_mode": False,
        "db_ok": True,
        "nginx_config_dir": str(services.settings.nginx_root),
        "drift_alerts": 3,
    }


async def test_health_is_degraded_without_a_database(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/absent/holdfast.db")
    services = services_for(database, tmp_path / "data")
    async with client_of(services, "") as anybody:
        answer = await anybody.get("/api/health")
        not_ready = await anybody.get("/api/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert not_ready.status_code == 503
    assert not_ready.json()["details"]["checks"]["database"] != "ok"


async def test_ready_when_all_parts_are(services: Services) -> None:
    async with client_of(services, "") as anybody:
        answer = await anybody.get("/api/ready")
    assert answer.status_code == 200
    assert set(answer.json()["checks"]) == {"database", "schema", "data_dir"}


async def test_not_ready_with_an_old_schema(services: Services) -> None:
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    async with client_of(services, "") as anybody:
        answer = await anybody.get("/api/ready")
    assert answer.status_code == 503
    assert "0000" in answer.json()["details"]["checks"]["schema"]


async def test_not_ready_when_a_part_of_a_slice_is_not(services: Services) -> None:
    async def broken() -> None:
        raise Unavailable("the flag directory is gone")

    contributors(services).readiness["routing"] = broken
    async with client_of(services, "") as anybody:
        answer = await anybody.get("/api/ready")
    assert answer.json()["details"]["checks"]["routing"] == "the flag directory is gone"


async def test_the_audit_tells_the_newest_first_in_pages(
    services: Services, client: httpx.AsyncClient
) -> None:
    await changes(services, ("pool", 1), ("vhost", 1), ("pool", 2))
    first = await client.get("/api/audit", params={"per_page": 2})
    second = await client.get("/api/audit", params={"per_page": 2, "page": 2})
    assert [(row["entity_type"], row["entity_id"]) for row in first.json()] == [
        ("pool", 2),
        ("vhost", 1),
    ]
    assert [row["entity_id"] for row in second.json()] == [1]
    assert first.json()[0]["after_json"] == '{"id": 2}'
    assert set(first.json()[0]) == {
        "id",
        "actor",
        "action",
        "entity_type",
        "entity_id",
        "before_json",
        "after_json",
        "nginx_reload_ok",
        "nginx_reload_output",
        "created_at",
    }


async def test_the_audit_is_sorted_by_what_is_asked_for(
    services: Services, client: httpx.AsyncClient
) -> None:
    await changes(services, ("pool", 1), ("vhost", 2), ("bucket", 3))

    async def numbers(sort: str) -> list[int]:
        listed = await client.get("/api/audit", params={"sort": sort})
        return [row["entity_id"] for row in listed.json()]

    assert await numbers("created") == [1, 2, 3]
    assert await numbers("kind") == [3, 1, 2]
    assert await numbers("-kind") == [2, 1, 3]
    for sort in ("who", "-what"):
        assert await numbers(sort) == [3, 2, 1]  # alike: the newest first
    assert (await client.get("/api/audit", params={"sort": "after_json"})).status_code == 422


async def test_the_audit_is_filtered_by_thing_and_time(
    services: Services, client: httpx.AsyncClient
) -> None:
    await changes(services, ("pool", 1), ("vhost", 1), ("pool", 2))
    of_pools = await client.get("/api/audit", params={"entity_type": "pool", "entity_id": "2"})
    later = await client.get("/api/audit", params={"from": "2999-01-01"})
    told = [change["created_at"] for change in (await client.get("/api/audit")).json()]
    until = await client.get("/api/audit", params={"from": told[-1], "to": told[0]})
    assert len(until.json()) == len(told)  # what is told is what may be asked for
    before = await client.get("/api/audit", params={"to": "2999-01-01 00:00:00"})
    assert [row["entity_id"] for row in of_pools.json()] == [2]
    assert later.json() == []
    assert len(before.json()) == 3


@pytest.mark.parametrize(
    "query", ["page=0", "per_page=201", "per_page=0", "from=yesterday", "page=99999999999999999999"]
)
async def test_the_audit_refuses_what_is_no_page_and_no_moment(
    client: httpx.AsyncClient, query: str
) -> None:
    assert (await client.get(f"/api/audit?{query}")).status_code == 422


async def test_metrics_count_requests_by_route_and_not_by_path(client: httpx.AsyncClient) -> None:
    for number in (1, 2):
        await client.post(f"/api/tokens/{number}/revoke")
    await client.get("/nothing/here")
    page = (await client.get("/metrics")).text
    series = (
        'holdfast_http_requests_total{method="POST",'
        'route="/api/tokens/{token_id}/revoke",status="404"} 2.0'
    )
    assert series in page
    assert "nothing/here" not in page


async def test_metrics_hold_the_figures_of_slices(
    services: Services, client: httpx.AsyncClient
) -> None:
    async def gauges(_: AsyncSession) -> list[Gauge]:
        return [
            Gauge(name="buckets", help="Buckets.", value=n, labels={"state": state})
            for state, n in (("hot", 4), ("cold", 5))
        ]

    contributors(services).gauges.append(gauges)
    page = (await client.get("/metrics")).text
    assert 'buckets{state="hot"} 4.0' in page
    assert 'buckets{state="cold"} 5.0' in page
    assert page.count("# HELP buckets ") == 1
    assert 'holdfast_jobs{state="running"} 0.0' in page


async def test_metrics_need_a_token(services: Services) -> None:
    async with client_of(services, "") as anybody:
        assert (await anybody.get("/metrics")).status_code == 401

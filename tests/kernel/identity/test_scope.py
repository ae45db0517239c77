"""Tokens that are bound to areas of the API."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from tests.kernel.api import API_KEY, client_of, services_for


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


async def test_a_bound_token_opens_its_area_alone_also_by_a_login(services: Services) -> None:
    async with client_of(services, API_KEY) as admin:
        body = {"name": "robot", "role": "admin", "scope": ["audit"]}
        made = (await admin.post("/api/tokens", json=body)).json()
        assert made["scope"] == ["audit"]
        refused = await admin.post("/api/tokens", json=body | {"scope": ["tokens"]})
        assert refused.status_code == 422
        assert "for audit" in (await admin.get("/web/tokens", headers={"Accept": "text/html"})).text
    async with client_of(services, made["token"]) as robot:
        asked = ("/api/audit", "/api/whoami", "/api/tokens", "/metrics", "/web/tokens")
        assert [(await robot.get(path)).status_code for path in asked] == [200, 200, 403, 403, 403]
        told = (await robot.get("/api/users")).json()
    assert (told["code"], "audit" in told["detail"]) == ("forbidden", True)
    async with client_of(services, "") as browser:
        login = await browser.post("/login", data={"key": made["token"]})
        assert login.status_code in {302, 303}
        page = await browser.get("/web/account", headers={"Accept": "text/html"})
    assert page.status_code == 403
    assert "Running jobs" not in page.text


async def test_the_form_binds_a_token(services: Services) -> None:
    async with client_of(services, API_KEY) as admin:
        form = {"name": "puller", "role": "operator", "scope": "tiers, jobs", "expires_in": ""}
        shown = await admin.post("/web/tokens/new", data=form, headers={"Accept": "text/html"})
        assert shown.status_code == 200
        rows = (await admin.get("/api/tokens")).json()
    assert rows[0]["scope"] == ["jobs", "tiers"]

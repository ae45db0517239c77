"""Users and tokens over HTTP."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.identity.tables import TokenRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import a_token, client_of, services_for


@pytest.fixture
def services(database: Database, tmp_path: Path, cheap_passwords: None) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.fixture
async def admin(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


async def whoami(services: Services, token: str) -> httpx.Response:
    async with client_of(services, token) as client:
        return await client.get("/api/whoami")


async def test_a_new_token_is_shown_once_and_opens_the_door(
    services: Services, admin: httpx.AsyncClient
) -> None:
    made = (await admin.post("/api/tokens", json={"name": "ci", "role": "operator"})).json()
    listed = (await admin.get("/api/tokens")).json()
    assert (await whoami(services, made["token"])).json() == {"name": "ci", "role": "operator"}
    assert [(token["id"], token["hint"]) for token in listed] == [(made["id"], made["hint"])]
    assert made["token"] not in str(listed)


async def test_a_revoked_token_opens_nothing(services: Services, admin: httpx.AsyncClient) -> None:
    made = (await admin.post("/api/tokens", json={"name": "ci"})).json()
    revoked = await admin.post(f"/api/tokens/{made['id']}/revoke")
    assert revoked.json()["revoked_at"]
    assert (await whoami(services, made["token"])).status_code == 401


async def test_an_expired_token_opens_nothing(services: Services, admin: httpx.AsyncClient) -> None:
    body = {"name": "ci", "expires_in": 3600}
    made = (await admin.post("/api/tokens", json=body)).json()
    assert (await whoami(services, made["token"])).status_code == 200
    async with services.database.write(SYSTEM) as work:
        past = now() - timedelta(seconds=1)
        await work.session.execute(update(TokenRow).values(expires_at=past))
    assert (await whoami(services, made["token"])).status_code == 401


async def test_the_tokens_of_a_revoked_user_open_nothing(
    services: Services, admin: httpx.AsyncClient
) -> None:
    await admin.post("/api/users", json={"name": "ann", "role": "admin"})
    made = (await admin.post("/api/tokens", json={"name": "laptop", "user": "ann"})).json()
    assert (await whoami(services, made["token"])).json()["name"] == "ann/laptop"
    assert (await admin.post("/api/users/ann/revoke")).json()["disabled_at"]
    assert (await whoami(services, made["token"])).status_code == 401


async def test_a_role_is_changed_and_a_revoked_user_let_in_again(admin: httpx.AsyncClient) -> None:
    await admin.post("/api/users", json={"name": "ann", "role": "admin"})
    last = await admin.put("/api/users/ann", json={"role": "viewer"})
    assert (last.status_code, last.json()["code"]) == (409, "conflict")
    await admin.post("/api/users", json={"name": "bob", "role": "admin"})
    assert (await admin.put("/api/users/ann", json={"role": "viewer"})).json()["role"] == "viewer"
    assert (await admin.put("/api/users/ann", json={"role": "king"})).status_code == 422
    assert (await admin.put("/api/users/eve", json={"role": "viewer"})).status_code == 404
    await admin.post("/api/users/ann/revoke")
    assert (await admin.post("/api/users/ann/enable")).json()["disabled_at"] is None
    assert (await admin.post("/api/users/eve/enable")).status_code == 404
    changes = (await admin.get("/api/audit?entity_type=user")).json()
    assert {"set_role", "enable"} <= {line["action"] for line in changes}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "t", "role": "emperor"}, 422),
        ({"name": "t", "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ({"name": "t", "expires_in": 60, "expires_at": "2999-01-01T00:00:00Z"}, 422),
        ({"name": "bad name"}, 422),
        ({"name": "t", "user": "nobody"}, 404),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    admin: httpx.AsyncClient, body: dict[str, object], status: int
) -> None:
    answer = await admin.post("/api/tokens", json=body)
    assert answer.status_code == status
    assert answer.json()["code"] == ("not_found" if status == 404 else "invalid")
    assert (await admin.get("/api/tokens")).json() == []


async def test_a_token_may_not_exceed_its_user(admin: httpx.AsyncClient) -> None:
    await admin.post("/api/users", json={"name": "ann", "role": "viewer"})
    answer = await admin.post("/api/tokens", json={"name": "t", "user": "ann", "role": "admin"})
    assert answer.status_code == 400


async def test_a_user_of_the_same_name_is_refused(admin: httpx.AsyncClient) -> None:
    assert (await admin.post("/api/users", json={"name": "ann"})).status_code == 201
    assert (await admin.post("/api/users", json={"name": "ann"})).status_code == 409


async def test_a_password_is_kept_as_a_hash_and_never_shown(
    services: Services, admin: httpx.AsyncClient
) -> None:
    body = {"name": "ann", "password": "correct horse battery"}
    answer = await admin.post("/api/users", json=body)
    audit = await admin.get("/api/audit")
    assert answer.json()["has_password"] is True
    assert "correct horse" not in answer.text + audit.text


async def test_a_short_password_is_refused_without_repeating_it(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/users", json={"name": "ann", "password": "sesame"})
    assert answer.status_code == 422
    assert "sesame" not in answer.text


async def test_an_operator_sees_neither_users_nor_tokens(services: Services) -> None:
    async with client_of(services, await a_token(services, Role.OPERATOR)) as client:
        answers = [
            await client.get("/api/users"),
            await client.get("/api/tokens"),
            await client.post("/api/tokens", json={"name": "more", "role": "admin"}),
        ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_a_viewer_is_refused_to_write_before_the_body_is_looked_at(
    services: Services,
) -> None:
    async with client_of(services, await a_token(services, Role.VIEWER)) as client:
        answer = await client.post("/api/tokens", content=b"not json")
    assert answer.status_code == 403

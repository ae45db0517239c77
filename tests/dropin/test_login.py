"""Who gets in where clients of older tools are answered."""

import base64
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from holdfast import api
from holdfast.dropin import context
from holdfast.dropin.baricadr import ENDPOINTS, PREFIX
from holdfast.kernel.clock import now
from holdfast.kernel.config import validate_settings
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Invalid, Unavailable
from holdfast.kernel.identity import service
from holdfast.kernel.identity.model import NAME_FAILURES
from holdfast.kernel.identity.sessions import sha256
from holdfast.kernel.identity.tables import LoginFailureRow
from holdfast.kernel.services import Services
from holdfast.kernel.web.doors import NoteConnection
from holdfast.kernel.work import SYSTEM, Role
from tests.kernel.api import API_KEY, a_token, app_of, services_for

PASSWORD = "pässword of ten or more"


@asynccontextmanager
async def calling(
    services: Services, address: str = "10.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client that connects from this address."""
    context.contribute(services)
    app = NoteConnection(app_of(services))
    transport = httpx.ASGITransport(app, client=(address, 1), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://holdfast") as client:
        yield client


@pytest.fixture
def services(database: Database, tmp_path: Path, cheap_passwords: None) -> Services:
    return services_for(database, tmp_path / "own", dropin=("baricadr",))


async def a_user(services: Services, name: str = "anna", role: Role = Role.OPERATOR) -> None:
    async with services.database.write(SYSTEM) as work:
        await service.create_user(work, name=name, role=role, password=PASSWORD)


async def status(client: httpx.AsyncClient, path: str = "/endpoints", **more: Any) -> int:
    return (await client.get(f"{PREFIX}{path}", **more)).status_code


async def test_nothing_is_there_until_it_is_switched_on(database: Database, tmp_path: Path) -> None:
    services = services_for(database, tmp_path / "own", dropin_allow=("10.0.0.0/8",))
    await a_user(services)
    async with calling(services) as client:
        for rule in ENDPOINTS.values():
            assert await status(client, rule, auth=("anna", PASSWORD)) == 401
        key = {"Authorization": f"Bearer {API_KEY}"}
        assert await status(client, headers=key) == 404


async def test_a_user_gets_in_by_name_and_password_and_nobody_else(services: Services) -> None:
    await a_user(services)
    async with calling(services) as client:
        answer = await client.get(f"{PREFIX}/version")
        assert (answer.status_code, set(answer.json())) == (401, {"error"})
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        for _ in range(2):  # the second one is remembered
            assert await status(client, auth=("anna", PASSWORD)) == 200
        latin = base64.b64encode(f"anna:{PASSWORD}".encode("latin-1")).decode()
        assert await status(client, headers={"Authorization": f"Basic {latin}"}) == 200
        for given in [("anna", "wrong"), ("anna", ""), ("", PASSWORD), ("bert", PASSWORD)]:
            assert await status(client, auth=given) == 401
        for wrong in ("Basic", "Basic !", "Basic YQ==", "Digest x", "Bearer x"):
            assert await status(client, headers={"Authorization": wrong}) == 401
        async with services.database.write(SYSTEM) as work:
            await service.revoke_user(work, "anna")
        assert await status(client, auth=("anna", PASSWORD)) == 401


async def test_guessing_is_refused_and_who_was_right_before_still_gets_in(
    services: Services,
) -> None:
    await a_user(services)
    async with calling(services) as client:
        assert await status(client, auth=("anna", PASSWORD)) == 200
        async with services.database.write(SYSTEM) as work:
            for _ in range(NAME_FAILURES):
                row = LoginFailureRow(
                    guesser="10.0.0.1", name_sha256=sha256("anna"), created_at=now()
                )
                work.session.add(row)
        refused = await client.get(f"{PREFIX}/endpoints", auth=("anna", "another"))
        assert (refused.status_code, set(refused.json())) == (429, {"error"})
        assert int(refused.headers["Retry-After"]) > 0
        assert await status(client, auth=("anna", PASSWORD)) == 200


async def test_a_token_is_a_password_too(services: Services) -> None:
    token = await a_token(services, Role.VIEWER)
    async with calling(services) as client:
        assert await status(client, auth=("anything", token)) == 200
        assert await status(client, headers={"Authorization": f"Bearer {token}"}) == 200
        assert await status(client, auth=("anything", API_KEY)) == 200


async def test_a_viewer_reads_and_is_refused_the_rest_in_a_form_that_its_client_knows(
    services: Services,
) -> None:
    await a_user(services, role=Role.VIEWER)
    async with calling(services) as client:
        auth = ("anna", PASSWORD)
        assert (await client.get(f"{PREFIX}/tasks", auth=auth)).json() == []
        for method, path in (
            ("POST", "/pull"),
            ("POST", "/freeze"),
            ("GET", "/tasks/remove/1"),
            ("GET", "/zombie"),
        ):
            answer = await client.request(method, f"{PREFIX}{path}", auth=auth, json={"path": "/"})
            assert (answer.status_code, set(answer.json())) == (400, {"error"})
            assert "role viewer" in answer.json()["error"]


async def test_a_browsers_cookie_opens_nothing_and_no_page_can_send_for_somebody(
    services: Services,
) -> None:
    await a_user(services)
    async with calling(services) as client:
        login = {"name": "anna", "password": PASSWORD}
        await client.post("/login", data=login, headers={"Origin": "http://holdfast"})
        assert client.cookies
        assert (await client.get("/api/whoami")).status_code == 200
        assert await status(client) == 401
        for told in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere.example"}):
            answer = await client.get(
                f"{PREFIX}/zombie", auth=("anna", PASSWORD), headers={"Accept": "text/html", **told}
            )
            assert (answer.status_code, set(answer.json())) == (403, {"error"})


async def test_from_a_listed_network_nobody_need_log_in(database: Database, tmp_path: Path) -> None:
    allow = ("10.1.0.0/16", "fd00::/8")
    services = services_for(database, tmp_path / "own", dropin=("baricadr",), dropin_allow=allow)
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::5"):
        async with calling(services, address) as client:
            assert await status(client) == 200
            assert await status(client, headers={"Authorization": "Bearer x"}) == 401
            for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Via"):
                assert await status(client, headers={name: "10.1.2.3"}) == 401
            assert await status(client, headers={"User-Agent": "Mozilla/5.0 (X11)"}) == 401
            assert await status(client, headers={"Origin": "http://holdfast"}) == 401
    for address in ("10.2.0.1", "127.0.0.1", "unix"):
        async with calling(services, address) as client:
            assert await status(client) == 401
            assert await status(client, headers={"X-Forwarded-For": "10.1.2.3"}) == 401


def test_networks_are_given_with_commas_and_must_be_some() -> None:
    read = validate_settings({"dropin": "baricadr", "dropin_allow": "10.1.0.0/16, ::1 192.168.7.5"})
    assert read.dropin == ("baricadr",)
    assert read.dropin_allow == ("10.1.0.0/16", "::1/128", "192.168.7.5/32")
    for wrong in ({"dropin": "other"}, {"dropin_allow": "10.1.0.5/16"}, {"dropin_allow": "all"}):
        with pytest.raises(Invalid, match="dropin"):
            validate_settings(wrong)


def test_the_other_port_is_another_one() -> None:
    assert validate_settings({"dropin_port": 9100}).dropin_port == 9100
    for same in ({"dropin_port": 8080}, {"port": "81", "dropin_port": "81"}):
        assert validate_settings(same)  # nothing listens there while the drop-in is off
        with pytest.raises(Invalid, match=r"'dropin_port'.*: it is the port of Holdfast itself"):
            validate_settings({**same, "dropin": "baricadr"})


def test_it_is_told_which_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = validate_settings({"dropin": "baricadr", "dropin_port": port})
        config = uvicorn.Config(print, host="127.0.0.1", port=0, log_config=None)
        with pytest.raises(Unavailable, match=f"port {port} of 127.0.0.1 cannot be listened on"):
            api._listening(config, settings)

"""The door and browsers: whose pages a request comes from, and where somebody unknown is sent."""

import httpx
import pytest

from holdfast.kernel.services import Services
from holdfast.kernel.work import Role
from tests.kernel.api import API_KEY, client_of
from tests.kernel.identity.people import PAGE, browser, log_in, logged_in, whoami

OURS = "http://holdfast"


async def end_others(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """A write that everybody may do."""
    return (await client.post("/api/me/sessions/end-others", headers=headers)).status_code


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": OURS},
        {"Origin": "http://evil.example"},
        {"Origin": "http://holdfast.evil.example"},
        {"Origin": "http://holdfast:8081"},
        {"Origin": "null"},
        {"Origin": ""},
    ],
)
async def test_what_a_page_of_another_site_sends_is_refused(
    services: Services, headers: dict[str, str]
) -> None:
    async with logged_in(services, role=Role.ADMIN) as client:
        refused = await client.post("/api/tokens", json={"name": "evil"}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert (await client.get("/api/tokens")).json() == []
        assert await end_others(client, headers) == 403
        assert (await client.post("/logout", headers=headers)).status_code == 403
        assert (await whoami(client))["name"] == "ann"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": OURS},
        {"Sec-Fetch-Site": "none"},
        {"Origin": OURS},
        {},
    ],
)
async def test_what_our_own_pages_send_passes(services: Services, headers: dict[str, str]) -> None:
    async with logged_in(services) as client:
        assert await end_others(client, headers) == 200


async def test_another_site_may_not_log_somebody_in(services: Services) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    async with browser(services) as client:
        answer = await client.post("/login", data={"key": API_KEY}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_token_needs_no_origin_and_reading_needs_none(services: Services) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    async with client_of(services) as admin:
        answer = await admin.post("/api/tokens", json={"name": "ci"}, headers=headers)
        assert answer.status_code == 201
    async with logged_in(services) as client:
        assert (await client.get("/api/whoami", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("address", "login"),
    [
        ("/", "/login"),
        ("/web/pools", "/login?next=/web/pools"),
        ("/web/pools?q=a&page=2", "/login?next=/web/pools%3Fq%3Da%26page%3D2"),
        ("/web/nothing", "/login?next=/web/nothing"),
        ("//evil.example/", "/login"),
    ],
)
async def test_a_page_without_a_login_goes_to_the_login_and_back(
    services: Services, address: str, login: str
) -> None:
    async with browser(services) as client:
        answer = await client.get(f"{OURS}{address}", headers=PAGE)
        assert (answer.status_code, answer.headers["location"]) == (302, login)


async def test_the_api_answers_401_to_browsers_too(services: Services) -> None:
    async with browser(services) as client:
        answer = await client.get("/api/pools", headers=PAGE)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_script_of_a_page_is_told_to_go_to_the_login(services: Services) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": f"{OURS}/web/jobs?state=failed", **PAGE}
    async with browser(services) as client:
        answers = [
            await client.get("/web/jobs", headers=headers),
            await client.post("/web/jobs/1/cancel", headers=headers),
        ]
    for answer in answers:
        assert answer.status_code == 401
        assert answer.headers["hx-redirect"] == "/login?next=/web/jobs%3Fstate%3Dfailed"


async def test_logging_out_from_a_script_leaves_the_whole_page(services: Services) -> None:
    async with logged_in(services) as client:
        answer = await client.post("/logout", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/login")


async def test_who_is_logged_in_goes_on_from_the_login(services: Services) -> None:
    async with logged_in(services) as client:
        answer = await client.get("/login?next=/web/account", headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/web/account")


@pytest.mark.parametrize("host", ["holdfast/setup/x?", "holdfast/login?", "holdfast/static/?"])
@pytest.mark.parametrize("path", ["/api/users", "/web/account"])
async def test_a_host_header_that_looks_like_a_path_opens_nothing(
    services: Services, host: str, path: str
) -> None:
    async with browser(services) as client:
        answer = await client.get(path, headers={"Host": host})
    assert answer.status_code in {302, 400, 401}
    assert answer.headers.get("location", "").startswith("/login") is (answer.status_code == 302)


@pytest.mark.parametrize(
    "path", ["/setup", "/setupx/1", "/login/more", "/logout/x", "/static", "/Login", "/api/me"]
)
async def test_a_path_that_only_looks_open_is_not(services: Services, path: str) -> None:
    async with browser(services) as client:
        assert (await client.get(path)).status_code == 401, path


async def test_a_viewer_may_change_what_is_their_own_and_nothing_else(services: Services) -> None:
    async with logged_in(services, role=Role.VIEWER) as client:
        assert await end_others(client, {}) == 200
        assert (await client.post("/web/account/end-others")).status_code == 303
        assert (await client.post("/web/accounts")).status_code == 403
        assert (await client.post("/api/menu")).status_code == 403
        refused = await client.post("/web/anything", headers=PAGE)
        assert refused.status_code == 403
        assert "has the role viewer" in refused.text


async def test_a_token_in_a_header_counts_before_a_cookie(services: Services) -> None:
    async with logged_in(services) as client:
        wrong = await client.get("/api/whoami", headers={"Authorization": "Bearer nothing"})
        assert wrong.status_code == 401
        right = await client.get("/api/whoami", headers={"X-Orchestrator-Key": API_KEY})
        assert right.json()["name"] == "api"


@pytest.mark.parametrize("value", ["", "x", "x" * 4000, '"quoted"', "é", "*"])
async def test_a_cookie_that_nobody_was_given_opens_nothing(services: Services, value: str) -> None:
    cookie = f"holdfast_session={value}; nanio_session={value}".encode()
    async with logged_in(services), browser(services) as client:
        answer = await client.get("/api/whoami", headers={b"Cookie": cookie})
    assert answer.status_code == 401


async def test_a_stale_cookie_beside_a_good_one_does_no_harm(services: Services) -> None:
    async with logged_in(services) as client:
        good = client.cookies["holdfast_session"]
    async with browser(services) as client:
        header = {"Cookie": f"holdfast_session=stale; nanio_session={good}"}
        assert (await client.get("/api/whoami", headers=header)).json()["name"] == "ann"


async def test_a_login_takes_the_place_of_one_by_key(services: Services) -> None:
    async with logged_in(services) as client:
        await client.post("/login", data={"key": API_KEY})
        assert list(client.cookies) == ["nanio_session"]
        assert (await whoami(client))["name"] == "api"
        await log_in(client)
        assert list(client.cookies) == ["holdfast_session"]
        assert (await whoami(client))["name"] == "ann"

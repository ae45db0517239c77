"""What a browser is answered when something is refused or fails: a page, whatever it accepts."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import Conflict
from holdfast.kernel.services import Services
from holdfast.kernel.web.router import Router
from tests.kernel.api import API_KEY, client_of, services_for

FROM_HTMX = {"Accept": "*/*", "HX-Request": "true", "Referer": "http://holdfast/web/pools?q=a"}
trial = Router()


@trial.post("/web/trial/refused")
async def refused() -> None:
    raise Conflict("somebody else has it", hint="wait for them")


@trial.post("/web/trial/broken")
async def broken() -> None:
    raise RuntimeError("a fault of ours")


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/web/trial/refused", 409, "somebody else has it"),
        ("POST", "/web/trial/broken", 500, "The server failed at this"),
        ("GET", "/web/trial/refused", 405, "This address is no page"),
        ("GET", "/web/nothing", 404, "There is no such page"),
    ],
)
async def test_what_a_script_of_a_page_is_refused_is_a_page(
    services: Services, method: str, path: str, status: int, words: str
) -> None:
    async with client_of(services, API_KEY, trial) as client:
        answer = await client.request(method, path, headers=FROM_HTMX)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert 'id="main"' in answer.text
    assert words in answer.text
    assert 'href="/web/pools?q=a"' in answer.text
    # An address that takes only forms is not where the browser then is.
    assert answer.headers.get("hx-push-url") == ("false" if method == "POST" else None)


async def test_a_page_of_somebody_else_is_not_where_one_goes_back_to(services: Services) -> None:
    async with client_of(services, API_KEY, trial) as client:
        for came in ("http://evil.example/web/x", "javascript:alert(1)", "http://holdfast//evil"):
            answer = await client.post("/web/trial/refused", headers={"Referer": came})
            assert answer.status_code == 409
            assert "evil" not in answer.text
            assert "javascript:" not in answer.text
            assert "Back to where" not in answer.text


async def test_the_api_is_refused_in_its_own_form(services: Services) -> None:
    async with client_of(services, API_KEY) as client:
        answer = await client.get("/api/nothing", headers={"Accept": "text/html"})
    assert answer.json()["code"] == "not_found"

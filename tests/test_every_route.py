"""Every route of the API, from the outside: nobody passes the door without the right token."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.servers.holdfast import API_KEY, Machine

pytestmark = pytest.mark.real

PUBLIC = {"/api/health", "/api/ready"}
"""Liveness and readiness: who asks, a load balancer, has no token."""
READING = {"GET", "HEAD", "OPTIONS"}
OWN = "/api/me/"
"""What is one's own: its writes need no role."""
KEPT = {("GET", "/api/pools/{pool_id}/members/{member_id}/node-config")}
"""What reads, and leaves a row: older clients call it so."""
FOR_ADMINS = {
    ("GET", "/api/users"),
    ("POST", "/api/users"),
    ("PUT", "/api/users/{name}"),
    ("POST", "/api/users/{name}/enable"),
    ("POST", "/api/users/{name}/revoke"),
    ("POST", "/api/users/{name}/link"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions/{session_id}/end"),
    ("GET", "/api/tokens"),
    ("POST", "/api/tokens"),
    ("POST", "/api/tokens/{token_id}/revoke"),
    ("POST", "/api/import/baricadr"),
    ("POST", "/api/stores"),
    ("PUT", "/api/stores/{store}"),
    ("DELETE", "/api/stores/{store}"),
    ("POST", "/api/stores/{store}/host-key"),
    ("POST", "/api/tiers"),
    ("PUT", "/api/tiers/{tier_id}"),
    ("DELETE", "/api/tiers/{tier_id}"),
    ("POST", "/api/config/backup"),
    ("POST", "/api/config/backups/{name}/check"),
    ("GET", "/api/config/settings"),
    ("PUT", "/api/config/settings/{key}"),
    ("POST", "/api/config/settings/restart"),
}
UNTRIED = {
    ("POST", "/api/config/backup"),
    ("POST", "/api/config/backups/{name}/check"),
    ("POST", "/api/config/validate"),
    ("POST", "/api/doctor"),
    ("POST", "/api/me/password"),
    ("POST", "/api/stores/{store}/check"),
    ("POST", "/api/vhosts/preview"),
}
"""Writes without a dry run: they move and delete nothing of the site's."""
LEAST_ROUTES = 60
LIMIT_SECONDS = 30.0


@dataclass
class Door:
    """A running server and the routes that it says it has."""

    http: httpx.Client
    routes: list[tuple[str, str]]
    tried: set[tuple[str, str]]
    """Those that take ``dry_run``."""

    def status(self, method: str, path: str, token: str | None) -> int:
        """What a call without a body is answered."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        address = re.sub(r"\{\w+\}", "1", path)
        with self.http.stream(method, address, headers=headers) as answer:
            return answer.status_code

    def wrongly_answered(
        self, routes: list[tuple[str, str]], token: str | None, expected: int
    ) -> list[str]:
        """Routes that answer anything but ``expected`` to this token."""
        found = ((m, p, self.status(m, p, token)) for m, p in routes)
        return [f"{m} {p}: {status}" for m, p, status in found if status != expected]

    def guarded(self) -> list[tuple[str, str]]:
        """Routes that ask for a token."""
        return [(method, path) for method, path in self.routes if path not in PUBLIC]

    def new_token(self, **fields: Any) -> dict[str, Any]:
        """A token made over the API."""
        body = {"name": "sweep", **fields}
        headers = {"Authorization": f"Bearer {API_KEY}"}
        answer = self.http.post("/api/tokens", json=body, headers=headers)
        made: dict[str, Any] = answer.raise_for_status().json()
        return made


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    machine = Machine(tmp_path_factory.mktemp("door"))
    with (
        machine.serving("--no-worker"),
        httpx.Client(base_url=machine.url, timeout=LIMIT_SECONDS) as client,
    ):
        paths = client.get("/api/openapi.json").json()["paths"]
        routes = [(m.upper(), path) for path, methods in paths.items() for m in methods]
        assert len(routes) >= LEAST_ROUTES
        tried = {
            (m.upper(), path)
            for path, methods in paths.items()
            for m, told in methods.items()
            if any(one["name"] == "dry_run" for one in told.get("parameters", ()))
        }
        yield Door(client, routes, tried)


def test_without_a_token_every_route_answers_401(door: Door) -> None:
    assert not door.wrongly_answered(door.guarded(), None, 401)


@pytest.mark.parametrize("token", ["holdfast_made-up", "x" * 5000, API_KEY[:-1], "*", "Bearer"])
def test_with_a_token_that_nobody_made_every_route_answers_401(door: Door, token: str) -> None:
    assert not door.wrongly_answered(door.guarded(), token, 401)


def test_with_an_expired_token_every_route_answers_401(door: Door) -> None:
    token = door.new_token(role="admin", expires_in=1)["token"]
    deadline = time.monotonic() + LIMIT_SECONDS
    while door.status("GET", "/api/whoami", token) != 401 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not door.wrongly_answered(door.guarded(), token, 401)


def test_with_a_revoked_token_every_route_answers_401(door: Door) -> None:
    made = door.new_token(role="admin")
    assert door.status("GET", "/api/whoami", made["token"]) == 200
    assert door.status("POST", f"/api/tokens/{made['id']}/revoke", API_KEY) == 200
    assert not door.wrongly_answered(door.guarded(), made["token"], 401)


def test_a_token_of_one_area_opens_no_other(door: Door) -> None:
    token = door.new_token(role="admin", scope=["jobs"])["token"]
    inside = {"/api/jobs", "/api/whoami"}
    others = [
        (method, path)
        for method, path in door.guarded()
        if "/".join(path.split("/")[:3]) not in inside
    ]
    assert len(others) > LEAST_ROUTES // 2
    assert not door.wrongly_answered(others, token, 403)
    assert {door.status("GET", path, token) for path in inside} == {200}
    assert {door.status("GET", path, token) for path in ("/", "/web/jobs", "/web/none")} == {403}


def test_a_viewer_may_write_nothing(door: Door) -> None:
    token = door.new_token(role="viewer")["token"]
    writes = [
        (method, path)
        for method, path in door.guarded()
        if (method not in READING or (method, path) in KEPT) and not path.startswith(OWN)
    ]
    assert set(writes) >= KEPT
    assert len(writes) > LEAST_ROUTES // 3
    assert not door.wrongly_answered(writes, token, 403)


def test_a_write_that_cannot_be_tried_is_not_done_instead(door: Door) -> None:
    writes = {(m, p) for m, p in door.routes if m not in READING}
    assert writes - door.tried == UNTRIED
    headers = {"Authorization": f"Bearer {API_KEY}"}
    for method, path in UNTRIED:
        address = f"{path.format(store='none', name='none')}?dry_run=true"
        answer = door.http.request(method, address, headers=headers, json={})
        assert (answer.status_code, "dry run" in answer.text) == (422, True), path


def test_an_operator_gets_nothing_that_is_for_admins(door: Door) -> None:
    token = door.new_token(role="operator")["token"]
    assert set(door.routes) >= FOR_ADMINS
    assert not door.wrongly_answered(sorted(FOR_ADMINS), token, 403)


def test_a_viewer_may_change_only_their_own(door: Door) -> None:
    token = door.new_token(role="viewer")["token"]
    own = {(m, p) for m, p in door.guarded() if m not in READING and p.startswith(OWN)}
    assert own == {
        ("POST", "/api/me/password"),
        ("POST", "/api/me/sessions/end-others"),
        ("POST", "/api/me/sessions/{session_id}/end"),
    }
    assert not {door.status(method, path, token) for method, path in own} & {401, 403, 500}


def test_a_path_that_does_not_exist_tells_nothing_without_a_token(door: Door) -> None:
    assert door.status("GET", "/api/nothing/here", None) == 401
    assert door.status("GET", "/nothing", None) == 401
    assert door.status("GET", "/api/nothing/here", API_KEY) == 404


def test_the_older_tools_header_carries_the_same_token(door: Door) -> None:
    headers = {"X-Orchestrator-Key": API_KEY}
    assert door.http.get("/api/pools", headers=headers).status_code == 200
    refused = door.http.get("/api/pools", headers={"X-Orchestrator-Key": "no"})
    assert refused.status_code == 401
    assert refused.json()["detail"] == "Invalid or missing X-Orchestrator-Key"


def test_public_routes_answer_anybody(door: Door) -> None:
    assert not door.wrongly_answered([("GET", path) for path in sorted(PUBLIC)], None, 200)


def test_a_path_that_only_looks_public_is_not(door: Door) -> None:
    for path in ("/api/health/../pools", "/api/health/", "//api/health", "/api/Health"):
        assert door.status("GET", path, None) == 401, path

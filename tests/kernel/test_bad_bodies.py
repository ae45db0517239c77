"""Bodies that no careful client sends are told what is wrong, and nothing of them leaks."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from tests.kernel.api import client_of, services_for

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"name": "\\ud800"}', 422, "invalid"),
        (b'{"\\udfff": 1}', 422, "invalid"),
        (b'["\\ud800"]', 422, "invalid"),
        (b"{", 422, "invalid"),
        (b"\xff", 400, "bad_request"),
    ],
)
async def test_half_characters_and_broken_json_are_refused(
    database: Database, tmp_path: Path, body: bytes, status: int, code: str
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.post("/api/users", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize(
    "body",
    [b'["hunter2"]', b'"hunter2"', b'{"nmae": "hunter2"}', b'{"name": {"pass": "hunter2"}}'],
)
async def test_what_may_be_a_secret_is_not_shown_again(
    database: Database, tmp_path: Path, body: bytes
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.post("/api/users", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "place"),
    [
        ("GET", "/api/audit?entity_type=a%00b", None, "entity_type"),
        ("POST", "/api/users/a%00b/revoke", None, "name"),
        ("POST", "/api/users", {"name": "ann\0"}, "body.name"),
        ("POST", "/api/tokens", {"name": "ann", "deep": [{"er\0": 1}]}, "body.deep.0"),
    ],
)
async def test_a_nul_is_refused_by_its_place_on_both_databases(
    database: Database, tmp_path: Path, method: str, path: str, body: object, place: str
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text
    assert answer.json()["detail"].startswith(f"{place!r} has a NUL character")


async def test_words_that_only_look_like_a_nul_are_kept(database: Database, tmp_path: Path) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.post("/api/users", json={"name": "ann", "note": "\\u0000"})
    assert answer.status_code == 201, answer.text

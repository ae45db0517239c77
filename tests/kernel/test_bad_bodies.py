"""Bodies that no careful client sends are told what is wrong, and nothing of them leaks."""

from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from tests.kernel.api import client_of, services_for

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body", [b'{"name": "\\ud800"}', b'{"\\udfff": 1}', b'["\\ud800"]', b"\xff", b"{"]
)
async def test_half_characters_and_broken_json_are_refused(
    database: Database, tmp_path: Path, body: bytes
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.post("/api/users", content=body, headers=JSON)
    assert answer.status_code in {400, 422}, answer.text


@pytest.mark.parametrize("body", [b'["hunter2"]', b'"hunter2"'])
async def test_a_body_without_names_is_not_shown_again(
    database: Database, tmp_path: Path, body: bytes
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.post("/api/users", content=body, headers=JSON)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


async def test_what_the_database_cannot_hold_is_never_a_500(
    database: Database, tmp_path: Path
) -> None:
    async with client_of(services_for(database, tmp_path / "data")) as client:
        answer = await client.get("/api/audit", params={"entity_type": "a\0b"})
    assert answer.status_code in {200, 422}, answer.text

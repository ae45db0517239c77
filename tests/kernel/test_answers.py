"""What every answer has: safe headers, compression where it helps, and files that stay cached."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.services import Services
from holdfast.kernel.web import live
from holdfast.kernel.web.assets import Assets
from holdfast.kernel.web.body import LARGEST_BODY_BYTES
from holdfast.kernel.web.headers import OTHER_POLICY, PAGE_POLICY, SAFE_HEADERS
from holdfast.kernel.web.router import LateRoute, Router
from tests.kernel.api import client_of, services_for

TEXT = "one and the same words, " * 100
trial = Router()


@trial.get("/api/long")
async def long_answer() -> list[str]:
    return [TEXT]


@trial.get("/api/short")
async def short_answer() -> list[str]:
    return ["short"]


@trial.get("/api/broken")
async def broken() -> None:
    raise RuntimeError("a fault of ours")


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/health", 200), ("/api/nothing", 404), ("/api/broken", 500), ("/api/audit?page=x", 422)],
)
async def test_every_answer_has_the_safe_headers(
    services: Services, path: str, status: int
) -> None:
    async with client_of(services, "the operator's own key", trial) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert SAFE_HEADERS.items() <= {k: answer.headers.get(k) for k in SAFE_HEADERS}.items()
    assert answer.headers["content-security-policy"] == OTHER_POLICY


async def test_the_refusal_of_the_door_has_them_too(services: Services) -> None:
    async with client_of(services, "") as client:
        answer = await client.get("/api/audit")
    assert answer.status_code == 401
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_page_may_load_only_what_is_ours_and_has_nothing_inline(services: Services) -> None:
    async with client_of(services, "") as client:
        answer = await client.get("/api/docs")
        style = await client.get(answer.text.partition('rel="stylesheet" href="')[2].split('"')[0])
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert "<style" not in answer.text
    assert " style=" not in answer.text
    assert style.status_code == 200
    assert style.headers["content-type"].startswith("text/css")


async def test_long_answers_are_compressed_for_who_can_read_it_and_short_ones_never(
    services: Services,
) -> None:
    async with client_of(services, "the operator's own key", trial) as client:
        packed = await client.get("/api/long")
        plain = await client.get("/api/long", headers={"Accept-Encoding": "identity"})
        short = await client.get("/api/short")
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(TEXT) / 5
    assert packed.json() == plain.json() == [TEXT]
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in short.headers


async def test_a_stream_of_events_is_not_compressed(services: Services) -> None:
    stream: Any = await live.event_stream(services, (), "")
    sent: list[Any] = []

    async def app(_: object, __: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [*stream.raw_headers]})
        await send({"type": "http.response.body", "body": TEXT.encode(), "more_body": False})

    async def send(message: Any) -> None:
        sent.append(message)

    from starlette.middleware.gzip import GZipMiddleware  # noqa: PLC0415 - the frame's own

    scope = {"type": "http", "headers": [(b"accept-encoding", b"gzip")]}
    await GZipMiddleware(app, minimum_size=500)(scope, None, send)  # type: ignore[arg-type]
    async with aclosing(stream.body_iterator):
        assert sent[1]["body"] == TEXT.encode()


class Files:
    """A directory behind a client."""

    def __init__(self, directory: Path) -> None:
        (directory / "app.js").write_text(json.dumps([TEXT]))
        (directory / "dot.png").write_bytes(bytes(4000))
        self.directory = directory
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=Assets(directory=directory)), base_url="http://h"
        )


async def test_a_file_with_a_hash_in_its_address_is_kept_for_ever(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with files.client as client:
        hashed = await client.get("/app.js?v=0123abcd")
        bare = await client.get("/app.js")
        picture = await client.get("/dot.png?v=1")
        without = await client.get("/app.js", headers={"Accept-Encoding": "identity"})
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert bare.headers["cache-control"] == "no-cache"
    assert hashed.headers["content-encoding"] == "gzip"
    assert hashed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in picture.headers
    assert "content-encoding" not in without.headers
    assert hashed.text == without.text


async def test_a_file_is_compressed_once_and_anew_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = Files(tmp_path)
    done: list[int] = []
    compress = gzip.compress

    def counted(data: bytes, *args: Any, **options: Any) -> bytes:
        done.append(len(data))
        return compress(data, *args, **options)

    monkeypatch.setattr(gzip, "compress", counted)
    async with files.client as client:
        first = [await client.get("/app.js?v=1") for _ in range(5)]
        assert len(done) == 1
        known = first[0].headers["etag"]
        again = await client.get("/app.js", headers={"If-None-Match": known})
        assert again.status_code == 304
        (tmp_path / "app.js").write_text(TEXT + "changed")
        changed = await client.get("/app.js?v=2")
    assert changed.text.endswith("changed")
    assert len(done) == 2


async def test_a_body_that_says_it_is_too_large_is_not_read(services: Services) -> None:
    async with client_of(services, "the operator's own key") as client:
        answer = await client.post(
            "/api/users", content=b"{}", headers={"content-length": str(LARGEST_BODY_BYTES + 1)}
        )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_that_does_not_say_its_size_is_read_no_further_than_allowed(
    services: Services,
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10 * LARGEST_BODY_BYTES:
            sent += 2**20
            yield b"x" * 2**20

    async with client_of(services, "the operator's own key") as client:
        answer = await client.post("/api/users", content=endless())
    assert answer.status_code == 413
    assert sent <= LARGEST_BODY_BYTES + 2**20


def test_a_route_that_cannot_be_worked_out_says_why_each_time() -> None:
    route = LateRoute("/api/odd", short_answer, status_code=204, response_model=str)
    for _ in range(2):
        with pytest.raises(AssertionError, match="204"):
            _ = route.dependant

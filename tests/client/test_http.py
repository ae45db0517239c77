"""The client against an application that answers in this process."""

import json
from collections.abc import Callable

import httpx
import pytest

from holdfast.client.http import HoldfastClient
from holdfast.client.references import find
from holdfast.kernel.errors import NotFound, ServerUnreachable
from holdfast.kernel.ports import free_port

Handler = Callable[[httpx.Request], httpx.Response]


def client_of(handler: Handler, on_warning: Callable[[str], None] | None = None) -> HoldfastClient:
    """A client whose requests go to a function."""
    transport = httpx.MockTransport(handler)  # httpx's own way to answer without a socket
    return HoldfastClient("http://holdfast", "t", transport=transport, on_warning=on_warning)


def pools(*names: str) -> Handler:
    """A list of pools in pages."""
    rows = [{"id": number, "name": name} for number, name in enumerate(names, 1)]

    def handler(request: httpx.Request) -> httpx.Response:
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        page = rows[offset : offset + min(limit, 3)]
        return httpx.Response(200, json=page, headers={"X-Total-Count": str(len(rows))})

    return handler


def test_all_pages_of_a_list_are_read_once_each() -> None:
    with client_of(pools(*"abcdefgh")) as client:
        assert [row["name"] for row in client.pages("/api/pools")] == list("abcdefgh")


def test_a_list_without_a_total_is_read_once() -> None:
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=[{"id": 1}])

    with client_of(handler) as client:
        assert len(list(client.pages("/api/things"))) == len(asked) == 1


def test_a_name_wins_over_an_id_that_looks_like_it() -> None:
    with client_of(pools("first", "1")) as client:
        assert find(client, "pool", "1", {})["id"] == 2
        assert find(client, "pool", "2", {})["name"] == "1"
        with pytest.raises(NotFound):
            find(client, "pool", "third", {})


def test_the_token_is_sent_and_a_warning_is_handed_on() -> None:
    warned: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer t"
        return httpx.Response(201, json={}, headers={"X-Holdfast-Warning": "nothing is live"})

    with client_of(handler, on_warning=warned.append) as client:
        client.call("POST", "/api/pools", body={"name": "a"})
    assert warned == ["nothing is live"]


def test_what_is_not_given_is_not_asked_for() -> None:
    with client_of(lambda r: httpx.Response(200, json=str(r.url.query, "ascii"))) as client:
        assert client.get("/api/jobs", kind="migration", state=None) == "kind=migration"


def test_events_are_read_with_their_ids_and_comments_are_left_out() -> None:
    lines = (
        ": ping - 1",
        "",
        "id: 7",
        "event: job",
        "data: " + json.dumps({"id": 7, "topic": "job", "kind": "done", "data": {"n": 1}}),
        "",
        "event: reset",
        "id: 9",
        "data: {}",
        "",
    )
    text = "\r\n".join(lines) + "\r\n"

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["last-event-id"] == "6"
        return httpx.Response(200, text=text)

    with client_of(handler) as client:
        first, second = client.events("job", after="6")
    assert (first.id, first.topic, first.kind, first.data) == ("7", "job", "done", {"n": 1})
    assert (second.id, second.kind) == ("9", "reset")


def test_nobody_at_the_address_is_told_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with HoldfastClient(url) as client, pytest.raises(ServerUnreachable, match=url):
        client.get("/api/pools")

"""One connection to a server: calls, pages of lists, live events."""

import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from holdfast import __version__
from holdfast.client.failures import failure_of, raise_for_failure
from holdfast.kernel.errors import ServerUnreachable

Json = Any
CALL_SECONDS = 120.0
CONNECT_SECONDS = 5.0
QUIET_SECONDS = 60.0
"""A stream of events has a heartbeat every 15 s; silence for longer means that it is dead."""
PAGE_SIZE = 500
TOTAL = "X-Total-Count"
WARNING = "X-Holdfast-Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """One live event; ``kind`` is ``reset`` when state must be loaded anew."""

    id: str
    topic: str
    kind: str
    data: dict[str, Any]


class HoldfastClient:
    """Calls of the API with one token. Use it in a ``with`` block, or close it."""

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        timeout_seconds: float = CALL_SECONDS,
        on_warning: Callable[[str], None] | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """``on_warning`` gets what the server says of a change that is made but not live."""
        headers = {"User-Agent": f"holdfast/{__version__}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        self._on_warning = on_warning
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(timeout_seconds, connect=CONNECT_SECONDS),
            transport=transport,
            # Plain HTTP has no use for the machine's certificates: they take 0.1 s of a core.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http:") else True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Json = None,
    ) -> Json:
        """The answer's JSON, ``None`` without content, text when it is no JSON.

        Raises the error that the server raised, or ``ServerUnreachable``.
        """
        return _content(self._send(method, path, query, body))

    def get(self, path: str, **query: object) -> Json:
        """Read something."""
        return self.call("GET", path, query=query)

    def pages(self, path: str, *, query: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """Every row of a list, read page by page as far as the server's lists have pages."""
        offset = 0
        while True:
            asked = {"limit": PAGE_SIZE, "offset": offset, **(query or {})}
            response = self._send("GET", path, asked, None)
            rows = _content(response)
            yield from rows
            offset += len(rows)
            if not rows or offset >= int(response.headers.get(TOTAL, 0)):
                return

    def lines(self, path: str, *, query: Mapping[str, Any] | None = None) -> Iterator[Json]:
        """Every row of an answer of lines, as they come. Raises as `call` does, also on the way."""
        given = {k: v for k, v in (query or {}).items() if v is not None}
        try:
            with self._http.stream("GET", path, params=given) as response:
                if not response.is_success:
                    response.read()
                raise_for_failure(response)
                for line in response.iter_lines():
                    row = json.loads(line) if line else {}
                    if "code" in row and "detail" in row:
                        raise failure_of(row)
                    if row:
                        yield row
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def events(self, topics: str = "", *, after: str = "") -> Iterator[Event]:
        """Live events of these topics (names with commas between; empty: all), until it ends.

        ``after``: the id of the last event seen; empty begins with the next one.
        """
        headers = {"Last-Event-ID": after} if after else {}
        timeout = httpx.Timeout(QUIET_SECONDS, connect=CONNECT_SECONDS)
        try:
            with self._http.stream(
                "GET", "/api/events", params={"topics": topics}, headers=headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    response.read()
                raise_for_failure(response)
                yield from _events(response.iter_lines())
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _send(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Json
    ) -> httpx.Response:
        given = {k: v for k, v in (query or {}).items() if v is not None}
        try:
            response = self._http.request(method, path, params=given, json=body)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        raise_for_failure(response)
        if self._on_warning and response.headers.get(WARNING):
            self._on_warning(response.headers[WARNING])
        return response

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        return ServerUnreachable(
            f"no answer from {self.url}: {error or type(error).__name__}",
            hint="is holdfast serve running, and the address right (holdfast context list)?",
        )


def _content(response: httpx.Response) -> Json:
    if not response.content:
        return None
    if "json" in response.headers.get("content-type", ""):
        return response.json()
    return response.text


def _events(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield _event(fields)
        fields = {}


def _event(fields: dict[str, str]) -> Event:
    body = json.loads(fields["data"])
    topic = fields.get("event", "message")
    kind = str(body.get("kind", topic))
    return Event(fields.get("id", ""), topic, kind, body.get("data", body))

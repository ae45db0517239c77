"""Signed requests over kept connections: every wait has a limit, harmless calls are retried."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from holdfast.kernel.errors import BadGateway, Invalid
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable
from holdfast.kernel.stores.s3.model import Reply
from holdfast.kernel.stores.s3.signing import UNSIGNED, Signer, canonical_query
from holdfast.kernel.stores.s3.xml import error_code

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
"""How long a server may take to send the next byte, or to take the next chunk of a body."""
KEEPALIVE_SECONDS = 2.0
"""An idle connection is not used again after this: some servers close theirs after five seconds."""
TRIES = 4
FIRST_PAUSE_SECONDS = 0.1
MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of an answer that is read as a whole and is not an object's content: a full page of the longest
keys is 3 MiB.
"""
READ_BUFFER_BYTES = 256 * 1024
PIECE_BYTES = 256 * 1024
"""Larger bodies are sent in pieces, so that others get their turn."""

Body = bytes | AsyncIterator[bytes] | None
_AUTOMATIC = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_REFUSED = 300


class S3Transport:
    """The connection pool and the signer of one endpoint; use it as an async context manager."""

    def __init__(
        self,
        endpoint: str,
        access_key: str,
        secret_key: str,
        region: str = "us-east-1",
        *,
        limit: int = 64,
        request_seconds: float | None = None,
    ) -> None:
        """``endpoint``: ``http(s)://host[:port]``; ``limit``: connections open at once.

        ``request_seconds``: longest time that one attempt may take; None: while bytes come.
        """
        parts = urlsplit(endpoint)
        if (
            parts.scheme not in {"http", "https"}
            or not parts.netloc
            or parts.path.strip("/")
            or parts.query
        ):
            raise Invalid(
                f"{endpoint!r} is not an S3 endpoint", hint="for example http://10.0.0.5:9000"
            )
        self.endpoint = f"{parts.scheme}://{parts.netloc}"
        default_port = {"http": ":80", "https": ":443"}[parts.scheme]
        self._signer = Signer(
            access_key, secret_key, region, parts.netloc.removesuffix(default_port)
        )
        self._limit = limit
        self.request_seconds = request_seconds
        self._session: aiohttp.ClientSession | None = None
        self._silent_since: float | None = None

    @property
    def silent_seconds(self) -> float:
        """How long the server has owed a sign of life; 0 when it owes none."""
        return time.monotonic() - self._silent_since if self._silent_since else 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint!r})"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=KEEPALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(
                total=self.request_seconds,
                sock_connect=CONNECT_SECONDS,
                sock_read=SILENCE_SECONDS,
                ceil_threshold=60,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            auto_decompress=False,
            read_bufsize=READ_BUFFER_BYTES,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt; yields a good answer with its body unread.

        Raises ``S3Error`` for what the server refuses, ``S3Unreachable`` when there is no (whole)
        answer.
        """
        if self._session is None:
            raise RuntimeError("the S3 client is not open: use `async with`")
        headers = headers or {}
        if isinstance(body, bytes) and len(body) > PIECE_BYTES:
            headers, body = {**headers, "content-length": str(len(body))}, _pieces(body)
        signed = self._signer.headers(method, path, query, headers, payload=UNSIGNED)
        url = URL(f"{self.endpoint}{path}?{query}" if query else self.endpoint + path, encoded=True)
        what = f"{method} {path}"
        try:
            async with asyncio.timeout(None) as silence:
                data = self._watched(body, silence)
                request = self._session.request(
                    method, url, headers=signed, data=data, allow_redirects=False
                )
                async with request as response:
                    silence.reschedule(None)
                    self._silent_since = None
                    if response.status >= _REFUSED:
                        raise await _refusal(what, response)
                    yield response
        except aiohttp.ClientConnectorError as error:
            self._silent_since = None
            raise S3Unreachable(
                what, f"no connection ({_reason(error)})", maybe_done=False
            ) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            cut_off = isinstance(error, aiohttp.ClientPayloadError)
            raise S3Unreachable(what, _reason(error), maybe_done=True, cut_off=cut_off) from None

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tries: int = TRIES,
    ) -> Reply:
        """A request with a small answer, tried again after server errors and lost connections.

        ``tries=1`` for what must not be done twice.
        """
        encoded = canonical_query(query) if query else ""
        for attempt in range(1, tries + 1):
            try:
                async with self.stream(
                    method, path, encoded, headers=headers, body=body
                ) as response:
                    return Reply(response.status, response.headers, await _read(response))
            except S3Unreachable:
                if attempt == tries:
                    raise
            except S3Error as error:
                if attempt == tries or error.status not in _RETRIED_STATUS:
                    raise
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 spreads retries, guards nothing
            await asyncio.sleep(FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * jitter)
        raise AssertionError("tries must be positive")

    def _watched(self, body: Body, silence: asyncio.Timeout) -> Body:
        """Ends the request when the server does not take the next chunk in time."""
        now = asyncio.get_running_loop().time
        silence.reschedule(now() + CONNECT_SECONDS + SILENCE_SECONDS)
        self._silent_since = self._silent_since or time.monotonic()
        if body is None or isinstance(body, bytes):
            return body
        return self._feed(body, lambda: silence.reschedule(now() + SILENCE_SECONDS))

    async def _feed(
        self, body: AsyncIterator[bytes], alive: Callable[[], None]
    ) -> AsyncIterator[bytes]:
        async for chunk in body:
            alive()
            self._silent_since = time.monotonic()
            yield chunk
            self._silent_since = None  # it is our turn to find the next one
        alive()
        self._silent_since = time.monotonic()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for first in range(0, len(body), PIECE_BYTES):
        yield body[first : first + PIECE_BYTES]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > MAX_ANSWER_BYTES and response.method != "HEAD":
        raise BadGateway("the server's answer is larger than any S3 answer")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise BadGateway("the server's answer is larger than any S3 answer")
    return bytes(body)


async def _refusal(what: str, response: aiohttp.ClientResponse) -> S3Error:
    code = (
        error_code(await response.content.read(READ_BUFFER_BYTES))
        if response.method != "HEAD"
        else ""
    )
    return S3Error(what, status=response.status, s3_code=code)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or "cannot connect"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut off"
    return "the connection was lost"

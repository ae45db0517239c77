"""Requests as a client sends them: signed, sent once, never repeated, with their time taken."""

import io
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote_plus

import aiohttp
from yarl import URL

from holdfast.kernel.stores.s3.signing import Signer, canonical_query, quote_path

Body = bytes | AsyncIterator[bytes] | None
LONGEST_REQUEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``status`` 0: the connection broke; ``torn``: the body broke off."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    torn: bool = False

    @property
    def ok(self) -> bool:
        """Whether the request did what it asked for."""
        is_error = self.status == 200 and b"<Error>" in self.body[:400]  # noqa: PLR2004 - HTTP
        return self.status in {200, 204, 206} and not is_error

    @property
    def etag(self) -> str:
        """The ETag without its quotes."""
        return self.headers.get("ETag", "").strip('"')

    def text(self, tag: str) -> str:
        """The text of the first XML element of this name."""
        found = re.search(rf"<{tag}>(.*?)</{tag}>", self.body.decode(errors="replace"), re.DOTALL)
        return found.group(1).replace("&quot;", "").strip('"') if found else ""


class Wire:
    """A client's connections to one S3 endpoint, kept alive."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, host: str = "") -> None:
        """``host``: the Host header, when it is not the endpoint's own address."""
        self.endpoint = endpoint.rstrip("/")
        self._host = host or self.endpoint.partition("://")[2]
        self._signer = Signer(access_key, secret_key, "us-east-1", self._host)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=LONGEST_REQUEST_SECONDS),
            skip_auto_headers=["Content-Type"],
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def send(
        self,
        method: str,
        bucket: str,
        key: str = "",
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> Answer:
        """Send one signed request."""
        path, text = quote_path(bucket, key), canonical_query(query or {})
        signed = self._signer.headers(method, path, text, dict(headers or {}))
        return await self._exchange(method, f"{path}?{text}" if text else path, signed, body)

    async def send_presigned(
        self, method: str, bucket: str, key: str, *, headers: Mapping[str, str], body: Body = None
    ) -> Answer:
        """Send one request whose right is in its URL."""
        path = quote_path(bucket, key)
        query = self._signer.presigned_query(method, path, expires_seconds=3600)
        all_headers = {**headers, "host": self._host}
        return await self._exchange(method, f"{path}?{query}", all_headers, body)

    async def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Body
    ) -> Answer:
        assert self._session
        url = URL(self.endpoint + target, encoded=True)
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        try:
            async with self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False
            ) as response:
                try:
                    content = await response.read()
                except aiohttp.ClientPayloadError:
                    return Answer(response.status, response.headers, b"", torn=True)
                return Answer(response.status, response.headers, content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Answer(0, {}, repr(error).encode())

    async def list_all(self, bucket: str, prefix: str, page_size: int) -> dict[str, str] | Answer:
        """Keys with their ETags, page by page; the refusing answer when a page fails."""
        found: dict[str, str] = {}
        query = {
            "list-type": "2",
            "prefix": prefix,
            "max-keys": str(page_size),
            "encoding-type": "url",
        }
        while True:
            answer = await self.send("GET", bucket, query=query)
            if not answer.ok:
                return answer
            for entry in re.findall(r"<Contents>(.*?)</Contents>", answer.body.decode(), re.DOTALL):
                key, etag = (_element(entry, name) for name in ("Key", "ETag"))
                found[unquote_plus(key)] = etag.replace("&quot;", "").strip('"')
            if answer.text("IsTruncated") != "true":
                return found
            query["continuation-token"] = answer.text("NextContinuationToken")


def _element(xml: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", xml, re.DOTALL)
    return found.group(1) if found else ""

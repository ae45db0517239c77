"""Single objects."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import aiohttp

from holdfast.kernel.errors import BadGateway, Invalid
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable
from holdfast.kernel.stores.s3.model import ObjectHead, Reply, bare_etag, head_of
from holdfast.kernel.stores.s3.signing import canonical_query, quote_path
from holdfast.kernel.stores.s3.transport import TRIES, S3Transport
from holdfast.kernel.stores.s3.xml import can_be_in_xml, delete_body, read_xml

MAX_KEY_BYTES = 1024
BATCH_KEYS = 1000


def object_path(bucket: str, key: str) -> str:
    """The raw path of an object. Raises ``Invalid`` for a key that S3 cannot have."""
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise Invalid("the key is not text that can be written as UTF-8") from None
    if not 0 < length <= MAX_KEY_BYTES:
        raise Invalid(f"a key has 1 to {MAX_KEY_BYTES} bytes, not {length}")
    return quote_path(bucket, key)


class ObjectReader:
    """An open GET: what the server said of the object, and its content once."""

    def __init__(self, head: ObjectHead, response: aiohttp.ClientResponse) -> None:
        self.head = head
        self._response = response

    async def read(self) -> bytes:
        """All of the content. Only for what is known to be small."""
        return await self._response.read()

    def chunks(self) -> AsyncIterator[bytes]:
        """The content as it comes in; raises ``S3Unreachable`` when it is cut off."""
        return _chunks(self._response)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    # The error is told here, not where the answer is closed: a reader may be passed on to another
    # request.
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        what = f"GET {response.url.raw_path}"
        raise S3Unreachable(
            what, "the answer was cut off", maybe_done=False, cut_off=True
        ) from None


class ObjectCalls(S3Transport):
    """What is asked of an object."""

    @asynccontextmanager
    async def get(
        self, bucket: str, key: str, *, first: int | None = None, last: int | None = None
    ) -> AsyncIterator[ObjectReader]:
        """Open an object, or its bytes ``first`` to ``last`` inclusive. One attempt."""
        headers = (
            None if first is None else {"range": f"bytes={first}-{'' if last is None else last}"}
        )
        async with self.stream("GET", object_path(bucket, key), headers=headers) as response:
            yield ObjectReader(_head(response.headers), response)

    async def read(self, bucket: str, key: str) -> tuple[ObjectHead, bytes]:
        """A small object, whole."""
        reply = await self.call("GET", object_path(bucket, key))
        return _head(reply.headers), reply.body

    async def head(self, bucket: str, key: str, *, part_number: int | None = None) -> ObjectHead:
        """What the server knows of an object, or (where it understands that) of one part."""
        query = {"partNumber": str(part_number)} if part_number else None
        reply = await self.call("HEAD", object_path(bucket, key), query)
        return _head(reply.headers)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes | AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = TRIES,
    ) -> str:
        """Write an object and return its ETag without quotes.

        An iterator needs ``size_bytes`` and is sent once; ``headers`` (lower case) are kept with
        the object.
        """
        return await self._send(
            object_path(bucket, key), {}, body, size_bytes, headers or {}, tries
        )

    async def delete(self, bucket: str, key: str, *, tries: int = TRIES) -> None:
        """Delete an object; that it is not there is no failure."""
        try:
            await self.call("DELETE", object_path(bucket, key), tries=tries)
        except S3Error as error:
            if error.s3_code == "NoSuchBucket" or not error.is_missing:
                raise

    async def delete_many(self, bucket: str, keys: Iterable[str]) -> dict[str, str]:
        """Delete keys, a thousand a request; returns the S3 code of each key that failed."""
        failed: dict[str, str] = {}
        batch: list[str] = []
        for key in keys:
            if not can_be_in_xml(key):
                await self.delete(bucket, key)
                continue
            batch.append(key)
            if len(batch) == BATCH_KEYS:
                failed |= await self._delete_batch(bucket, batch)
                batch = []
        return failed | (await self._delete_batch(bucket, batch) if batch else {})

    async def copy(self, source_bucket: str, source_key: str, bucket: str, key: str) -> str:
        """Copy inside the server, with its headers; returns the ETag of the copy."""
        headers = {"x-amz-copy-source": object_path(source_bucket, source_key)}
        reply = await self.call("PUT", object_path(bucket, key), headers=headers)
        document = read_xml(reply.body)
        if document.root == "Error":  # S3 answers 200 first and may fail later
            raise S3Error(
                f"copy to /{bucket}/{key}", status=500, s3_code=document.fields.get("Code", "")
            )
        return bare_etag(document.fields.get("ETag", ""))

    def presign(self, method: str, bucket: str, key: str, *, expires_seconds: int = 3600) -> str:
        """A URL with which anybody may do ``method`` on the object for a while."""
        path = object_path(bucket, key)
        query = self._signer.presigned_query(method, path, expires_seconds=expires_seconds)
        return f"{self.endpoint}{path}?{query}"

    async def _send(
        self,
        path: str,
        query: Mapping[str, str],
        body: bytes | AsyncIterator[bytes],
        size_bytes: int | None,
        headers: Mapping[str, str],
        tries: int,
    ) -> str:
        if isinstance(body, bytes):
            reply = await self.call("PUT", path, query, headers=headers, body=body, tries=tries)
            return reply.etag
        if size_bytes is None:
            raise ValueError("a streamed body needs its size")
        sized = {**headers, "content-length": str(size_bytes)}
        async with self.stream(
            "PUT", path, canonical_query(query), headers=sized, body=_exactly(body, size_bytes)
        ) as response:
            await response.read()
            return Reply(response.status, response.headers).etag

    async def _delete_batch(self, bucket: str, keys: list[str]) -> dict[str, str]:
        body = delete_body(keys)
        headers = {"content-md5": _md5_base64(body), "content-type": "application/xml"}
        reply = await self.call(
            "POST", quote_path(bucket), {"delete": ""}, headers=headers, body=body
        )
        document = read_xml(reply.body)
        if document.root != "DeleteResult":
            raise BadGateway("the server did not answer to DeleteObjects as S3 does")
        errors = (record for name, record in document.records if name == "Error")
        return {record.get("Key", ""): record.get("Code", "") for record in errors}


async def _exactly(body: AsyncIterator[bytes], size_bytes: int) -> AsyncIterator[bytes]:
    """Ends the request at once when a body is too short: the server would wait for the rest."""
    left = size_bytes
    async for chunk in body:
        left -= len(chunk)
        yield chunk
    if left:
        raise ValueError(f"the body is {left} bytes shorter than announced")


def _md5_base64(data: bytes) -> str:
    digest = hashlib.md5(data, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def _head(headers: Mapping[str, str]) -> ObjectHead:
    try:
        return head_of(headers)
    except ValueError as error:
        raise BadGateway("the server's answer has headers that cannot be read") from error

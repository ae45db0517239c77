"""What our S3 client puts on the wire, and what it makes of answers that no good server gives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from holdfast.kernel.errors import BadGateway
from holdfast.kernel.stores.s3 import transport
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable

LISTING = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@dataclass(slots=True)
class Scripted:
    """A server that gives one answer after the other (the last one for ever) and keeps requests."""

    answers: list[bytes]
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    connections: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [line for line, _, _ in self.requests]

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            line, *rest = head.decode().split("\r\n")
            headers = dict(row.lower().split(": ", 1) for row in rest if row)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.requests.append((line, headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer:
                break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class Hasty(Scripted):
    """A server that answers before it has read the body."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _head(reader)
        writer.write(self.answers[0])
        await writer.drain()
        with contextlib.suppress(ConnectionError):
            while await reader.read(1_000_000):
                pass
            writer.close()
            await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


def an_answer(body: bytes = b"", *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def an_error(status: str, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>internal words</Message></Error>"
    return an_answer(body.encode(), status=status)


@asynccontextmanager
async def talking_to(
    *answers: bytes, kind: type[Scripted] = Scripted, request_seconds: float | None = None
) -> AsyncIterator[tuple[Scripted, S3Client]]:
    scripted = kind(list(answers))
    async with await asyncio.start_server(scripted.accept, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with S3Client(url, "key", "secret", request_seconds=request_seconds) as client:
            yield scripted, client
        await asyncio.gather(*scripted.connections)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a/../b", "/b/a/../b"),
        ("./a//b/", "/b/./a//b/"),
        ("/a", "/b//a"),
        ("%2F+ ?#&é", "/b/%252F%2B%20%3F%23%26%C3%A9"),
        ("\x01\n", "/b/%01%0A"),
    ],
)
async def test_a_key_is_sent_as_it_is(key: str, path: str) -> None:
    async with talking_to(an_answer()) as (server, s3):
        await s3.put("b", key, b"x")
    assert server.lines == [f"PUT {path} HTTP/1.1"]


async def test_the_host_header_is_the_one_that_is_signed() -> None:
    async with talking_to(an_answer()) as (server, s3):
        await s3.put("b", "k", b"x", headers={"x-amz-meta-a": "1"})
    headers = server.requests[0][1]
    assert headers["host"] == s3.endpoint.removeprefix("http://")
    assert (
        "signedheaders=host;x-amz-content-sha256;x-amz-date;x-amz-meta-a,"
        in (headers["authorization"])
    )
    assert "accept-encoding" not in headers


async def test_a_server_error_is_tried_again() -> None:
    async with talking_to(an_error("503 Slow", "SlowDown"), an_answer()) as (server, s3):
        await s3.put("b", "k", b"x")
    assert len(server.requests) == 2


async def test_a_lost_connection_is_tried_again() -> None:
    lost = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nconnection: close\r\n\r\n<List"
    async with talking_to(lost, an_answer(LISTING)) as (server, s3):
        assert [page async for page in s3.list_objects("b")] == []
    assert len(server.requests) == 2


async def test_a_refusal_is_not_tried_again() -> None:
    async with talking_to(an_error("403 Forbidden", "AccessDenied")) as (server, s3):
        with pytest.raises(S3Error, match="AccessDenied"):
            await s3.put("b", "k", b"x")
    assert len(server.requests) == 1


async def test_completing_an_upload_is_not_tried_again() -> None:
    async with talking_to(an_error("500 Oops", "InternalError")) as (server, s3):
        with pytest.raises(S3Error):
            await s3.complete_multipart("b", "k", "u", [(1, "e")])
    assert len(server.requests) == 1


async def test_an_upload_that_fails_after_its_200_is_a_failure() -> None:
    async with talking_to(an_error("200 OK", "InternalError")) as (_, s3):
        with pytest.raises(S3Error, match="InternalError"):
            await s3.complete_multipart("b", "k", "u", [(1, "e")])


async def test_an_error_shows_the_code_and_nothing_else_of_the_answer() -> None:
    async with talking_to(an_error("400 Bad", "<b>not a code</b>")) as (_, s3):
        with pytest.raises(S3Error) as refusal:
            await s3.list_buckets()
    assert "internal words" not in str(refusal.value.body())
    assert "not a code" not in str(refusal.value.body())


async def test_an_answer_with_a_document_type_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><ListBucketResult>&a;</ListBucketResult>'
    async with talking_to(an_answer(bomb)) as (_, s3):
        with pytest.raises(BadGateway, match="document type"):
            await s3.list_page("b")


async def test_an_answer_that_is_no_listing_is_refused() -> None:
    async with talking_to(an_answer(b"<html>hello</html>")) as (_, s3):
        with pytest.raises(BadGateway, match="listing"):
            await s3.list_page("b")


async def test_a_listing_that_does_not_get_on_ends() -> None:
    page = (
        b"<ListBucketResult><IsTruncated>true</IsTruncated>"
        b"<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"
    )
    async with talking_to(an_answer(page)) as (_, s3):
        with pytest.raises(BadGateway, match="twice"):
            _ = [page async for page in s3.list_objects("b")]


async def test_keys_are_decoded_only_when_the_answer_says_that_they_are_encoded() -> None:
    entry = b"<Contents><Key>a%20b+c</Key><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
    plain = b"<ListBucketResult>" + entry + b"</ListBucketResult>"
    encoded = plain.replace(entry, b"<EncodingType>url</EncodingType>" + entry)
    async with talking_to(an_answer(plain), an_answer(encoded)) as (_, s3):
        keys = [(await s3.list_page("b")).objects[0].key for _ in range(2)]
    assert keys == ["a%20b+c", "a b c"]


async def test_a_listing_in_answer_to_versioning_means_no_versions() -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    async with talking_to(an_answer(LISTING), an_answer(enabled)) as (_, s3):
        assert [await s3.versioning("b") for _ in range(2)] == ["", "Enabled"]


async def test_uploads_are_listed_page_by_page() -> None:
    first = (
        b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated>"
        b"<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"
        b"<Upload><Key>k</Key><UploadId>1</UploadId></Upload></ListMultipartUploadsResult>"
    )
    last = (
        b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
        b"<Upload><Key>k</Key><UploadId>2</UploadId></Upload></ListMultipartUploadsResult>"
    )
    async with talking_to(an_answer(first), an_answer(last)) as (server, s3):
        found = [upload.upload_id async for page in s3.list_uploads("b") for upload in page]
    assert found == ["1", "2"]
    assert "key-marker=k&upload-id-marker=1" in server.lines[1]


async def test_keys_that_xml_cannot_hold_are_deleted_one_by_one() -> None:
    done = an_answer(b"<DeleteResult/>")
    async with talking_to(an_answer(), done) as (server, s3):
        assert await s3.delete_many("b", ["\x01", "a&<\n>"]) == {}
    assert [line.split()[0] for line in server.lines] == ["DELETE", "POST"]
    assert b"<Key>a&amp;&lt;&#10;&gt;</Key>" in server.requests[1][2]


async def test_a_server_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.2)
    async with talking_to(b"") as (_, s3):
        with pytest.raises(S3Unreachable, match="in time") as silence:
            await s3.call("GET", "/", tries=1)
    assert silence.value.maybe_done


async def test_an_answer_that_takes_longer_than_a_request_may_is_given_up() -> None:
    unfinished = an_answer(b"xx").removesuffix(b"x")
    async with talking_to(unfinished, request_seconds=0.2) as (_, s3):
        with pytest.raises(S3Unreachable, match="in time"):
            await s3.call("GET", "/", tries=1)


async def test_a_refusal_in_the_middle_of_a_long_body_is_told() -> None:
    async with talking_to(an_error("403 Forbidden", "AccessDenied"), kind=Hasty) as (_, s3):
        with pytest.raises(S3Error, match="AccessDenied"):
            await s3.put("b", "k", b"x" * 50_000_000)


async def test_headers_that_could_not_be_sent_again_are_refused() -> None:
    latin = an_answer(b"x").replace(b"\r\n\r\n", b"\r\nx-amz-meta-a: \xe9\r\n\r\n")
    async with talking_to(latin) as (_, s3):
        with pytest.raises(BadGateway, match="headers"):
            await s3.read("b", "k")


async def test_nobody_listening_is_certain(free_port: int) -> None:
    async with S3Client(f"http://127.0.0.1:{free_port}", "key", "secret") as s3:
        with pytest.raises(S3Unreachable) as refusal:
            await s3.call("GET", "/", tries=1)
    assert not refusal.value.maybe_done

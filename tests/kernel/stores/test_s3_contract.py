"""What our S3 client promises, on every S3 server that we have."""

import hashlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import boto3
import pytest
import pytest_asyncio
from botocore.config import Config

from holdfast.kernel.errors import Invalid
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error, S3Unreachable
from holdfast.kernel.stores.s3.model import BucketTotals, Upload
from tests.servers.s3 import S3_SERVERS, S3Server

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024 * 1024
HEADERS = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "max-age=3",
    "content-encoding": "gzip",
    "content-disposition": 'attachment; filename="x y.txt"',
    "x-amz-meta-note": "two  blanks",
}
ODD_KEYS = [
    "plain.txt",
    "a b+c.txt",
    "日本/é ü.txt",
    "amp&<>'\".x",
    "~tilde/(1)!*",
    "back\\slash",
    "q=1;r,s:t@u$v",
    "/".join(["d" * 127] * 8),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=S3_SERVERS)
async def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[S3Server]:
    async with S3_SERVERS[request.param](tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def s3(server: S3Server) -> AsyncIterator[S3Client]:
    async with server.client() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def bucket(s3: S3Client) -> str:
    name = f"b-{uuid.uuid4().hex[:12]}"
    assert await s3.create_bucket(name)
    return name


async def keys_of(s3: S3Client, bucket: str, *, by_folder: bool) -> list[str]:
    return [o.key async for page in s3.list_objects(bucket, by_folder=by_folder) for o in page]


def boto_client(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4"),
    )


async def chunks_of(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


async def test_a_bucket_is_made_seen_and_deleted_once(s3: S3Client) -> None:
    name = f"b-{uuid.uuid4().hex[:12]}"
    made = [await s3.create_bucket(name), await s3.create_bucket(name)]
    seen = name in await s3.list_buckets() and await s3.head_bucket(name)
    deleted = [await s3.delete_bucket(name), await s3.delete_bucket(name)]
    assert (made, seen, deleted) == ([True, False], True, [True, False])
    assert not await s3.head_bucket(name)


async def test_an_object_comes_back_with_its_content_and_headers(s3: S3Client, bucket: str) -> None:
    etag = await s3.put(bucket, "k", b"hello", headers=HEADERS)
    head, content = await s3.read(bucket, "k")
    assert content == b"hello"
    assert head.headers == HEADERS
    assert head.etag == etag == hashlib.md5(b"hello").hexdigest()
    assert head.modified > 0


async def test_an_empty_object_is_an_object(s3: S3Client, bucket: str) -> None:
    await s3.put(bucket, "empty", b"")
    head, content = await s3.read(bucket, "empty")
    assert (head.size_bytes, content) == (0, b"")


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: key[:12])
async def test_a_key_comes_back_from_listings_as_it_went_in(
    s3: S3Client, bucket: str, key: str
) -> None:
    await s3.put(bucket, key, key.encode())
    assert await keys_of(s3, bucket, by_folder=True) == [key]
    assert await keys_of(s3, bucket, by_folder=False) == [key]
    assert (await s3.read(bucket, key))[1] == key.encode()
    assert await s3.delete_many(bucket, [key]) == {}
    assert await keys_of(s3, bucket, by_folder=True) == []


@pytest.mark.parametrize("key", ["a//b", "a/../b", "./a", "/a"])
async def test_a_key_that_the_server_cannot_keep_is_refused_and_never_changed(
    s3: S3Client, bucket: str, key: str
) -> None:
    with pytest.raises(S3Error) as refusal:
        await s3.put(bucket, key, b"x")
    assert refusal.value.status == 400
    assert await keys_of(s3, bucket, by_folder=True) == []


@pytest.mark.parametrize("key", ["", "x" * 1025, "é" * 513, "\ud800"])
async def test_a_key_that_s3_cannot_have_is_not_sent(s3: S3Client, bucket: str, key: str) -> None:
    with pytest.raises(Invalid):
        await s3.put(bucket, key, b"x")


async def test_a_listing_by_folder_finds_keys_that_sort_between_pages(
    server: S3Server, s3: S3Client, bucket: str
) -> None:
    folder = server.data_dir / bucket / "a"
    folder.mkdir()
    for number in range(1005):
        (folder / f"{number:04d}").write_bytes(b"1")
    (server.data_dir / bucket / "a!b").write_bytes(b"12")
    found = await keys_of(s3, bucket, by_folder=True)
    assert sorted(found) == sorted(["a!b", *(f"a/{number:04d}" for number in range(1005))])
    assert await s3.totals(bucket) == BucketTotals(1006, 1007)


async def test_a_prefix_limits_a_listing(s3: S3Client, bucket: str) -> None:
    for key in ("a/1", "a/b/2", "c/3"):
        await s3.put(bucket, key, b"x")
    pages = [page async for page in s3.list_objects(bucket, prefix="a/", by_folder=True)]
    assert sorted(listed.key for page in pages for listed in page) == ["a/1", "a/b/2"]


async def test_a_missing_object_is_told_from_a_missing_bucket(s3: S3Client, bucket: str) -> None:
    with pytest.raises(S3Error) as missing:
        await s3.read(bucket, "absent")
    with pytest.raises(S3Error) as no_bucket:
        await s3.read("no-such-bucket-here", "absent")
    assert (missing.value.s3_code, missing.value.is_missing) == ("NoSuchKey", True)
    assert (no_bucket.value.s3_code, no_bucket.value.is_missing) == ("NoSuchBucket", True)


async def test_deleting_what_is_not_there_is_no_failure(s3: S3Client, bucket: str) -> None:
    await s3.delete(bucket, "absent")
    assert await s3.delete_many(bucket, ["absent", "also/absent"]) == {}


async def test_a_range_is_a_piece_of_the_object(s3: S3Client, bucket: str) -> None:
    await s3.put(bucket, "k", b"0123456789")
    async with s3.get(bucket, "k", first=3, last=5) as reader:
        assert (reader.head.size_bytes, reader.head.body_bytes) == (10, 3)
        assert await reader.read() == b"345"


async def test_a_stream_is_sent_and_read_in_pieces(s3: S3Client, bucket: str) -> None:
    content = bytes(range(256)) * 8192
    await s3.put(bucket, "k", chunks_of(content), size_bytes=len(content))
    md5 = hashlib.md5()
    async with s3.get(bucket, "k") as reader:
        async for chunk in reader.chunks():
            md5.update(chunk)
    assert md5.hexdigest() == hashlib.md5(content).hexdigest() == reader.head.etag


async def test_a_stream_that_ends_early_leaves_no_object(s3: S3Client, bucket: str) -> None:
    with pytest.raises(S3Unreachable):
        await s3.put(bucket, "k", chunks_of(b"x" * 1000), size_bytes=1_000_000)
    with pytest.raises(S3Error):
        await s3.head(bucket, "k")


async def test_parts_become_one_object(s3: S3Client, bucket: str) -> None:
    parts = [b"a" * 5 * MIB, b"b" * 100]
    upload = await s3.create_multipart(bucket, "k", headers=HEADERS)
    etags = [
        await s3.upload_part(bucket, "k", upload, 1, chunks_of(parts[0]), size_bytes=len(parts[0])),
        await s3.upload_part(bucket, "k", upload, 2, parts[1]),
    ]
    listed = await s3.list_parts(bucket, "k", upload)
    pending = [u async for page in s3.list_uploads(bucket) for u in page]
    etag = await s3.complete_multipart(bucket, "k", upload, list(enumerate(etags, 1)))
    assert [(p.number, p.etag, p.size_bytes) for p in listed] == [
        (1, etags[0], 5 * MIB),
        (2, etags[1], 100),
    ]
    assert pending == [Upload("k", upload)]
    assert etag.endswith("-2")
    head, content = await s3.read(bucket, "k")
    assert content == b"".join(parts)
    assert head.headers == HEADERS


async def test_an_aborted_upload_is_gone(s3: S3Client, bucket: str) -> None:
    upload = await s3.create_multipart(bucket, "k")
    await s3.upload_part(bucket, "k", upload, 1, b"x")
    await s3.abort_multipart(bucket, "k", upload)
    await s3.abort_multipart(bucket, "k", upload)
    assert [u async for page in s3.list_uploads(bucket) for u in page] == []


async def test_a_copy_inside_the_server_keeps_the_content(s3: S3Client, bucket: str) -> None:
    await s3.put(bucket, "from here +é", b"hello", headers={"x-amz-meta-a": "1"})
    etag = await s3.copy(bucket, "from here +é", bucket, "to")
    head, content = await s3.read(bucket, "to")
    assert (content, head.etag, head.headers["x-amz-meta-a"]) == (b"hello", etag, "1")


async def test_a_presigned_url_needs_no_keys(s3: S3Client, bucket: str) -> None:
    await s3.put(bucket, "a b/é.txt", b"hello")
    async with aiohttp.ClientSession() as anybody:
        async with anybody.get(s3.presign("GET", bucket, "a b/é.txt")) as answer:
            assert await answer.read() == b"hello"
        async with anybody.get(f"{s3.endpoint}/{bucket}/a%20b/%C3%A9.txt") as answer:
            assert answer.status in {400, 403}


async def test_a_server_without_versions_says_so(s3: S3Client, bucket: str) -> None:
    await s3.put(bucket, "k", b"x")
    assert await s3.versioning(bucket) == ""


async def test_a_wrong_secret_is_told_and_not_shown(server: S3Server) -> None:
    async with S3Client(server.endpoint, server.access_key, "wrong-secret") as stranger:
        with pytest.raises(S3Error) as refusal:
            await stranger.list_buckets()
        assert refusal.value.status == 403
        assert refusal.value.hint
        assert "secret" not in f"{refusal.value} {stranger!r}"


async def test_another_client_reads_what_we_wrote(
    server: S3Server, s3: S3Client, bucket: str
) -> None:
    await s3.put(bucket, "a b/é+1.txt", b"hello", headers=HEADERS)
    answer = boto_client(server).get_object(Bucket=bucket, Key="a b/é+1.txt")
    assert answer["Body"].read() == b"hello"
    assert answer["ContentType"] == HEADERS["content-type"]
    notes = {name.lower(): value for name, value in answer["Metadata"].items()}
    assert notes == {"note": "two  blanks"}


async def test_we_read_what_another_client_wrote(
    server: S3Server, s3: S3Client, bucket: str
) -> None:
    boto_client(server).put_object(
        Bucket=bucket, Key="a b/é+1.txt", Body=b"hello", Metadata={"n": "1"}, ContentType="a/b"
    )
    head, content = await s3.read(bucket, "a b/é+1.txt")
    assert content == b"hello"
    assert head.headers == {"content-type": "a/b", "x-amz-meta-n": "1"}

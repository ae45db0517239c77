"""What every store promises, asked of each of them with its real server behind it."""

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio

from holdfast.kernel.errors import AppError, Invalid, NotFound
from holdfast.kernel.stores.bucket import BucketStore
from holdfast.kernel.stores.directory import DirectoryStore
from holdfast.kernel.stores.memory import MemoryStore
from holdfast.kernel.stores.model import HashKind, Store
from holdfast.kernel.stores.rclone import RcloneStore
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.transfer import copy, hash_of
from tests.servers.s3 import S3Server, nanio_server, rclone_s3_server
from tests.servers.sftp import sftp_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
BIG = secrets.token_bytes(20 * 1024 * 1024)
"""More than one part of an upload to S3."""


class Servers:
    """Real servers, each started when first asked for, and a new place in one for each test."""

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory, self._stack = directory, stack
        self._running: dict[str, Any] = {}
        self._places = itertools.count()

    def place(self) -> str:
        """A name that no other test has."""
        return f"contract-{next(self._places)}"

    async def nanio(self) -> S3Server:
        return cast("S3Server", await self._once("nanio", nanio_server))

    async def rclone_s3(self) -> S3Server:
        return cast("S3Server", await self._once("rclone-s3", rclone_s3_server))

    async def daemon(self) -> RcloneDaemon:
        return cast("RcloneDaemon", await self._once("daemon", RcloneDaemon))

    async def _once(self, name: str, start: Callable[[Path], Any]) -> Any:
        if name not in self._running:
            self._running[name] = await self._stack.enter_async_context(
                start(self._directory / name)
            )
        return self._running[name]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


@asynccontextmanager
async def memory(_: Servers, __: Path) -> AsyncIterator[Store]:
    yield MemoryStore()


@asynccontextmanager
async def directory(_: Servers, tmp_path: Path) -> AsyncIterator[Store]:
    root = tmp_path / "root"
    root.mkdir()
    yield DirectoryStore(root)


@asynccontextmanager
async def bucket_at_nanio(servers: Servers, _: Path) -> AsyncIterator[Store]:
    bucket, server = servers.place(), await servers.nanio()
    async with server.client() as client:
        await client.create_bucket(bucket)
        yield BucketStore(client, bucket)


@asynccontextmanager
async def bucket_at_rclone(servers: Servers, _: Path) -> AsyncIterator[Store]:
    bucket, server = servers.place(), await servers.rclone_s3()
    async with server.client() as client:
        await client.create_bucket(bucket)
        yield BucketStore(client, bucket)


@asynccontextmanager
async def remote_directory(servers: Servers, tmp_path: Path) -> AsyncIterator[Store]:
    root = tmp_path / "a [root] of: many"
    root.mkdir()
    yield await RcloneStore.connect(await servers.daemon(), Remote("local", {}, str(root)))


def s3_remote(server: S3Server, bucket: str) -> Remote:
    options = {
        "provider": "Other",
        "endpoint": server.endpoint,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "force_path_style": "true",
        "list_version": "2",
    }
    return Remote("s3", options, bucket)


@asynccontextmanager
async def remote_bucket(servers: Servers, _: Path) -> AsyncIterator[Store]:
    bucket, server = servers.place(), await servers.nanio()
    async with server.client() as client:
        await client.create_bucket(bucket)
    yield await RcloneStore.connect(await servers.daemon(), s3_remote(server, bucket))


@asynccontextmanager
async def remote_sftp(servers: Servers, tmp_path: Path) -> AsyncIterator[Store]:
    async with sftp_server(tmp_path / "server") as server:
        remote = Remote("sftp", server.options, "files")
        yield await RcloneStore.connect(await servers.daemon(), remote)


Maker = Callable[[Servers, Path], AbstractAsyncContextManager[Store]]
REAL: dict[str, Maker] = {
    "nanio": bucket_at_nanio,
    "rclone-s3": bucket_at_rclone,
    "rclone-directory": remote_directory,
    "rclone-bucket": remote_bucket,
    "rclone-sftp": remote_sftp,
}
MAKERS: dict[str, Maker] = {"memory": memory, "directory": directory, **REAL}
STORES = [
    "memory",
    "directory",
    *(pytest.param(name, marks=pytest.mark.real) for name in REAL),
]
BEHIND_NANIO = ("nanio", "rclone-bucket")
PAIRS = [
    pytest.param(source, target, marks=pytest.mark.real)
    for source, target in [
        ("directory", "nanio"),
        ("nanio", "rclone-directory"),
        ("rclone-bucket", "directory"),
        ("rclone-s3", "rclone-sftp"),
        ("rclone-sftp", "memory"),
    ]
]


@pytest_asyncio.fixture(params=STORES, loop_scope="module")
async def store(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path
) -> AsyncIterator[Store]:
    async with MAKERS[request.param](servers, tmp_path) as made:
        yield made


async def chunks(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def breaks_off(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionResetError("the source went away")


async def read(store: Store, path: str, *, offset: int = 0) -> bytes:
    async with store.open(path, offset=offset) as content:
        return b"".join([chunk async for chunk in content])


async def paths(store: Store, prefix: str = "") -> list[str]:
    return sorted([entry.path async for entry in store.list(prefix)])


async def test_what_is_written_is_read_again(store: Store) -> None:
    entry = await store.write("folder/file.txt", chunks(b"hello"), size_bytes=5)
    assert (entry.path, entry.size_bytes) == ("folder/file.txt", 5)
    assert await read(store, "folder/file.txt") == b"hello"


async def test_an_empty_file_is_a_file(store: Store) -> None:
    assert (await store.write("empty", chunks(b""))).size_bytes == 0
    assert await read(store, "empty") == b""
    assert await paths(store) == ["empty"]


async def test_big_content_comes_back_whole_and_from_the_middle(store: Store) -> None:
    await store.write("big", chunks(BIG))
    assert hashlib.sha256(await read(store, "big")).digest() == hashlib.sha256(BIG).digest()
    assert await read(store, "big", offset=len(BIG) - 10) == BIG[-10:]


async def test_reading_from_the_end_on_gives_nothing(store: Store) -> None:
    await store.write("file", chunks(b"hello"))
    assert await read(store, "file", offset=5) == b""


async def test_a_path_is_written_again_with_the_new_content(store: Store) -> None:
    await store.write("file", chunks(b"the first content"))
    await store.write("file", chunks(b"second"))
    assert await read(store, "file") == b"second"
    assert await paths(store) == ["file"]


async def test_names_may_hold_what_people_put_in_them(store: Store) -> None:
    names = ["ä/ö ü.txt", "a+b&c=d#?.txt", 'quote\'s "so" [x] {y};$(z)', "-rf", "e/.hidden"]
    for name in names:
        await store.write(name, chunks(name.encode()))
    assert await paths(store) == sorted(names)
    for name in names:
        assert await read(store, name) == name.encode()
        assert (await store.stat(name)).size_bytes == len(name.encode())


async def test_a_percent_sign_is_a_letter_like_any_other(
    store: Store, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["store"] in BEHIND_NANIO:
        pytest.skip("nanio 0.1.7 checks the signature of another path than was asked for")
    await store.write("100%25 a%20b", chunks(b"hello"))
    assert await paths(store) == ["100%25 a%20b"]
    assert await read(store, "100%25 a%20b") == b"hello"


@pytest.mark.parametrize("path", ["", "/", "/etc/passwd", "../up", "a/../../b", "a//b", "a/", "."])
async def test_a_path_that_could_lead_elsewhere_is_refused(store: Store, path: str) -> None:
    for call in (store.stat(path), store.write(path, chunks(b"x")), store.delete(path)):
        with pytest.raises(Invalid):
            await call


async def test_a_missing_file_is_not_found(store: Store) -> None:
    await store.write("there/file", chunks(b"x"))
    for path in ("absent", "there/absent", "there/file/below", "there"):
        with pytest.raises(NotFound):
            await store.stat(path)
        with pytest.raises(NotFound):
            await read(store, path)


async def test_a_deleted_file_is_gone_and_deleting_it_again_is_fine(store: Store) -> None:
    await store.write("a/file", chunks(b"x"))
    await store.delete("a/file")
    await store.delete("a/file")
    assert await paths(store) == []
    with pytest.raises(NotFound):
        await store.stat("a/file")


async def test_a_listing_is_limited_to_whole_folders(store: Store) -> None:
    for path in ("a/1", "a/b/2", "ab/3", "4"):
        await store.write(path, chunks(path.encode()))
    assert await paths(store) == ["4", "a/1", "a/b/2", "ab/3"]
    assert await paths(store, "a") == ["a/1", "a/b/2"]
    assert await paths(store, "a/b/") == ["a/b/2"]
    assert await paths(store, "absent") == []


async def test_a_listing_tells_what_stat_tells(store: Store) -> None:
    await store.write("a/file", chunks(b"hello"))
    listed = [entry async for entry in store.list()]
    known = await store.stat("a/file")
    assert [(entry.path, entry.size_bytes) for entry in listed] == [("a/file", 5)]
    assert listed[0].hashes == known.hashes
    assert set(known.hashes) == store.can.hashes


async def test_modification_times_are_told_or_not_asked_for(store: Store) -> None:
    entry = await store.write("file", chunks(b"x"))
    listed = [entry async for entry in store.list()]
    for modified in (entry.modified, listed[0].modified):
        if store.can.modification_times:
            assert modified is not None
            assert abs(datetime.now(UTC) - modified) < timedelta(minutes=5)
        else:
            assert modified is None


async def test_a_source_that_breaks_off_leaves_nothing(store: Store) -> None:
    with pytest.raises((ConnectionResetError, AppError)):
        await store.write("a/file", breaks_off(b"x" * 100_000))
    assert await paths(store) == []


async def test_a_source_that_breaks_off_leaves_the_old_content(store: Store) -> None:
    await store.write("a/file", chunks(b"old"))
    with pytest.raises((ConnectionResetError, AppError)):
        await store.write("a/file", breaks_off(BIG))
    assert await read(store, "a/file") == b"old"
    assert await paths(store) == ["a/file"]


async def test_other_than_the_announced_length_is_not_stored(store: Store) -> None:
    with pytest.raises(AppError):
        await store.write("a/file", chunks(b"hello"), size_bytes=6)
    assert await paths(store) == []


async def test_more_files_than_a_page_are_all_listed(store: Store) -> None:
    count = 40 if "sftp" in store.name else 1200
    expected = {f"many/{number:04}" for number in range(count)}
    for number in range(0, count, 40):
        batch = (f"many/{each:04}" for each in range(number, number + 40))
        await asyncio.gather(*(store.write(path, chunks(b"x")) for path in batch))
    assert set(await paths(store)) == expected


@pytest.mark.parametrize("kind", HashKind)
async def test_any_hash_can_be_had(store: Store, kind: HashKind) -> None:
    await store.write("file", chunks(b"hello"))
    assert await hash_of(store, "file", kind) == hashlib.new(kind, b"hello").hexdigest()


async def test_a_file_is_copied_within_a_store(store: Store) -> None:
    await store.write("a/file", chunks(b"hello"))
    assert (await copy(store, "a/file", store, "b/copy")).size_bytes == 5
    assert await read(store, "b/copy") == b"hello"
    with pytest.raises(NotFound):
        await copy(store, "absent", store, "b/absent")


@pytest.mark.parametrize(("source", "target"), PAIRS)
async def test_a_file_is_copied_between_stores(
    servers: Servers, source: str, target: str, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with (
        MAKERS[source](servers, tmp_path / "one") as first,
        MAKERS[target](servers, tmp_path / "two") as second,
    ):
        await first.write("a/big", chunks(BIG))
        assert (await copy(first, "a/big", second, "b/big")).size_bytes == len(BIG)
        assert await read(second, "b/big") == BIG

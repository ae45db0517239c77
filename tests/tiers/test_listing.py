"""What places tell of their files, asked of real ones: a directory, SFTP, S3."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.kernel.db import Database
from holdfast.kernel.errors import AppError, BadGateway
from holdfast.kernel.process import run
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place, S3Place
from holdfast.kernel.stores.rclone_daemon import RcloneDaemon, find_rclone
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.rclone_words import RcloneFailed
from holdfast.tiers.listing import ListingTotals, list_bucket, list_place, list_remote
from holdfast.tiers.merge import Count, Listed, read_listing, rests_of
from holdfast.tiers.names import remote_name
from tests.kernel.api import services_for
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, nanio_server
from tests.servers.sftp import sftp_server

pytestmark = pytest.mark.real

PLAIN = [b"top", b"a/one", b"a/b/two", b"a.b/three", b"ab/four", b"a/b.c", b"empty"]
IN_KEYS = [
    *(b"-dash", b" lead", b"trail ", b'quo"te', b"it's; $(x) `y`", b"comma,semi;", b"gro\xdf"),
    *("\u201b\u201bDF \u201b\u201b".encode(), "a \u240a b".encode(), b"back\\slash"),
    *(b"[brackets] {braces} *?", b"p% +c", "\u00e9".encode(), b".hidden"),
]
ODD = [*IN_KEYS, b"new\nline", b"new\nline,5,5\nforged,1,1", b"tab\tand\rreturn", b"\x7f\x1b"]
HARD = [b"gro\xdf", b"[brackets] {braces} *?", b"new\nline", b"back\\slash"]
PATHS = [*PLAIN, *(b"odd/" + name for name in ODD)]


def content(path: bytes) -> bytes:
    return b"" if path == b"empty" else b"content of " + path


def put(root: Path, paths: list[bytes]) -> Path:
    for path in paths:
        file = root / os.fsdecode(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(path))
    return root


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[RcloneDaemon]:
    async with RcloneDaemon(tmp_path / "d") as running:
        yield running


Found = tuple[ListingTotals, dict[bytes, Listed]]


async def of_remote(daemon: RcloneDaemon, remote: Remote, to: Path, below: bytes = b"") -> Found:
    totals = await list_remote(daemon, remote, below, to)
    return totals, checked(to)


def checked(to: Path) -> dict[bytes, Listed]:
    found = list(read_listing(to))
    order = [listed.path + b"//" for listed in found]
    assert order == sorted(set(order))
    assert {file.name for file in to.parent.iterdir()} == {to.name, rests_of(to).name}
    return {listed.path: listed for listed in found}


@pytest.fixture
def to(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work" / "listing"


async def test_a_directory_tells_all_its_files_under_their_names(
    daemon: RcloneDaemon, tmp_path: Path, to: Path
) -> None:
    root = put(tmp_path / "tree", PATHS)
    (root / " ERROR : error listing").symlink_to("absent")  # rclone tells its name, in its log
    remote = Remote("local", {}, str(root))
    totals, found = await of_remote(daemon, remote, to)
    assert set(found) == set(PATHS)
    assert all(found[path].size_bytes == len(content(path)) for path in PATHS)
    assert totals == ListingTotals(
        listed=Count(len(PATHS), sum(len(content(path)) for path in PATHS)), hash_kind=None
    )
    assert all(found[path].stored_as == remote_name(path) for path in PATHS)
    changed = root / "top"
    os.utime(changed, ns=(0, 5_000_000_123))
    assert (await of_remote(daemon, remote, to))[1][b"top"].version == "5000000123"
    for below in (b"a", b"a/one", b"a/b", b"nowhere", *(b"odd/" + name for name in HARD)):
        expected = {path for path in PATHS if path == below or path.startswith(below + b"/")}
        assert set((await of_remote(daemon, remote, to, below))[1]) == expected, below


async def test_a_directory_that_is_not_there_is_no_empty_listing(
    daemon: RcloneDaemon, tmp_path: Path, to: Path
) -> None:
    with pytest.raises(AppError):
        await list_remote(daemon, Remote("local", {}, str(tmp_path / "none")), b"", to)
    assert not list(to.parent.iterdir())


async def test_a_listing_that_broke_off_leaves_nothing(
    daemon: RcloneDaemon, tmp_path: Path, to: Path
) -> None:
    """Below the first files is a folder whose path is too long to be opened."""
    root = put(tmp_path / "tree", PLAIN)
    at = os.open(root, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    with pytest.raises(RcloneFailed, match="not whole"):
        await list_remote(daemon, Remote("local", {}, str(root)), b"", to)
    assert not list(to.parent.iterdir())


async def test_an_sftp_server_tells_what_it_has(
    daemon: RcloneDaemon, tmp_path: Path, to: Path
) -> None:
    async with sftp_server(tmp_path / "server") as server:
        put(server.files, PATHS)
        remote = Remote("sftp", server.options, "files")
        totals, found = await of_remote(daemon, remote, to)
        assert (set(found), totals.hash_kind) == (set(PATHS), None)
        assert all(found[path].version for path in PATHS)
        below = {path for path in PATHS if path.startswith(b"odd/")}
        assert set((await of_remote(daemon, remote, to, b"odd"))[1]) == below
        with pytest.raises(AppError) as caught:
            await list_remote(daemon, Remote("sftp", server.options, "none"), b"", tmp_path / "l")
        assert server.password not in str(caught.value.body())
        assert not list(tmp_path.glob("l*"))


@asynccontextmanager
async def a_bucket(directory: Path) -> AsyncIterator[tuple[S3Server, S3Place]]:
    async with nanio_server(directory) as server, server.client() as client:
        await client.create_bucket("lab")
        yield server, a_place(server.endpoint)


def a_place(endpoint: str, prefix: str = "") -> S3Place:
    return S3Place(
        endpoint=endpoint,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        region="us-east-1",
        bucket="lab",
        prefix=prefix,
    )


def a_remote(server: S3Server, root: str) -> Remote:
    options = {
        "provider": "Other",
        "endpoint": server.endpoint,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
        "list_version": "2",
    }
    return Remote("s3", options, root)


async def test_a_bucket_tells_what_rclone_put_there_under_the_names_on_the_disk(
    daemon: RcloneDaemon, tmp_path: Path, to: Path
) -> None:
    paths = [*PLAIN, *(b"odd/" + name for name in IN_KEYS)]
    root = put(tmp_path / "tree", paths)
    async with a_bucket(tmp_path / "server") as (server, _):
        await copy(daemon, root, a_remote(server, "lab/team"))
        place = a_place(server.endpoint, "team/")
        totals = await list_bucket(place, b"", to)
        found = checked(to)
        assert set(found) == set(paths)
        assert (totals.listed.files, totals.left_out) == (len(paths), 0)
        assert totals.hash_kind is HashKind.MD5
        for path in paths:
            digest = hashlib.md5(content(path), usedforsecurity=False).hexdigest()
            assert (found[path].digest, found[path].version) == (digest, digest)
        for below in (b"a", b"a/one", b"a/b", b"nowhere", b"odd/gro\xdf", b"odd"):
            await list_bucket(place, below, to)
            expected = {path for path in paths if path == below or path.startswith(below + b"/")}
            assert set(checked(to)) == expected, below
        # The same by rclone, as for a store that our own client does not know how to ask.
        _, by_rclone = await of_remote(daemon, a_remote(server, "lab/team"), to)
        assert {path: one.digest for path, one in by_rclone.items()} == {
            path: one.digest for path, one in found.items()
        }


async def copy(daemon: RcloneDaemon, root: Path, remote: Remote) -> None:
    await daemon.call("rc/noop", {}, remotes=(remote,))
    words = [find_rclone(), "--config=", "copy", "--retries=1", str(root), f"hf:{remote.root}"]
    await run(words, timeout_seconds=60, env={"HOME": str(root), **remote.environment()})


async def test_an_etag_that_is_no_hash_is_a_version_and_no_digest(tmp_path: Path, to: Path) -> None:
    async with a_bucket(tmp_path) as (server, place), server.client() as client:
        upload = await client.create_multipart("lab", "parts")
        part = await client.upload_part("lab", "parts", upload, 1, chunks(b"x"), size_bytes=1)
        etag = await client.complete_multipart("lab", "parts", upload, [(1, part)])
        await list_bucket(place, b"", to)
        (one,) = read_listing(to)
        assert (one.path, one.digest, one.version) == (b"parts", "", etag)
        assert "-" in etag


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_many_pages_and_folders_are_read_whole(tmp_path: Path, to: Path) -> None:
    async with a_bucket(tmp_path) as (server, place):
        folder = server.data_dir / "lab"
        names = {f"{n % 7}.d/{n % 3}/{n}" for n in range(300)} | {f"flat/{n}" for n in range(1100)}
        put(folder, [name.encode() for name in names | {"0"}])
        totals = await list_bucket(place, b"", to)
        assert {os.fsdecode(path) for path in checked(to)} == names | {"0"}
        assert totals.listed.files == len(names) + 1


async def test_a_missing_bucket_is_no_empty_listing(tmp_path: Path, to: Path) -> None:
    async with nanio_server(tmp_path) as server:
        for below in (b"", b"a/b"):
            with pytest.raises(AppError):
                await list_bucket(a_place(server.endpoint), below, to)
    assert not list(to.parent.iterdir())


PAGE = b"""<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>%b</IsTruncated>
<NextContinuationToken>more</NextContinuationToken><Contents><Key>%b</Key><Size>1</Size>
<ETag>"0123456789abcdef0123456789abcdef"</ETag></Contents></ListBucketResult>"""


@asynccontextmanager
async def a_server(*bodies: bytes) -> AsyncIterator[str]:
    """Answers with these bodies, one after the other; an empty one and what follows: forbidden."""
    waiting = list(bodies)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = waiting.pop(0) if waiting else b""
        status = b"200 OK" if body else b"403 Forbidden"
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        writer.write(head % (status, len(body)) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_truncated_listing_of_a_bucket_is_none(to: Path) -> None:
    async with a_server(PAGE % (b"true", b"a")) as endpoint:
        with pytest.raises(AppError):
            await list_bucket(a_place(endpoint), b"", to)
    assert not list(to.parent.iterdir())


async def test_a_listing_that_does_not_get_on_is_none(to: Path) -> None:
    async with a_server(*[PAGE % (b"true", b"a")] * 3) as endpoint:
        with pytest.raises(BadGateway):
            await list_bucket(a_place(endpoint), b"", to)


async def test_what_comes_twice_is_listed_once_or_not_at_all(to: Path) -> None:
    """Two objects of one name here would make a proof of one stand for the other."""
    twice = PAGE % (b"true", b"a"), PAGE % (b"false", b"a")
    async with a_server(*twice) as endpoint:
        assert (await list_bucket(a_place(endpoint), b"", to)).listed == Count(1, 1)
    changed = twice[1].replace(b"<Size>1<", b"<Size>2<")
    async with a_server(twice[0], changed) as endpoint:
        totals = await list_bucket(a_place(endpoint), b"", to)
    assert (totals.listed, totals.left_out) == (Count(0, 0), 2)
    assert totals.left_names == ((b"a", 1), (b"a", 2))


async def test_a_marker_of_an_empty_folder_is_no_file(to: Path) -> None:
    async with a_server(PAGE % (b"false", b"folder/")) as endpoint:
        totals = await list_bucket(a_place(endpoint), b"", to)
    assert (totals.listed, totals.left_out) == (Count(0, 0), 0)


@pytest.mark.parametrize("key", [b"a//b", b"/a", b"q\xe2\x80\x9bx"])
async def test_keys_that_no_pull_would_bring_are_left_out(to: Path, key: bytes) -> None:
    async with a_server(PAGE % (b"false", key)) as endpoint:
        totals = await list_bucket(a_place(endpoint), b"", to)
    assert (totals.listed, totals.left_out) == (Count(0, 0), 1)
    assert totals.left_names == ((key, 1),)


async def test_a_place_is_asked_by_our_client_or_by_rclone(
    sqlite_template: Path, tmp_path: Path, to: Path
) -> None:
    services = services_for(Database(f"sqlite+aiosqlite:///{sqlite_template}"), tmp_path / "own")
    build_hub(services)
    put(tmp_path / "tree", PLAIN)
    remote = Remote("local", {}, str(tmp_path / "tree"))
    local = Place(name="d", kind="local", remote=remote, s3=None)
    try:
        assert (await list_place(services, local, b"a", to)).listed.files == 3
        async with a_bucket(tmp_path / "server") as (server, s3):
            place = Place(name="s", kind="s3", remote=a_remote(server, "lab"), s3=s3)
            assert (await list_place(services, place, b"", to)).listed == Count()
    finally:
        await services.get(RcloneHub).stop()
        await services.database.close()

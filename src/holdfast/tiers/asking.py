"""Asks a store about single files: what it holds under a name, and what its content is.

rclone takes the names from a file and asks several at a time; S3 is asked by our own client.
"""

import asyncio
import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from holdfast.kernel.errors import AppError
from holdfast.kernel.process import ProcessFailed, stream
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub
from holdfast.kernel.stores.model import HashKind, Powers
from holdfast.kernel.stores.place import Place, S3Place
from holdfast.kernel.stores.rclone import RcloneStore
from holdfast.kernel.stores.rclone_daemon import find_rclone, rclone_environment
from holdfast.kernel.stores.rclone_words import (
    LOG_IN_JSON,
    RcloneFailed,
    listing_failure,
    spoils_listing,
)
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.tiers.listing import SFTP_CONNECTIONS
from holdfast.tiers.names import remote_name, s3_key

R = TypeVar("R")
SILENCE_SECONDS = 3600.0
"""A store may need long to hash one large file."""
AT_ONCE = 16
HASHED_AT_ONCE = 4
TRIES = 3
NOBODYS = b".holdfast-nothing"
"""A name that no store has."""
MOST_QUESTIONS = 64
"""To find the names that cannot be asked for; of a whole folder of them, some others wait too."""
PREFERRED = (HashKind.MD5, HashKind.SHA1, HashKind.SHA256)
RCLONE_MD5 = "x-amz-meta-md5chksum"
"""Where rclone keeps the MD5 of what it uploads in parts: base64."""
SAFE_IN_MARKS = "-_.~:+=,;@"
"""As listings write the marks of S3: no spaces."""
_HEX = re.compile(r"[0-9a-f]{32,}")
_MD5 = re.compile(r"[0-9a-f]{32}")


class Told(NamedTuple):
    """What a store says of a file."""

    size_bytes: int
    mark: str = ""
    """Another one after every change (ETag, time of change); empty: the store has none."""
    kind: HashKind | None = None
    digest: str = ""
    """Of its content, in hex; empty: the store does not know it."""


Ask = Callable[[Services, Place, Sequence[bytes], Path], Awaitable[dict[bytes, Told]]]
"""`ask_place`, or what answers like it."""


async def ask_place(
    services: Services, place: Place, paths: Sequence[bytes], work: Path
) -> dict[bytes, Told]:
    """What a store has of these paths; those that it has not are missing in the answer.

    Also those hashes for which the place must read the content. Raises what is wrong with the
    store: no answer is ever less than whole.
    """
    if not paths:
        return {}
    if place.s3 is not None:
        return await _ask_s3(place.s3, paths)
    powers = await powers_of(services, place)
    costly = not powers.hashes
    kind = best_kind(powers)
    parts = HASHED_AT_ONCE if kind and costly else 1
    size = -(-len(paths) // parts)
    asked = [paths[start : start + size] for start in range(0, len(paths), size)]
    answers = await together(
        _ask_rclone(services, place, part, powers, kind, work, len(asked)) for part in asked
    )
    return {path: told for answer in answers for path, told in answer.items()}


async def ask_apart(
    ask: Ask, services: Services, place: Place, paths: Sequence[bytes], work: Path
) -> tuple[dict[bytes, Told], set[bytes]]:
    """The answers of ``ask``, and the paths that cannot be asked for: no other waits for those.

    One folder that the store's user may not enter makes rclone fail for all names of a question.
    Raises what is wrong with a store that cannot be asked for anything.
    """
    try:
        return await ask(services, place, paths, work), set()
    except AppError as error:
        try:
            await ask(services, place, [NOBODYS], work)
        except AppError:
            raise error from None
    found: dict[bytes, Told] = {}
    refused: set[bytes] = set()
    waiting, questions = list(_halves(paths)), 0
    while waiting:
        part = waiting.pop()
        questions += 1
        try:
            found |= await ask(services, place, part, work)
        except AppError:
            if len(part) == 1 or questions >= MOST_QUESTIONS:
                refused |= set(part)
            else:
                waiting += _halves(part)
    return found, refused


def _halves(paths: Sequence[bytes]) -> list[Sequence[bytes]]:
    half = (len(paths) + 1) // 2
    return [part for part in (paths[half:], paths[:half]) if part]


async def powers_of(services: Services, place: Place) -> Powers:
    """What rclone can do with a place."""
    return (await RcloneStore.connect(services.get(RcloneHub).daemon, place.remote)).can


def best_kind(powers: Powers) -> HashKind | None:
    """The hash by which content is compared with a place."""
    known = powers.hashes or powers.hashes_on_server
    return next((kind for kind in PREFERRED if kind in known), None)


async def content_hash(services: Services, place: Place, path: bytes) -> tuple[int, str] | None:
    """Length and SHA-256 of a stored file's content, by reading all of it; None: it is gone."""
    digest, size = hashlib.sha256(), 0
    async with _content(services, place, path) as chunks:
        if chunks is None:
            return None
        async for chunk in chunks:
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


@asynccontextmanager
async def _content(
    services: Services, place: Place, path: bytes
) -> AsyncIterator[AsyncIterator[bytes] | None]:
    if place.s3 is not None:
        async with place.s3.client() as client:
            if await _head(client, place.s3, path) is None:
                yield None
                return
            async with client.get(place.s3.bucket, _key(place.s3, path)) as reader:
                yield reader.chunks()
        return
    name = (remote_name(path) or path).decode("utf-8", "surrogateescape")
    daemon = services.get(RcloneHub).daemon
    async with daemon.get(place.remote, name, {}) as answer:
        if answer.status == HTTPStatus.NOT_FOUND:
            yield None
            return
        if answer.status != HTTPStatus.OK:
            raise RcloneFailed(f"{place.name} does not give {name!r}: status {answer.status}")
        yield answer.content.iter_any()


async def _ask_s3(place: S3Place, paths: Sequence[bytes]) -> dict[bytes, Told]:
    found: dict[bytes, Told] = {}
    waiting = iter(paths)

    async def worker(client: S3Client) -> None:
        for path in waiting:
            if (told := await _head(client, place, path)) is not None:
                found[path] = told

    async with place.client(limit=AT_ONCE) as client:
        await together(worker(client) for _ in range(min(AT_ONCE, len(paths))))
    return found


async def together(calls: Iterable[Coroutine[None, None, R]]) -> list[R]:
    """All of them, or the first failure, with none left running."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* AppError as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _head(client: S3Client, place: S3Place, path: bytes) -> Told | None:
    if s3_key(path) is None:
        return None
    try:
        head = await client.head(place.bucket, _key(place, path))
    except S3Error as error:
        if error.is_missing and error.s3_code != "NoSuchBucket":
            return None
        raise
    digest = head.etag if _MD5.fullmatch(head.etag) else _kept_md5(head.headers)
    mark = quote(head.etag, safe=SAFE_IN_MARKS)
    return Told(size_bytes=head.size_bytes, mark=mark, kind=HashKind.MD5, digest=digest)


def _kept_md5(headers: Mapping[str, str]) -> str:
    try:
        found = base64.b64decode(headers.get(RCLONE_MD5, ""), validate=True).hex()
    except binascii.Error:
        return ""
    return found if _MD5.fullmatch(found) else ""


def _key(place: S3Place, path: bytes) -> str:
    return place.prefix + (s3_key(path) or "")


async def _ask_rclone(
    services: Services,
    place: Place,
    paths: Sequence[bytes],
    powers: Powers,
    kind: HashKind | None,
    work: Path,
    parts: int,
) -> dict[bytes, Told]:
    """``parts``: so many such questions are asked at once."""
    names = {name: path for path in paths if (name := remote_name(path)) is not None}
    asked = work / f"ask-{secrets.token_hex(8)}"
    await asyncio.to_thread(_write_names, asked, names)
    columns = "s" + ("t" if powers.modification_times else "") + ("h" if kind else "") + "p"
    daemon = services.get(RcloneHub).daemon
    lines = stream(
        [
            *_lsf(columns, kind, place.kind, parts),
            f"--files-from-raw={asked}",
            "--",
            f"hf:{place.remote.root}",
        ],
        silence_seconds=SILENCE_SECONDS,
        env={**rclone_environment(daemon.directory), **place.remote.environment()},
        cwd=work,
        fails_at=spoils_listing,
    )
    found: dict[bytes, Told] = {}
    try:
        async with aclosing(lines):
            async for line in lines:
                name, told = _read(line, columns, kind)
                if name in names:
                    found[names[name]] = told
    except ProcessFailed as error:
        raise listing_failure(error, place.remote, place.name) from None
    finally:
        asked.unlink(missing_ok=True)
    return found


def _lsf(columns: str, kind: HashKind | None, store: str, parts: int) -> list[str]:
    checkers = max(1, SFTP_CONNECTIONS // parts) if store == "sftp" else AT_ONCE
    words = [find_rclone(), "lsf", "-R", "--files-only", "--config=", "--separator=;"]
    words += [f"--format={columns}", "--time-format=unixnano", f"--checkers={checkers}"]
    words += [LOG_IN_JSON, f"--low-level-retries={TRIES}"]  # of 1 s each, where nobody answers
    return [*words, f"--hash={kind}"] if kind else words


def _write_names(path: Path, names: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(name + b"\n" for name in names))


def _read(line: bytes, columns: str, kind: HashKind | None) -> tuple[bytes, Told]:
    """One line of rclone's answer; the name is its end, and may have anything in it."""
    parts = dict(zip(columns, line.split(b";", len(columns) - 1), strict=True))
    digest = parts.get("h", b"").decode("ascii", "replace").lower()
    return parts["p"], Told(
        size_bytes=int(parts["s"]),
        mark=parts.get("t", b"").decode(),
        kind=kind,
        digest=digest if _HEX.fullmatch(digest) else "",
    )

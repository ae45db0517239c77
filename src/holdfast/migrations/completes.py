"""Completes of uploads that were begun on the source and end after the switch.

The helper completes on the source (the client's signature is for its request, so that is passed on
as it came), copies the object with the same part layout, so that its ETag stays, and only then
answers. A journal on disk makes it safe to be asked twice, and to die in between.
"""

import asyncio
import hashlib
import json
import os
import shutil
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web
from yarl import URL

from holdfast.kernel.errors import BadGateway
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.kernel.stores.s3.errors import S3Error
from holdfast.kernel.stores.s3.xml import read_xml
from holdfast.migrations.copier import ObjectCopier
from holdfast.migrations.copier_layout import is_md5, multipart_etag

READ_SETTLE_SECONDS = 1.0
"""Reads that were sent to the source before the switch have reached it after this."""
COMPLETE_SECONDS = 900.0
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "keep-alive"})


@dataclass(slots=True)
class Entry:
    """What is known of one Complete."""

    key: str
    part_sizes: list[int]
    etag: str
    """Of the object that its parts make; empty when it cannot be told."""
    status: int = 0
    """Of the answer; 0: not answered yet."""
    body: str = ""


class Journal:
    """Completes under way and answered, one file each; there until the migration is over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, upload: str) -> Entry | None:
        """What was written for this upload."""
        try:
            return Entry(**json.loads(self._path(upload).read_text()))
        except FileNotFoundError:
            return None

    def write(self, upload: str, entry: Entry) -> None:
        """Durable when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self._path(upload).with_suffix(".new")
        with new.open("w") as file:
            json.dump(asdict(entry), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path(upload))
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def forget(self) -> None:
        """The migration is over."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, upload: str) -> Path:
        return self._folder / (hashlib.sha256(upload.encode()).hexdigest() + ".json")


class Completer:
    """Answers pinned Completes of one migration."""

    def __init__(
        self,
        bucket: str,
        source: S3Client,
        destination: S3Client,
        copier: ObjectCopier,
        journal: Journal,
    ) -> None:
        self.answered = 0
        self.in_flight = 0
        self.last_seen = time.monotonic()
        """When a Complete last came or went, on the monotonic clock."""
        self.switched_at = time.monotonic()
        """When reads began to go to the destination; at a restart: now, to be safe."""
        self._bucket = bucket
        self._source, self._destination = source, destination
        self._copier, self._journal = copier, journal
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self) -> None:
        """Delete the journal: the migration is over."""
        self._journal.forget()

    async def answer(self, request: web.Request) -> web.Response:
        """Complete on the source, copy, answer what the source answered."""
        upload = unquote(request.headers["X-Holdfast-Upload"])
        self.in_flight += 1
        try:
            body = await request.read()
            await self._settle()
            async with self._locks[upload]:
                return await self._complete(request, upload, body)
        finally:
            self.in_flight -= 1
            self.last_seen = time.monotonic()

    async def _settle(self) -> None:
        left = self.switched_at + READ_SETTLE_SECONDS - time.monotonic()
        if left > 0:
            await asyncio.sleep(left)

    async def _complete(self, request: web.Request, upload: str, body: bytes) -> web.Response:
        entry = await asyncio.to_thread(self._journal.read, upload)
        if entry is None:
            key = _key_of(request, self._bucket)
            entry = await self._begin(key, upload, body)
            await asyncio.to_thread(self._journal.write, upload, entry)
        if not entry.status:
            status, answer = await self._on_source(request, body)
            if status == 404 and await self._was_completed(entry):  # noqa: PLR2004 HTTP
                status, answer = 200, await self._again(entry)
            if not _succeeded(status, answer):
                return _xml(status, answer)
            sizes = entry.part_sizes or None
            _ = await self._copier.sync_key(entry.key, force=True, part_sizes=sizes)
            entry.status, entry.body = status, answer.decode("utf-8", "replace")
            await asyncio.to_thread(self._journal.write, upload, entry)
            self.answered += 1
        return _xml(entry.status, entry.body.encode())

    async def _begin(self, key: str, upload: str, body: bytes) -> Entry:
        """Note the layout while the upload is still there.

        Empty when it cannot be told (the copier finds out then).
        """
        try:
            parts = await self._source.list_parts(self._bucket, key, upload)
            wanted = [
                int(record["PartNumber"])
                for name, record in read_xml(body).records
                if name == "Part"
            ]
            chosen = [{part.number: part for part in parts}[number] for number in wanted]
        except (S3Error, BadGateway, KeyError, ValueError):
            return Entry(key, [], "")
        if not all(is_md5(part.etag) for part in chosen):
            return Entry(key, [part.size_bytes for part in chosen], "")
        etag = multipart_etag([bytes.fromhex(part.etag) for part in chosen])
        return Entry(key, [part.size_bytes for part in chosen], etag)

    async def _on_source(self, request: web.Request, body: bytes) -> tuple[int, bytes]:
        """The client's own request, byte for byte: path, query and signed headers."""
        url = URL(self._source.endpoint + request.raw_path, encoded=True)
        headers = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _OWN_HEADERS and not name.startswith("X-Holdfast-")
        ]
        timeout = aiohttp.ClientTimeout(total=COMPLETE_SECONDS, sock_connect=10)
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            ) as session,
            session.post(url, headers=headers, data=body, allow_redirects=False) as answer,
        ):
            return answer.status, await answer.read()

    async def _was_completed(self, entry: Entry) -> bool:
        """Whether an earlier try of ours got through, and we died before the answer was kept."""
        try:
            head = await self._source.head(self._bucket, entry.key)
        except S3Error:
            return False
        return bool(entry.etag) and head.etag == entry.etag

    async def _again(self, entry: Entry) -> bytes:
        head = await self._source.head(self._bucket, entry.key)
        return (
            '<?xml version="1.0" encoding="UTF-8"?><CompleteMultipartUploadResult>'
            f"<Bucket>{escape(self._bucket)}</Bucket><Key>{escape(entry.key)}</Key>"
            f'<ETag>"{escape(head.etag)}"</ETag></CompleteMultipartUploadResult>'
        ).encode()


def _key_of(request: web.Request, bucket: str) -> str:
    path = request.raw_path.partition("?")[0]
    return unquote_to_bytes(path[len(bucket) + 2 :]).decode()


def _succeeded(status: int, body: bytes) -> bool:
    if status != 200:  # noqa: PLR2004 HTTP
        return False
    try:
        return read_xml(body).root != "Error"  # S3 answers 200 first and may fail later
    except BadGateway:
        return False


def _xml(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/xml")

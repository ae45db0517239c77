"""A store on any remote that rclone can reach."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from holdfast.kernel.errors import AppError, NotFound
from holdfast.kernel.process import ProcessFailed, stream
from holdfast.kernel.stores.content import Measured, nothing
from holdfast.kernel.stores.model import (
    DamagedOnTheWay,
    Entry,
    HashKind,
    Powers,
    Store,
    checked_path,
    checked_prefix,
    is_temporary,
    temporary_name,
)
from holdfast.kernel.stores.rclone_daemon import (
    CALL_SECONDS,
    RcloneDaemon,
    find_rclone,
    rclone_environment,
)
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.rclone_words import RcloneFailed, listing_failure

CHUNK_BYTES = 256 * 1024
NO_FOLDER = 3
"""rclone's status when the folder to list is not there."""


class RcloneStore:
    """Files of one remote; made by `connect`, which asks rclone what the remote can do."""

    def __init__(self, daemon: RcloneDaemon, remote: Remote, powers: Powers, *, flat: bool) -> None:
        self._daemon = daemon
        self._remote = remote
        self._is_flat = flat
        """Bucket-like: a file appears when it is whole, and there is no rename."""
        self.can = powers
        self.name = f"rclone {remote.kind} {remote.root}"

    @classmethod
    async def connect(cls, daemon: RcloneDaemon, remote: Remote) -> Self:
        """A store on this remote. Raises what is wrong with the remote, or with the way to it."""
        asked = {"fs": remote.fs}
        info = await daemon.call("operations/fsinfo", asked, remotes=(remote,))
        features = info["Features"]
        hashes = frozenset(kind for kind in HashKind if kind.value in (info["Hashes"] or ()))
        flat = bool(features["BucketBased"])
        slow = bool(features["SlowHash"])
        powers = Powers(
            hashes=frozenset() if slow else hashes,
            hashes_on_server=hashes if slow else frozenset(),
            atomic_write=flat,
            modification_times=not features["SlowModTime"],
            copies_among=daemon.name,
        )
        return cls(daemon, remote, powers, flat=flat)

    async def stat(self, path: str) -> Entry:
        item = await self._item(checked_path(path), self.can.hashes)
        if item is None or item["IsDir"]:
            raise NotFound(f"{path!r} is not in {self.name}")
        return self._entry(path, item)

    async def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        folder = checked_prefix(prefix)
        await self._daemon.call("rc/noop", {}, remotes=(self._remote,))  # obscures the passwords
        lines = stream(
            _list_words(self._remote, self.can, folder),
            silence_seconds=CALL_SECONDS,
            accept=frozenset({0, NO_FOLDER}) if folder else frozenset({0}),
            env={**rclone_environment(self._daemon.directory), **self._remote.environment()},
            cwd=self._daemon.directory,
        )
        try:
            async with aclosing(lines):
                async for line in lines:
                    if not line.startswith(b"{"):
                        continue  # the brackets around all entries
                    item = json.loads(line.rstrip(b","))
                    path = f"{folder}/{item['Path']}" if folder else item["Path"]
                    if not is_temporary(path):
                        yield self._entry(path, item)
        except ProcessFailed as error:
            raise listing_failure(error, self._remote, self.name) from None

    @asynccontextmanager
    async def open(self, path: str, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        # An empty range is an error in HTTP, so a start at or behind the end needs a look first.
        if offset and offset >= (await self.stat(path)).size_bytes:
            yield nothing()
            return
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._daemon.get(self._remote, checked_path(path), headers) as answer:
            if answer.status not in {200, 206}:
                await self.stat(path)  # tells "not there" from other troubles
                raise RcloneFailed(f"{self.name} gave no content of {path!r}: {answer.status}")
            yield answer.content.iter_chunked(CHUNK_BYTES)

    async def write(
        self, path: str, content: AsyncIterator[bytes], *, size_bytes: int | None = None
    ) -> Entry:
        parent, name = PurePosixPath(checked_path(path)).parent, PurePosixPath(path).name
        folder = "" if str(parent) == "." else str(parent)
        sent_as = name if self._is_flat else temporary_name(secrets.token_hex(8))
        sent_to = f"{folder}/{sent_as}" if folder else sent_as
        checked = sorted(self.can.hashes | self.can.hashes_on_server)[:1]
        measured = Measured(content, checked, announced_bytes=size_bytes)
        try:
            await self._daemon.upload(self._remote, folder, _form(sent_as, measured))
            stored = await self.stat(sent_to)
            for kind in self.can.hashes_on_server.intersection(checked):
                made = await self.hash_on_server(sent_to, kind)
                measured.compare(replace(stored, hashes={kind: made} if made else {}), self.name)
            measured.compare(stored, self.name)
            if not self._is_flat:
                await self._rename(sent_to, path)
        except BaseException as error:
            await self._forget(sent_to, error)
            if measured.broke is not None:
                raise measured.broke from None
            raise
        return replace(stored, path=path)

    async def _forget(self, sent_to: str, error: BaseException) -> None:
        """Remove what a failed write left; where files appear whole, only damage leaves any."""
        if not self._is_flat or isinstance(error, DamagedOnTheWay):
            with suppress(AppError):  # what went wrong first is what counts
                await self.delete(sent_to)

    async def hash_on_server(self, path: str, kind: HashKind) -> str | None:
        asked = {"fs": self._remote.fs, "remote": checked_path(path), "hashType": kind}
        await self.stat(path)
        command = "operations/hashsumfile"
        answer = await self._daemon.call(command, asked, remotes=(self._remote,))
        return answer["hash"] or None

    async def delete(self, path: str) -> None:
        asked = {"fs": self._remote.fs, "remote": checked_path(path)}
        try:
            await self._daemon.call("operations/deletefile", asked, remotes=(self._remote,))
        except RcloneFailed:
            if await self._item(path) is not None:
                raise

    async def copy_from(
        self, source: Store, path: str, to: str, *, bytes_per_second: int | None = None
    ) -> Entry:
        """By rclone: inside the remote if it can, else through the daemon, which checks hashes."""
        if not isinstance(source, RcloneStore):
            raise TypeError(f"{source.name} is not a remote of rclone")
        await source.stat(path)
        asked = {
            "srcFs": source._remote.fs,  # noqa: SLF001
            "srcRemote": path,
            "dstFs": self._remote.fs,
            "dstRemote": checked_path(to),
        }
        await self._daemon.job(
            "operations/copyfile",
            asked,
            remotes=(source._remote, self._remote),  # noqa: SLF001
            bytes_per_second=bytes_per_second,
        )
        return await self.stat(to)

    async def _rename(self, path: str, to: str) -> None:
        asked = {"srcFs": self._remote.fs, "srcRemote": path, "dstFs": self._remote.fs}
        await self._daemon.call(
            "operations/movefile", {**asked, "dstRemote": to}, remotes=(self._remote,)
        )

    async def _item(
        self, path: str, hashes: frozenset[HashKind] = frozenset()
    ) -> dict[str, Any] | None:
        wanted = {"showHash": bool(hashes), "hashTypes": sorted(hashes), "noMimeType": True}
        asked = {"fs": self._remote.fs, "remote": path, "opt": wanted | self._no_times()}
        try:
            answer = await self._daemon.call("operations/stat", asked, remotes=(self._remote,))
        except RcloneFailed:
            # Some remotes call it an error to look for something below a file.
            parent = path.rpartition("/")[0]
            above = await self._item(parent) if parent else {"IsDir": True}
            if above is None or not above["IsDir"]:
                return None
            raise
        item: dict[str, Any] | None = answer["item"]
        return item

    def _no_times(self) -> dict[str, bool]:
        return {} if self.can.modification_times else {"noModTime": True}

    def _entry(self, path: str, item: Mapping[str, Any]) -> Entry:
        known = item.get("Hashes") or {}
        times = self.can.modification_times
        return Entry(
            path=path,
            size_bytes=item["Size"],
            hashes={kind: known[kind] for kind in self.can.hashes if known.get(kind)},
            modified=datetime.fromisoformat(item["ModTime"]) if times else None,
        )


def _list_words(remote: Remote, can: Powers, folder: str) -> list[str]:
    words = [find_rclone(), "lsjson", "-R", "--files-only", "--no-mimetype", "--config="]
    if not can.modification_times:
        words.append("--no-modtime")
    if can.hashes:
        words.append("--hash")
        words += [f"--hash-type={kind}" for kind in sorted(can.hashes)]
    root = f"{remote.root.rstrip('/')}/{folder}" if folder else remote.root
    return [*words, "--", f"hf:{root}"]


def _form(name: str, measured: Measured) -> aiohttp.MultipartWriter:
    """A form with one file, which is read as it is sent; content that breaks off breaks it off."""
    form = aiohttp.MultipartWriter("form-data")
    part = form.append(aiter(measured))
    part.headers["Content-Disposition"] = (
        f"form-data; name=\"file\"; filename*=UTF-8''{quote(name, safe='')}"
    )
    return form

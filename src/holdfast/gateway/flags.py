"""Routing flags: one symlink a bucket, which nginx reads on every request.

The format is specified in docs/reference/routing-flags.md.

Blocking file operations, microseconds each; a batch of hundreds belongs in `asyncio.to_thread`.
"""

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from holdfast.gateway.flag_model import DEFAULT_KEY, Flag, FlagState, counter_key
from holdfast.gateway.render_model import BUCKET_NAME, pool_alias
from holdfast.kernel.errors import Invalid
from holdfast.kernel.nginx import disk

__all__ = ["DEFAULT_KEY", "Flag", "FlagState", "RouteFlags", "counter_key", "pool_alias"]

_UPLOAD_ID = re.compile(r"[A-Za-z0-9_~%=+.-]{1,255}", re.ASCII)
_NEW = ".cur.new"
_EPOCH = "epoch"
_FEW = 20
_GONE = ".gone-"
READY = ".ready"
"""A file beside the flags: without it nginx cannot read them and answers 503, never a default."""
_MADE = ".routes-made"
"""Beside the folder: it was ready once, so that one without its marker is another folder."""


class RouteFlags:
    """The flags under one nginx directory. One writer at a time a bucket; readers need no lock."""

    def __init__(self, nginx_dir: Path) -> None:
        self.root = nginx_dir / "routes"

    def ensure(self) -> None:
        """Make the folder, readable by nginx's workers whatever the umask is.

        A folder that lost its marker (not mounted, say) stays without: see `lost`.
        """
        disk.make_dir(self.root)
        if not (self.root.parent / _MADE).exists():
            self.make_ready()
        for left in self.root.glob(f"{_GONE}*"):
            shutil.rmtree(left, ignore_errors=True)

    def make_ready(self) -> None:
        """Let nginx answer by the flags that are here."""
        disk.replace_file(self.root / READY, "nginx answers 503 without this file\n")
        disk.replace_file(self.root.parent / _MADE, "")

    @property
    def lost(self) -> bool:
        """Whether this is not the folder that was made: what is missing in it means nothing."""
        return (self.root.parent / _MADE).exists() and not (self.root / READY).exists()

    def bucket_dir(self, vhost: str, bucket: str) -> Path:
        """The folder of one bucket. Raises `Invalid` for names that would leave their place."""
        if not BUCKET_NAME.fullmatch(bucket):
            raise Invalid(f"{bucket!r} is not a legal bucket name")
        return self._vhost_dir(vhost) / bucket

    def get(self, vhost: str, bucket: str) -> Flag | None:
        """The flag now, or None without one. Raises `Invalid` when the link is not ours."""
        try:
            return Flag.parse((self.bucket_dir(vhost, bucket) / "cur").readlink().name)
        except FileNotFoundError:
            return None

    def set_flag(self, vhost: str, bucket: str, flag: Flag) -> None:
        """Switch the bucket to ``flag``: live for the next request, and durable, when this returns.

        Raises `Invalid` when the epoch is not above every one that the bucket has had.
        """
        folder = self._place(vhost, bucket, flag)
        disk.sync_dir(folder)
        self._switch(folder, flag)
        disk.sync_dir(folder)

    def set_many(self, flags: Iterable[tuple[str, str, Flag]]) -> None:
        """`set_flag` for a batch, with few syncs. Each flag is atomic, the batch is not."""
        placed = [(self._place(vhost, bucket, flag), flag) for vhost, bucket, flag in flags]
        if not placed:
            return
        # After a power cut a link may point to what is not there yet: nginx takes that for no flag.
        self._sync([one for one in placed if (one[0] / "cur").is_symlink()])
        for folder, flag in placed:
            self._switch(folder, flag)
        self._sync(placed)

    def _sync(self, placed: Sequence[tuple[Path, Flag]]) -> None:
        """A sync of the file system waits for everything on it: too long while clients wait."""
        if len(placed) > _FEW:
            disk.sync_file_system(self.root)
            return
        for folder, _ in placed:
            disk.sync_dir(folder)

    def remove(self, vhost: str, bucket: str) -> None:
        """Take the route away: the default pool answers. Its epochs stay used. Absent: no error."""
        folder = self.bucket_dir(vhost, bucket)
        try:
            (folder / "cur").unlink()
        except FileNotFoundError:
            return
        disk.sync_dir(folder)

    def remove_vhost(self, vhost: str) -> None:
        """Take every route of a vhost away. The epochs stay used: its name may come back."""
        for _, bucket, _ in tuple(self.list(vhost)):
            self.remove(vhost, bucket)

    def hide_vhost(self, vhost: str) -> Path | None:
        """Set the folder of a vhost without routes aside; None while there is a route, or nothing.

        Under `change_lock`, and only when the vhost is no more: its epochs begin anew.
        """
        folder = self._vhost_dir(vhost)
        links = [folder / bucket / "cur" for bucket in _names(folder)]
        if not folder.is_dir() or any(link.is_symlink() or link.exists() for link in links):
            return None
        aside = self.root / f"{_GONE}{secrets.token_hex(8)}"
        folder.rename(aside)
        return aside

    def show_vhost(self, vhost: str, aside: Path) -> None:
        """Take `hide_vhost` back."""
        aside.rename(self._vhost_dir(vhost))

    def list(self, vhost: str | None = None) -> Iterator[tuple[str, str, Flag]]:
        """``(vhost, bucket, flag)`` of every routed bucket, by name; without links not ours."""
        for host in self.hosts() if vhost is None else [vhost]:
            for bucket in _names(self._vhost_dir(host)):
                try:
                    flag = self.get(host, bucket)
                except (Invalid, OSError):
                    continue
                if flag is not None:
                    yield host, bucket, flag

    def strange(self) -> Iterator[tuple[Path, str]]:
        """Entries that nobody here wrote, and why they are not read: part of drift."""
        for host in self.hosts():
            for bucket in _names(self._vhost_dir(host)):
                link = self._vhost_dir(host) / bucket / "cur"
                try:
                    flag = self.get(host, bucket)
                except (Invalid, OSError) as error:
                    yield link, getattr(error, "message", None) or f"not a link: {error}"
                else:
                    if flag is not None and not link.exists():
                        yield link, "the folder it points to is missing: nginx cannot read it"

    def next_epoch(self, vhost: str, bucket: str) -> int:
        """One above every epoch that the bucket has ever had here."""
        folder = self.bucket_dir(vhost, bucket)
        epochs = [flag.epoch for flag in self.history(vhost, bucket)]
        with contextlib.suppress(FileNotFoundError, ValueError):
            epochs.append(int((folder / _EPOCH).read_text()))
        return max(epochs, default=0) + 1

    def history(self, vhost: str, bucket: str) -> Sequence[Flag]:
        """Flags that the bucket has had and that were not pruned, oldest first."""
        flags = []
        for name in _names(self.bucket_dir(vhost, bucket)):
            with contextlib.suppress(Invalid):
                flags.append(Flag.parse(name))
        return sorted(flags, key=lambda flag: flag.epoch)

    def counter_keys(self, vhost: str, bucket: str, *, before: int) -> Sequence[str]:
        """Every counter that a mutation which saw an epoch below ``before`` may be counted under.

        The one for "no flag" is always among them: a request may have begun before the first flag.
        """
        flags = [flag for flag in self.history(vhost, bucket) if flag.epoch < before]
        return [counter_key(vhost, bucket, flag) for flag in (None, *flags)]

    def prune(self, vhost: str, bucket: str, *, below: int) -> None:
        """Forget drained epochs below ``below``, never the live one; the numbers stay used."""
        folder = self.bucket_dir(vhost, bucket)
        current = self.get(vhost, bucket)
        disk.replace_file(folder / _EPOCH, str(self.next_epoch(vhost, bucket) - 1))
        for flag in self.history(vhost, bucket):
            if flag.epoch < below and flag != current:
                shutil.rmtree(folder / flag.name)

    def pin(self, vhost: str, bucket: str, upload_id: str) -> None:
        """Keep an upload on the source pool; ``upload_id`` as in a URL, percent-encoded."""
        pins = self._pins(vhost, bucket)
        disk.make_dir(pins)
        path = pins / _upload_name(upload_id)
        path.touch(mode=0o644)
        disk.sync_dir(pins)

    def unpin(self, vhost: str, bucket: str, upload_id: str) -> None:
        """The upload is finished or gone. Absent: no error."""
        pins = self._pins(vhost, bucket)
        (pins / _upload_name(upload_id)).unlink(missing_ok=True)
        if pins.is_dir():
            disk.sync_dir(pins)

    def unpin_all(self, vhost: str, bucket: str) -> None:
        """Remove every pin of the bucket: a cutover was taken back, or all uploads are done."""
        shutil.rmtree(self._pins(vhost, bucket), ignore_errors=True)
        folder = self.bucket_dir(vhost, bucket)
        if folder.is_dir():
            disk.sync_dir(folder)

    def pins(self, vhost: str, bucket: str) -> frozenset[str]:
        """Upload ids, percent-encoded, that stay on the source pool."""
        return frozenset(_names(self._pins(vhost, bucket)))

    def _pins(self, vhost: str, bucket: str) -> Path:
        return self.bucket_dir(vhost, bucket) / "pins"

    def hosts(self) -> Sequence[str]:
        """Vhosts that have a folder, with routes or without."""
        return [name for name in _names(self.root) if not name.startswith(".")]

    def _vhost_dir(self, vhost: str) -> Path:
        if not vhost or vhost.startswith(".") or "/" in vhost or "\0" in vhost:
            raise Invalid(f"{vhost!r} is not a server name")
        return self.root / vhost

    def _place(self, vhost: str, bucket: str, flag: Flag) -> Path:
        folder = self.bucket_dir(vhost, bucket)
        if folder.is_dir():
            if flag.epoch < self.next_epoch(vhost, bucket):
                raise Invalid(
                    f"epoch {flag.epoch} of bucket {bucket!r} on {vhost!r} was used before"
                )
        else:
            disk.make_dir(folder)
        disk.make_dir(folder / flag.name)
        return folder

    @staticmethod
    def _switch(folder: Path, flag: Flag) -> None:
        new = folder / _NEW
        new.unlink(missing_ok=True)
        new.symlink_to(flag.name)
        new.replace(folder / "cur")


def _upload_name(upload_id: str) -> str:
    if not _UPLOAD_ID.fullmatch(upload_id) or upload_id in {".", ".."}:
        raise Invalid(f"{upload_id!r} is not an upload id that nginx can look up")
    return upload_id


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is wanted
    except (FileNotFoundError, NotADirectoryError):
        return []

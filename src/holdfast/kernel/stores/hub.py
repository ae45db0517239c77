"""The one rclone daemon of a process, and the remotes that it was told: made when first needed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.services import Services
from holdfast.kernel.stores.rclone_daemon import LONGEST_SOCKET_PATH, RcloneDaemon
from holdfast.kernel.stores.rclone_remote import Remote

MOST_PROCESSES = 64
"""So many processes may share a data directory, each with a daemon of its own."""
KEPT_REMOTES = 256
_LONGEST_SLOT = LONGEST_SOCKET_PATH - len("/00/rclone.sock")

Version = object
RemoteKey = tuple[int, Version, str]


class RcloneHub:
    """A part of ``Services``: ``services.get(RcloneHub).daemon``.

    Nothing runs before the first call of the daemon, and nothing after `stop`.
    """

    def __init__(self, directory: Path) -> None:
        """``directory``: where each process that shares it takes a folder of its own."""
        self._directory = directory.absolute()
        self._daemon: RcloneDaemon | None = None
        self._lock: int | None = None
        self._temporary: Path | None = None
        self._remotes: dict[RemoteKey, Remote] = {}

    @property
    def daemon(self) -> RcloneDaemon:
        """The daemon; it starts with its first call. Raises ``Unavailable``."""
        if self._daemon is None:
            try:
                self._daemon = RcloneDaemon(self._own_folder())
            except OSError as error:
                raise Unavailable(
                    f"rclone's directory {self._directory} cannot be used: {error.strerror}"
                ) from error
        return self._daemon

    def remote(
        self, store_id: int, version: Version, root: str, make: Callable[[], Remote]
    ) -> Remote:
        """The remote of a store's root, made once: rclone keeps the connections of one it knows.

        ``version``: another one than before is another store, and what was known is forgotten.
        """
        key = (store_id, version, root)
        found = self._remotes.pop(key, None)
        if found is None:
            for other in [one for one in self._remotes if one[0] == store_id]:
                if other[1] != version:
                    self._forget(other)
            while len(self._remotes) >= KEPT_REMOTES:
                self._forget(next(iter(self._remotes)))
            found = make()
        self._remotes[key] = found  # at the end: the one that was not used for longest is first
        return found

    def forget(self, store_id: int) -> None:
        """Forget a store: it is gone."""
        for key in [one for one in self._remotes if one[0] == store_id]:
            self._forget(key)

    def _forget(self, key: RemoteKey) -> None:
        remote = self._remotes.pop(key)
        if self._daemon is not None:
            self._daemon.forget(remote)

    async def stop(self) -> None:
        """End the daemon, if one runs, and let its folder go."""
        if self._daemon is not None:
            await self._daemon.stop()
        self._daemon = None
        self._remotes.clear()
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary = None

    def _own_folder(self) -> Path:
        """A folder that no other process has; a killed process lets go of its own."""
        if len(str(self._directory)) > _LONGEST_SLOT:  # too deep for a socket
            self._temporary = Path(tempfile.mkdtemp(prefix="holdfast-rclone-"))
            return self._temporary
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for number in range(MOST_PROCESSES):
            folder = self._directory / str(number)
            folder.mkdir(exist_ok=True, mode=0o700)
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
            else:
                self._lock = lock
                return folder
        raise Unavailable(f"{MOST_PROCESSES} processes use {self._directory} already")


def build_hub(services: Services) -> RcloneHub:
    """The hub of this process, below its data directory."""
    return services.add(RcloneHub(services.settings.data_dir / "rclone"))

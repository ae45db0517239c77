"""The nginx program: test a generation, reload, wait until it answers, say what is wrong."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.nginx import disk, master
from holdfast.kernel.nginx.complaints import Complaints
from holdfast.kernel.nginx.generations import MAIN, Candidate
from holdfast.kernel.nginx.main_file import Build, MainFile, parse_build, read_main
from holdfast.kernel.nginx.reload_mark import renew_mark
from holdfast.kernel.process import SEARCH_PATH, ProcessFailed, run

_TEST_SECONDS = 120.0
_WAIT_SECONDS = 0.002
_LEAVE_SECONDS = 1.0
"""A client that was connected when nginx reloaded has sent its request by then."""
_WAIT_SHARE = 0.05
"""A wait of what was waited so far: who waits long notices the end a little later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What nginx said of a configuration."""

    __test__ = False
    ok: bool
    output: str
    """nginx's own words."""
    complete: bool = True
    """False when the operator's own file could not be part of the test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NginxStatus:
    """Whether what we write is live, and what to do when not."""

    version: str
    main: Path | None
    running: bool
    include_present: bool
    loaded_generation: int | None
    problem: str = ""
    remedy: str = ""

    @property
    def live(self) -> bool:
        """Whether nginx runs with our files."""
        return self.running and self.include_present


class Nginx:
    """One nginx with the operator's main file. ``command``: its words; empty for the default.

    The default is nginx on the search path, by ``sudo -n`` only when we are not root.
    """

    def __init__(self, command: Sequence[str], nginx_dir: Path) -> None:
        self.command = list(command) or default_command()
        self.root = nginx_dir
        self._build: Build | None = None
        self._complaints: Complaints | None = None
        self.refusal = ""
        """Why nginx did not take the last reload, in its own words; empty when it did not say."""
        self._replaced: tuple[int, frozenset[int]] = (0, frozenset())
        """Master, and the workers that the last reload replaced; none once they were waited for."""
        self._loaded_at = 0.0

    @property
    def control_port(self) -> int:
        """The loopback port of nginx's control server."""
        return disk.control_port(self.root)

    @property
    def include_line(self) -> str:
        """What the operator puts inside ``http { }``."""
        return f"include {self.root}/live/{MAIN};"

    async def build(self) -> Build:
        """Version and compiled-in paths. Raises `ProgramMissing`, or `Invalid` when no nginx."""
        if self._build is None:
            done = await run([*self._bare(), "-V"], timeout_seconds=10)
            self._build = parse_build("\n".join(done.last_lines))
        return self._build

    async def main_file(self) -> MainFile:
        """The operator's file as it is now."""
        build = await self.build()
        live = self.root / "live" / MAIN
        return await asyncio.to_thread(read_main, self.command, build, live)

    async def test(self, candidate: Candidate) -> TestResult:
        """``nginx -t`` on a generation that is not live, inside the operator's own main file.

        When our include line is in a nested file, or nowhere, a small main file of ours stands in:
        ``complete`` is False then, and after the switch `test_live` has the last word.
        """
        main = await self.main_file()
        folder = Path(tempfile.mkdtemp(prefix=".test-", dir=self.root))
        try:
            if main.include is not None and not main.climbs:
                path = await asyncio.to_thread(_farm, folder, main, candidate.main)
                return await self._test(["-p", str(main.prefix), "-c", str(path)], complete=True)
            path = _minimal(folder, candidate.main)
            return await self._test(["-p", str(folder), "-c", str(path)], complete=False)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def test_live(self) -> TestResult:
        """``nginx -t`` on what is on disk now, by the operator's own command."""
        return await self._run_test([*self.command, "-t"], complete=True)

    async def running(self) -> bool:
        """Whether the master of this main file runs."""
        return await self._master() is not None

    async def reload(self) -> frozenset[int]:
        """Make the master read its files again; gives the workers that served before.

        Returns when the master was told: `wait_loaded` waits for the effect. Raises `Unavailable`
        when nginx does not run.
        """
        pid = await self._master()
        if pid is None:
            raise Unavailable("nginx is not running", hint=f"start it: {' '.join(self.command)}")
        before = await master.workers_before_a_reload(pid)
        self._complaints = Complaints((await self.main_file()).error_logs, pid)
        self.refusal = ""
        with contextlib.suppress(OSError):  # whoever watches takes this reload for a death then
            renew_mark(self.root)
        if not master.signal_reload(pid):
            try:
                await run([*self.command, "-s", "reload"], timeout_seconds=_TEST_SECONDS)
            except ProcessFailed as error:
                raise Unavailable("nginx refuses to reload", details=error.details) from error
        self._replaced = (pid, before)
        return before

    async def wait_left(self) -> None:
        """Wait until the workers that the last reload replaced have gone; a second at most.

        They take no more clients, but serve those who had connected, by the files of before.
        """
        pid, replaced = self._replaced
        until = self._loaded_at + _LEAVE_SECONDS
        while replaced & master.children(pid).keys() and time.monotonic() < until:  # noqa: ASYNC110 - it tells no event
            await asyncio.sleep(_WAIT_SECONDS)
        self._replaced = (pid, frozenset())

    async def wait_loaded(
        self, number: int, before: frozenset[int] = frozenset(), *, timeout_seconds: float = 30.0
    ) -> bool:
        """Wait until generation ``number`` answers and no worker of ``before`` takes requests.

        False when that did not come about in time, or nginx has told in its error log that it
        gave up (then `refusal` has its words): nginx goes on with what it had.
        """
        started = time.monotonic()
        port = self.control_port
        while (waited := time.monotonic() - started) < timeout_seconds:
            answer = await master.loaded_generation(port)
            pid = master.master_of(answer[1]) if answer else None
            old = master.retire_succeeded(pid, before) if pid else frozenset()
            if answer is not None and answer[0] == number and not old:
                self._loaded_at = time.monotonic()
                return True
            if self._complaints and (refusal := self._complaints.given_up()):
                self.refusal = refusal
                return False
            await asyncio.sleep(max(_WAIT_SECONDS, _WAIT_SHARE * waited))
        return False

    async def status(self) -> NginxStatus:
        """What is live. It never raises for what an operator can mend: it says how."""
        try:
            build = await self.build()
            main = await self.main_file()
        except (ProcessFailed, Unavailable) as error:
            return NginxStatus(
                version="",
                main=None,
                running=False,
                include_present=False,
                loaded_generation=None,
                problem=f"nothing is live: nginx cannot be started: {error.message}",
                remedy="install nginx, or set HOLDFAST_NGINX_COMMAND to the words that start it",
            )
        answer = await master.loaded_generation(self.control_port)
        running = await self._master() is not None
        problem, remedy = self._what_is_wrong(main, running=running)
        return NginxStatus(
            version=".".join(str(part) for part in build.version),
            main=main.path,
            running=running,
            include_present=main.includes_us,
            loaded_generation=answer[0] if answer else None,
            problem=problem,
            remedy=remedy,
        )

    def _what_is_wrong(self, main: MainFile, *, running: bool) -> tuple[str, str]:
        if main.problem:
            return f"nothing is live: {main.problem}", "correct the main file of nginx"
        if not main.includes_us:
            return (
                f"nothing is live: {main.path} does not include the files of Holdfast",
                (
                    f"put this line inside http {{ }} of {main.path}, then reload nginx: "
                    f"{self.include_line}"
                ),
            )
        if not running:
            return "nothing is live: nginx is not running", f"start it: {' '.join(self.command)}"
        return "", ""

    async def _master(self) -> int | None:
        main = await self.main_file()
        found = master.find_master(main.pid)
        if found is None:
            answer = await master.loaded_generation(self.control_port)
            found = master.master_of(answer[1]) if answer else None
        return found

    def _bare(self) -> list[str]:
        """The command without its own -c and -p."""
        words, skip = [], False
        for word in self.command:
            if skip:
                skip = False
            elif word in {"-c", "-p"}:
                skip = True
            elif not word.startswith(("-c", "-p")):
                words.append(word)
        return words

    async def _test(self, options: list[str], *, complete: bool) -> TestResult:
        return await self._run_test([*self._bare(), *options, "-t"], complete=complete)

    async def _run_test(self, argv: list[str], *, complete: bool) -> TestResult:
        done = await run(argv, timeout_seconds=_TEST_SECONDS, accept=frozenset({0, 1}))
        output = "\n".join(done.last_lines)
        return TestResult(ok=done.returncode == 0, output=output, complete=complete)


def default_command() -> list[str]:
    """Nginx on the search path; with ``sudo -n`` only when we are not root."""
    program = shutil.which("nginx", path=SEARCH_PATH) or "/usr/sbin/nginx"
    return [program] if os.geteuid() == 0 else ["sudo", "-n", program]


def _farm(folder: Path, main: MainFile, candidate_main: Path) -> Path:
    """A copy of the main file that includes the candidate, among links to its neighbours."""
    assert main.include is not None
    for entry in main.path.parent.iterdir():
        if entry.name != main.path.name and entry != folder:
            (folder / entry.name).symlink_to(entry)
    text = main.path.read_text(encoding="utf-8", errors="surrogateescape")
    start, end = main.include.start, main.include.end
    copy = folder / main.path.name
    new = f'{text[:start]}include "{candidate_main}";{text[end:]}'
    copy.write_text(new, encoding="utf-8", errors="surrogateescape")
    return copy


def _minimal(folder: Path, candidate_main: Path) -> Path:
    """A main file that has nothing but the candidate."""
    bodies = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temp = "".join(f"{name}_temp_path {folder}/{name};\n" for name in bodies)
    path = folder / "nginx.conf"
    path.write_text(
        f"pid {folder}/pid;\nerror_log stderr;\nevents {{ }}\nhttp {{\naccess_log off;\n{temp}"
        f'include "{candidate_main}";\n}}\n'
    )
    return path

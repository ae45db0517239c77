"""The one door to other programs: nginx, rclone, rsync, find.

A program gets a list of words (never a shell), a limit in seconds, and only the environment that
it is given plus a minimal ``PATH`` and ``LANG``. Every user of the machine can read arguments:
secrets go in by ``env``, by ``stdin`` or in a 0600 file, never in ``argv``.

Each program leads a session and process group of its own, which never outlives its owner:

- when the leader ends, what it left behind is killed (so a daemon must stay in the foreground);
- TERM, then KILL, on timeout and on cancellation;
- the leader dies with the *thread* that started it (``PR_SET_PDEATHSIG``), so programs are started
  from the thread of an event loop, which is the one that looks after them;
- a watchdog process kills the whole group when the owner dies or is frozen (`guard.py`).
"""

import asyncio
import functools
import os
import shutil
import subprocess  # noqa: TID251 - this is the one place
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.child import (
    Child,
    LineSink,
    ProcessFailed,
    ProcessTimedOut,
    ProgramMissing,
    records,
)
from holdfast.kernel.guard import guard

__all__ = [
    "Child",
    "Completed",
    "ProcessFailed",
    "ProcessTimedOut",
    "ProgramMissing",
    "find_program",
    "run",
    "start",
    "stream",
]

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MINIMAL_ENVIRONMENT = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
KEPT_OUTPUT_BYTES = 16 * 1024 * 1024
"""A program that writes more to stdout must be read with ``on_line`` or `stream`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that ended with an accepted status."""

    returncode: int
    stdout: str
    """All of it; empty when ``on_line`` took the lines."""
    last_lines: tuple[str, ...]
    """The last lines of stdout and stderr, in the order of their arrival."""


async def run(
    argv: Sequence[str],
    *,
    timeout_seconds: float,
    accept: frozenset[int] = frozenset({0}),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    on_line: LineSink | None = None,
    on_error_line: LineSink | None = None,
) -> Completed:
    """Run a program to its end; lines of stdout go to ``on_line``, of stderr to ``on_error_line``.

    Raises `ProcessFailed` on a status that is not in ``accept``, `ProcessTimedOut`,
    `ProgramMissing`, or what a line sink raised. However it is left, nothing of the program's group
    runs on.
    """
    output = _Output()
    child = await start(
        argv,
        env=env,
        cwd=cwd,
        stdin=stdin,
        on_line=on_line or output.add,
        on_error_line=on_error_line,
    )
    async with child:
        limit = asyncio.timeout(timeout_seconds)
        try:
            async with limit:
                returncode = await child.wait()
        except TimeoutError:
            if not limit.expired():
                raise
            raise child.timed_out(timeout_seconds) from None
        except _TooMuchOutput:
            raise child.failure("wrote more than can be kept") from None
    child.check(accept)
    return Completed(
        returncode=returncode, stdout="\n".join(output.lines), last_lines=child.last_lines
    )


async def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    on_line: LineSink | None = None,
    on_error_line: LineSink | None = None,
) -> Child:
    """Start a program that stays in the foreground, and give back its handle; see `Child`."""
    child = _spawn(argv, env=env, cwd=cwd, stdin=stdin)
    try:
        await child.pump(child.stdout, on_line or _ignore)
        await child.pump(child.stderr, on_error_line or _ignore)
    except BaseException:
        await child.stop(grace_seconds=0)
        raise
    return child


async def stream(
    argv: Sequence[str],
    *,
    silence_seconds: float,
    accept: frozenset[int] = frozenset({0}),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    separator: bytes = b"\n",
    fails_at: Callable[[str], bool] = lambda _: False,
) -> AsyncGenerator[bytes, None]:
    """The records a program writes to stdout, as it writes them; it waits while the reader does.

    ``fails_at``: whether it cannot end well any more after this line of stderr: it is killed then.

    Raises `ProcessFailed` after the last record when the program failed, `ProcessTimedOut` when it
    wrote nothing for ``silence_seconds``. Leaving it early: close it (``contextlib.aclosing``).
    """
    child = _spawn(argv, env=env, cwd=cwd, stdin=None)
    has_failed = False

    def hear(line: str) -> None:
        nonlocal has_failed
        if fails_at(line):
            has_failed = True
            child.kill()

    async with child:
        await child.pump(child.stderr, hear)
        found = records(await child.reader(child.stdout), separator)
        while True:
            try:
                async with asyncio.timeout(silence_seconds):
                    record = await anext(found, None)
                    if record is None:
                        await child.wait()
            except TimeoutError:
                raise child.timed_out(silence_seconds) from None
            if record is None:
                break
            yield record
    if has_failed:
        raise child.failure("could not go on")
    child.check(accept)


def find_program(name: str, *, path: str = SEARCH_PATH) -> str:
    """Absolute path of a program; raises `ProgramMissing`."""
    found = shutil.which(name, path=path)
    if found is None:
        raise ProgramMissing(
            f"{name} is not installed", hint=f"install it, or put it in one of {path}"
        )
    return str(Path(found).absolute())


class _TooMuchOutput(Exception):
    """Ends a pump."""


class _Output:
    """Keeps stdout, up to a limit."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._size_bytes = 0

    def add(self, line: str) -> None:
        self._size_bytes += len(line) + 1
        if self._size_bytes > KEPT_OUTPUT_BYTES:
            raise _TooMuchOutput
        self.lines.append(line)


def _spawn(
    argv: Sequence[str], *, env: Mapping[str, str] | None, cwd: Path | None, stdin: bytes | None
) -> Child:
    environment = MINIMAL_ENVIRONMENT | dict(env or {})
    program = find_program(argv[0], path=environment["PATH"])
    given = _as_file(stdin)
    try:
        popen = subprocess.Popen(  # noqa: S603 - a list of words, never a shell
            [*_dies_with_us(), program, *argv[1:]],
            env=environment,
            cwd=cwd,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramMissing(f"{program} does not start: {error.strerror}") from error
    finally:
        if given != subprocess.DEVNULL:
            os.close(given)
    guard().watch(popen.pid)
    return Child(popen, Path(program).name)


@functools.cache
def _dies_with_us() -> tuple[str, ...]:
    """PR_SET_PDEATHSIG by util-linux: own code between fork and exec may deadlock with threads."""
    setpriv = shutil.which("setpriv", path=SEARCH_PATH)
    return (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()


def _as_file(content: bytes | None) -> int:
    """A descriptor to read ``content`` from: in memory only, and nobody has to feed it."""
    if content is None:
        return subprocess.DEVNULL
    descriptor = os.memfd_create("stdin")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _ignore(_: str) -> None:
    pass

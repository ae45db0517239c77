"""A running program: its handle, its output, its end. Programs are started by `process.py`."""

import asyncio
import contextlib
import os
import signal
import subprocess  # noqa: TID251 - part of the one place, process.py
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import IO, Self

from holdfast.kernel.errors import AppError, Unavailable
from holdfast.kernel.guard import guard

KEPT_LINES = 40
"""Last lines, of both outputs, that an error carries."""
LONGEST_LINE_BYTES = 1024 * 1024
"""Longer lines arrive in pieces."""
READ_BYTES = 65536
GRACE_SECONDS = 5.0
"""Between TERM and KILL."""
LAST_WORDS_SECONDS = 1.0
"""How long to read on after the end, when something outside the group holds the pipe."""

LineSink = Callable[[str], None]


class ProcessFailed(AppError):
    """A program ended with a status that does not count as success."""

    code = "process_failed"
    http_status = 502
    exit_code = 1
    retryable = True

    def __init__(
        self, program: str, problem: str, *, returncode: int | None, last_lines: Sequence[str]
    ) -> None:
        words = f": {last_lines[-1]}" if last_lines else ""
        super().__init__(
            f"{program} {problem}{words}",
            details={"program": program, "returncode": returncode, "last_lines": list(last_lines)},
        )
        self.program = program
        self.returncode = returncode
        """Negative: ended by that signal. None: ended by us."""
        self.last_lines = tuple(last_lines)


class ProcessTimedOut(ProcessFailed):
    """A program was ended because it took longer than its limit."""

    code = "process_timed_out"
    http_status = 502
    exit_code = 124


class ProgramMissing(Unavailable):
    """The program is not installed, or may not be executed."""

    code = "program_missing"


class Child:
    """A running program, made by `start`; leave it by `stop` or by ``async with``."""

    def __init__(self, popen: subprocess.Popen[bytes], program: str) -> None:
        self.program = program
        self.pid = popen.pid
        """Process id of the leader, and id of the group."""
        if popen.stdout is None or popen.stderr is None:
            raise ValueError("a child has pipes on both outputs")
        self.stdout, self.stderr = popen.stdout, popen.stderr
        self._popen = popen
        self._last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._ended = asyncio.get_running_loop().create_future()
        self._pumps: list[asyncio.Task[None]] = []
        self._transports: list[asyncio.ReadTransport] = []
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._leader_ended)

    @property
    def last_lines(self) -> tuple[str, ...]:
        """What the program said last on stdout and stderr."""
        return tuple(self._last_lines)

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Its status, once it ended and its output was read; raises what a line sink raised."""
        self._raise_from_pumps()
        while not self._ended.done():
            waiting = [pump for pump in self._pumps if not pump.done()]
            await asyncio.wait([self._ended, *waiting], return_when=asyncio.FIRST_COMPLETED)
            self._raise_from_pumps()
        await self._finish_output()
        self._raise_from_pumps()
        return int(self._ended.result())

    async def stop(self, *, grace_seconds: float = GRACE_SECONDS) -> None:
        """End the whole group: TERM, KILL after ``grace_seconds``. Fine when it ended already."""
        try:
            if not self._ended.done():
                self._signal(signal.SIGTERM)
                await asyncio.wait([self._ended], timeout=grace_seconds)
        finally:
            if not self._ended.done():
                self._signal(signal.SIGKILL)
        await asyncio.wait([self._ended], timeout=GRACE_SECONDS)
        await self._finish_output()

    def kill(self) -> None:
        """End the whole group at once, without waiting for it."""
        if not self._ended.done():
            self._signal(signal.SIGKILL)

    def check(self, accept: frozenset[int]) -> None:
        """Raise `ProcessFailed` when it ended with another status than these."""
        status = self.returncode
        if status is not None and status not in accept:
            raise self.failure(_what_status_means(status))

    def failure(self, problem: str) -> ProcessFailed:
        """An error about this program, with its last lines."""
        return ProcessFailed(
            self.program, problem, returncode=self.returncode, last_lines=self.last_lines
        )

    def timed_out(self, limit_seconds: float) -> ProcessTimedOut:
        """An error that says that its limit ran out."""
        return ProcessTimedOut(
            self.program,
            f"did not finish within {limit_seconds:g} s",
            returncode=None,
            last_lines=self.last_lines,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        """An asyncio reader of one of the program's pipes."""
        reader = asyncio.StreamReader(limit=READ_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        self._transports.append(transport)
        return reader

    async def pump(self, pipe: IO[bytes], sink: LineSink) -> None:
        """Give each line of a pipe to ``sink``, and remember the last ones."""
        reader = await self.reader(pipe)
        self._pumps.append(asyncio.create_task(self._pump(reader, sink)))

    async def _pump(self, reader: asyncio.StreamReader, sink: LineSink) -> None:
        async for raw in records(reader, b"\n"):
            line = raw.decode("utf-8", "replace").rstrip("\r")
            self._last_lines.append(line)
            sink(line)

    def _leader_ended(self) -> None:
        # Not reaped yet, so its id, which is the group's, cannot belong to anybody else.
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._signal(signal.SIGKILL)
        guard().forget(self.pid)
        self._ended.set_result(self._popen.wait())

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _raise_from_pumps(self) -> None:
        for pump in self._pumps:
            if pump.done() and not pump.cancelled():
                pump.result()

    async def _finish_output(self) -> None:
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=LAST_WORDS_SECONDS)
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for transport in self._transports:
            transport.close()


async def records(reader: asyncio.StreamReader, separator: bytes) -> AsyncIterator[bytes]:
    """Split what a reader gives at ``separator``; memory is bounded by `LONGEST_LINE_BYTES`."""
    rest = b""
    while received := await reader.read(READ_BYTES):
        *complete, rest = (rest + received).split(separator)
        for record in complete:
            yield record
        if len(rest) > LONGEST_LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


def _what_status_means(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"failed with status {status}"

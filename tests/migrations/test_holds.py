"""A try at the switch that fails says what it failed for."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.kernel.errors import Unavailable
from holdfast.migrations.model import HoldAttempt, Stage
from tests.migrations.rig import BUCKET, QUICK, Notes, Rig, contents, running_rig

pytestmark = pytest.mark.real


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


@contextlib.asynccontextmanager
async def deaf_when(port: int, is_deaf: Callable[[], bool]) -> AsyncIterator[int]:
    """A port before another one that takes connections and passes nothing on while it is deaf."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if not is_deaf():
                    writer.write(data)
                    await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_gate_that_nginx_does_not_reach_in_time_is_named(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes()

    def is_deaf() -> bool:
        return Stage.CUTOVER in notes.stages and not notes.holds

    async with deaf_when(rig.vhosts["localhost"], is_deaf) as port:
        rig.vhosts["localhost"] = port
        await rig.run(notes, replace(QUICK, max_hold_seconds=0.5))
    assert [hold.result for hold in notes.holds] == [
        "nginx did not ask at the gate for localhost (within 0.5 s)",
        "switched",
    ]
    assert notes.ended is Stage.DONE


async def test_a_gate_that_nginx_does_not_reach_at_all_comes_with_a_hint(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes()

    def is_deaf() -> bool:
        return Stage.CUTOVER in notes.stages and not notes.holds

    async with deaf_when(rig.vhosts["localhost"], is_deaf) as port:
        rig.vhosts["localhost"] = port
        await rig.run(notes)
    assert "loopback?" in notes.holds[0].result
    assert notes.writes_wait == [True, False] * len(notes.holds)
    assert notes.holds[0].seconds < QUICK.max_hold_seconds
    assert notes.ended is Stage.DONE


@dataclass(slots=True)
class FullDatabase(Notes):
    """A report that cannot be written from the first try at the switch to ``until``."""

    until: int = 3
    refused: int = 0

    def _write(self) -> None:
        if Stage.CUTOVER in self.stages and self.refused < self.until:
            self.refused += 1
            raise Unavailable("the database cannot be written")

    async def stage(self, stage: Stage, message: str) -> None:
        self._write()
        await Notes.stage(self, stage, message)

    async def note(self, message: str) -> None:
        self._write()
        await Notes.note(self, message)

    async def trouble(self, message: str | None) -> None:
        self._write()
        await Notes.trouble(self, message)

    async def held(self, attempt: HoldAttempt) -> None:
        self._write()
        await Notes.held(self, attempt)


async def test_a_switch_that_cannot_be_recorded_is_not_taken_back(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = FullDatabase()
    await rig.run(notes)
    assert notes.refused == notes.until
    assert notes.ended is Stage.DONE, notes.message
    async with rig.client() as client:
        await client.put(BUCKET, "after", b"y")
    assert "after" in await contents(rig.destination)
    assert "after" not in await contents(rig.source)


@dataclass(slots=True)
class AwayAtFirst(Notes):
    """A report whose every kind of line fails once."""

    failed: frozenset[Stage] = frozenset()

    async def stage(self, stage: Stage, message: str) -> None:
        if stage not in self.failed:
            self.failed |= {stage}
            raise OSError(errno.ENOSPC, "No space left on device")
        await Notes.stage(self, stage, message)


async def test_no_stage_that_cannot_be_recorded_at_first_ends_the_move(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = AwayAtFirst()
    await rig.run(notes)
    assert notes.ended is Stage.DONE, notes.message
    assert len(notes.failed) >= 5

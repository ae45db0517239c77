"""A try at the switch that fails says what it failed for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.migrations.model import Stage
from tests.migrations.rig import QUICK, Notes, Rig, running_rig

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
    assert notes.holds[0].seconds < QUICK.max_hold_seconds
    assert notes.ended is Stage.DONE

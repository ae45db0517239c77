"""The process that drives a move stops for a while, as with a paused machine, and goes on."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable
from pathlib import Path

import pytest

from holdfast.demo.fleet import BUCKET, NEW, Program
from holdfast.demo.traffic import READS
from holdfast.demo.wire import Wire
from tests.journeys.stage import SLOWLY, as_sdks_do, faults, judged, staged

pytestmark = pytest.mark.real
FROZEN_SECONDS = 4.0
HOLD_SECONDS = 2.0
GATE_SECONDS = 3.0
"""With holds of 1 s."""
SLACK_SECONDS = 3.0
"""What a busy machine may add."""


async def freeze(program: Program, until: Awaitable[object] | None = None) -> None:
    assert program.child is not None
    os.kill(program.child.pid, signal.SIGSTOP)
    try:
        await (until or asyncio.sleep(FROZEN_SECONDS))  # clients go on without it
    finally:
        os.kill(program.child.pid, signal.SIGCONT)


@pytest.mark.parametrize("state", ["src", "hold"])
async def test_a_driver_that_is_frozen_and_thaws_harms_nobody(tmp_path: Path, state: str) -> None:
    async with staged(tmp_path) as stage:

        async def freeze_once() -> None:
            slow = SLOWLY if state == "src" else {}
            identifier = await stage.start_move(max_hold_seconds=HOLD_SECONDS, **slow)
            await stage.until_flag(state)
            await freeze(stage.fleet.programs["holdfast"])
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)
            assert await stage.flag() == f"static.{NEW}"

        tally = await judged(stage, freeze_once, load=as_sdks_do())
        assert faults(tally) == {}
        assert tally.longest(*READS) < SLACK_SECONDS, "nginx answers reads by itself"
        pause = tally.longest("put", "delete", "copy", "delete many")
        frozen = FROZEN_SECONDS if state == "hold" else 0.0
        assert pause < frozen + HOLD_SECONDS + SLACK_SECONDS


async def test_no_write_waits_much_longer_than_a_hold_for_a_driver_that_stays_frozen(
    tmp_path: Path,
) -> None:
    """Nobody knows whether it will switch: the client is asked to try again, and then it works."""
    async with staged(tmp_path, settings={"HOLDFAST_MIGRATION_MAX_HOLD_SECONDS": "1"}) as stage:
        fleet = stage.fleet
        identifier = await stage.start_move()
        await stage.until_flag("hold")
        async with Wire(fleet.s3_url, fleet.access_key, fleet.secret_key) as wire:

            async def write() -> None:
                began = time.monotonic()
                answer = await wire.send("PUT", BUCKET, "held", body=b"x")
                waited = time.monotonic() - began
                assert (answer.status, b"SlowDown" in answer.body) == (503, True)
                assert GATE_SECONDS - 1 < waited < GATE_SECONDS + SLACK_SECONDS
                assert (await wire.send("GET", BUCKET, next(iter(stage.expected)))).ok

            await freeze(fleet.programs["holdfast"], write())
            moved = await stage.wait_over(identifier)
            assert moved["phase"] == "done", await stage.log(identifier)
            assert (await wire.send("PUT", BUCKET, "held", body=b"x")).ok
        assert "held" in await stage.objects(NEW)

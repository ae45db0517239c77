"""A worker with nothing to do asks its database nothing, and yet begins a job within a second."""

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import event

from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.times import EngineTimes
from tests.kernel.jobs.harness import Evidence, engine_here, show, submit

pytestmark = pytest.mark.real
QUIET_SECONDS = 3.0
START_SECONDS = 20.0
"""A second, and one more for a machine that does other work."""


async def test_an_idle_worker_asks_nothing_and_begins_a_job_soon(
    tmp_path: Path, evidence: Evidence, sqlite_template: Path
) -> None:
    path = tmp_path / "holdfast.db"
    path.write_bytes(sqlite_template.read_bytes())
    go = tmp_path / "go"
    go.touch()
    url = f"sqlite+aiosqlite:///{path}"
    async with engine_here(tmp_path / "data", url, times=EngineTimes()) as services:
        engine = services.database.engine.sync_engine
        await asyncio.sleep(1.0)  # the first looks
        asked: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
        await asyncio.sleep(QUIET_SECONDS)
        assert asked == []
        began = time.monotonic()
        job_id = await submit(
            services.database, "sample.copy", {"evidence": str(evidence.path), "go": str(go)}
        )
        while (await show(services.database, job_id)).started_at is None:
            assert time.monotonic() - began < START_SECONDS
            await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while (await show(services.database, job_id)).state is not JobState.DONE:
                await asyncio.sleep(0.05)

"""What a migration tells while it copies: enough to draw it without asking."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.gateway.tables import PoolRow
from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.events import events_after
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.work import SYSTEM
from holdfast.migrations import recorder
from holdfast.migrations.model import HoldAttempt, Mode, Options, Stage
from holdfast.migrations.move import Amounts, Move, Side
from holdfast.migrations.recorder import Recorder
from holdfast.migrations.tables import MigrationRow
from tests.kernel.api import services_for

LIMIT_SECONDS = 20


def side(pool_id: int, name: str) -> Side:
    return Side(
        pool_id=pool_id,
        name=name,
        alias=name,
        endpoint="http://127.0.0.1:1",
        access_key="",
        secret_key="",
        region="",
    )


@pytest.fixture
async def move(database: Database, tmp_path: Path) -> Move:
    async with database.write(SYSTEM) as work:
        pools = [PoolRow(name=n, created_at=now(), updated_at=now()) for n in ("old", "new")]
        work.session.add_all(pools)
        await work.session.flush()
        row = MigrationRow(
            vhost_id=None,
            bucket="photos",
            src_pool_id=pools[0].id,
            dst_pool_id=pools[1].id,
            options=Options(max_hold_seconds=3.0).to_json(),
            job_id="the-job",
            created_at=now(),
        )
        work.session.add(row)
        await work.session.flush()
        return Move(
            migration_id=row.id,
            bucket="photos",
            mode=Mode.COPY,
            source=side(pools[0].id, "old"),
            destination=side(pools[1].id, "new"),
            entrances=(),
            options=Options(),
            folder=tmp_path,
        )


async def told(database: Database, kind: str) -> list[dict[str, Any]]:
    async with database.read() as session:
        rows = await events_after(session, 0, topics=("migration",))
    return [json.loads(row.data) for row in rows if row.kind == kind]


async def test_progress_is_told_with_everything_a_page_draws(
    database: Database, tmp_path: Path, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_INTERVAL_SECONDS", 0.3)
    ctx = JobContext(
        job_id="the-job",
        kind="migrations.move",
        services=services_for(database, tmp_path / "data"),
        job_log=JobLog(tmp_path / "log"),
        steps=PlainSteps(),
        fence=NoFence(),
    )
    report = Recorder(ctx, move)
    await report.stage(Stage.COPY, "copying")
    hold = HoldAttempt(
        number=1,
        started_at="",
        seconds=0.25,
        dirty_keys=2,
        pinned_uploads=0,
        held_requests=1,
        result="late",
    )
    await report.held(hold)
    async with asyncio.timeout(LIMIT_SECONDS), report.writing():
        done = 0
        while not any(event["eta_seconds"] for event in await told(database, "progress")):
            done = min(done + 1, 900)
            report.amounts(
                Amounts(
                    objects_total=1000,
                    objects_done=done,
                    bytes_total=1_000_000,
                    bytes_done=done * 1000,
                    dirty_keys=4,
                )
            )
            await asyncio.sleep(0.02)
        last = (await told(database, "progress"))[-1]
        report.holding(is_open=True)
        while (await told(database, "progress"))[-1]["write_pause_longest_seconds"] <= 0.25:
            await asyncio.sleep(0.02)
        longer = (await told(database, "progress"))[-1]
        assert longer["write_pause_seconds"] == pytest.approx(
            0.25 + longer["write_pause_longest_seconds"]
        )
    assert last["bytes_done"] == last["objects_done"] * 1000 > 0
    expected = {
        "id": move.migration_id,
        "job_id": "the-job",
        "bucket": "photos",
        "phase": "copying",
        "objects_total": 1000,
        "bytes_total": 1_000_000,
        "dirty_keys": 4,
        "holds": 1,
        "write_pause_seconds": 0.25,
        "write_pause_longest_seconds": 0.25,
        "write_pause_limit_seconds": 3.0,
    }
    assert expected.items() <= last.items()
    assert last["objects_per_second"] > 0
    assert last["bytes_per_second"] == pytest.approx(1000 * last["objects_per_second"], rel=0.01)


async def test_nothing_is_told_while_nothing_moves(
    database: Database, tmp_path: Path, move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "WRITE_INTERVAL_SECONDS", 0.05)
    ctx = JobContext(
        job_id="the-job",
        kind="migrations.move",
        services=services_for(database, tmp_path / "data"),
        job_log=JobLog(tmp_path / "log"),
        steps=PlainSteps(),
        fence=NoFence(),
    )
    report = Recorder(ctx, move)
    report.amounts(Amounts(objects_total=10, objects_done=3))
    async with asyncio.timeout(LIMIT_SECONDS), report.writing():
        while not await told(database, "progress"):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
    assert len(await told(database, "progress")) == 1

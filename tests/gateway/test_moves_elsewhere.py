"""A worker that does not have the gateway's files neither drives a move nor ends it."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select

from holdfast.gateway.tables import RouteRow
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.jobs.errors import error_text
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.registry import EndedJob
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.work import SYSTEM
from holdfast.migrations.jobs import MOVE, drive, leave_nothing_half_done
from holdfast.migrations.tables import MigrationRow
from tests.gateway.scene import Scene, fill

pytestmark = pytest.mark.real


@pytest.mark.parametrize("abandon", ["", "the job failed"])
async def test_it_hands_the_move_back(
    quick_scene: Scene, monkeypatch: pytest.MonkeyPatch, abandon: str
) -> None:
    scene, services = quick_scene, quick_scene.room.services
    await fill(scene.old_server, "full")
    body = {"pool_id": scene.new, "migrate": True}
    number = (await scene.call("POST", "/buckets/full/promote", body))["migration_id"]
    monkeypatch.setattr(scene.room.gateway.generations, "current", lambda: 1)
    context = cast("Any", SimpleNamespace(read=services.database.read, services=services))
    with pytest.raises(Unavailable) as refused:
        await drive.__wrapped__(context, number, abandon)  # type: ignore[attr-defined]
    args = {"migration_id": number, "abandon": abandon}
    async with services.database.write(SYSTEM) as work:
        row = await work.session.get_one(MigrationRow, number)
        ended = EndedJob(
            id=row.job_id or "",
            kind=MOVE,
            args=args,
            state=JobState.FAILED,
            error=error_text(refused.value),
            created_by="ann",
        )
        await leave_nothing_half_done(work, ended)
    async with services.database.read() as session:
        row = await session.get_one(MigrationRow, number)
        assert (row.phase, (row.error_msg or "").split(":")[0]) == ("pending", "waiting")
        assert row.job_id != ended.id
        job = (await session.scalars(select(JobRow).where(JobRow.id == row.job_id))).one()
        assert json.loads(job.args).get("abandon", "") == abandon, "it goes on as it was"
        (route,) = await session.scalars(select(RouteRow).where(RouteRow.bucket == "full"))
        assert route.migration_id == number

"""What the tests of the pages of tiers share."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import holdfast.kernel.stores.pages
import holdfast.kernel.web.console.pages
import holdfast.tiers.pages
from holdfast.kernel.clock import now
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.tables import JobRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.model import Action, Asked
from holdfast.tiers.tables import TierRunRow
from tests.gateway.pages.web import Web
from tests.kernel.web_pages import open_pages
from tests.tiers.scene import Scene

AWKWARD = "<script>alert('x')</script>"


@asynccontextmanager
async def pages_of(scene: Scene) -> AsyncIterator[Web]:
    """The console with the pages of stores and tiers."""
    services = scene.services
    holdfast.kernel.web.console.pages.contribute(services)
    holdfast.kernel.stores.pages.contribute(services)
    holdfast.tiers.pages.contribute(services)
    routers = [holdfast.kernel.web.console.pages.router, *holdfast.tiers.pages.routers]
    async with open_pages(services, *routers) as opened:
        yield opened


async def a_run(
    scene: Scene,
    tier_id: int,
    job_id: str,
    action: Action = Action.FREEZE,
    state: JobState = JobState.DONE,
    outcome: dict[str, Any] | None = None,
    error: str = "",
    **asked: Any,
) -> None:
    """A run that was asked for and has ended."""
    job = JobRow(
        id=job_id, kind=f"tiers.{action}", title="", args="{}", locks="[]", priority=0,
        created_by="api", created_at=now(), state=state, error=error or None, finished_at=now(),
    )  # fmt: skip
    run = TierRunRow(
        job_id=job_id,
        tier_id=tier_id,
        action=action,
        asked=Asked(action=action, **asked).to_json(),
        dry_run=Asked(action=action, **asked).dry_run,
        outcome=json.dumps(outcome or {}),
        created_at=now(),
        ended_at=now(),
    )
    async with scene.services.database.write(SYSTEM) as work:
        work.session.add_all([job, run])

"""Tiers of a database without a server: folders, a store's row, and what is asked of them."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs import tables as job_tables
from holdfast.kernel.jobs.model import JobState
from holdfast.kernel.jobs.service import show_job
from holdfast.kernel.services import Services
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers import queries
from holdfast.tiers.model import Action, FileState, TierOptions
from holdfast.tiers.service import asking, keeping
from holdfast.tiers.service.asking import Answer, Wish
from holdfast.tiers.service.draft import TierDraft
from holdfast.tiers.service.ground import look
from holdfast.tiers.tables import TierFileRow, TierRow
from holdfast.tiers.totals import count_ended
from tests.kernel.api import services_for


@dataclass
class Scene:
    """A database with one store, and folders below ``place``."""

    services: Services
    place: Path
    store_id: int = 0
    names: list[str] = field(default_factory=list)

    def folder(self, name: str) -> Path:
        """A folder that a tier may keep."""
        path = self.place / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def draft(self, name: str = "photos", path: Path | None = None, **fields: Any) -> TierDraft:
        """A tier that can be made; ``fields``: of the draft, or of its options."""
        options = {key: value for key, value in fields.items() if hasattr(TierOptions(), key)}
        own = {key: value for key, value in fields.items() if key not in options}
        return TierDraft(
            name=name,
            path=bytes(path or self.folder(name)),
            **{"store_id": self.store_id, **own},
            options=TierOptions(**options),
        )

    async def a_tier(self, name: str = "photos", **fields: Any) -> TierRow:
        """A tier, made."""
        fields.setdefault("freezable", True)
        return await self.made(self.draft(name, **fields))

    async def made(self, draft: TierDraft) -> TierRow:
        """A tier of this draft."""
        ground = await look(self.services, draft)
        async with self.services.database.write(SYSTEM) as work:
            return await keeping.create_tier(work, draft, ground)

    async def changed(self, tier_id: int, **changes: Any) -> TierRow:
        """The tier with these fields replaced."""
        ground = await keeping.look_at_change(self.services, tier_id, changes)
        async with self.services.database.write(SYSTEM) as work:
            return await keeping.update_tier(work, tier_id, changes, ground)

    async def asked(self, action: Action, *paths: Path | bytes, **options: Any) -> Answer:
        """What a wish is answered."""
        given = [path if isinstance(path, bytes) else bytes(path) for path in paths]
        wish = Wish(action=action, paths=given, **options)
        target = await asking.find(self.services, wish)
        async with self.services.database.write(SYSTEM) as work:
            return await asking.ask(work, self.services.sealer, wish, target)

    async def locks(self, answer: Answer) -> list[str]:
        """What a job keeps to itself."""
        async with self.services.database.read() as session:
            return (await show_job(session, answer.job_id)).locks

    async def set_state(self, job_id: str, state: JobState, **more: Any) -> None:
        """Let a job be in a state."""
        values = {"state": state, **more}
        async with self.services.database.write(SYSTEM) as work:
            assert await job_tables.set_job(work.session, job_id, among=list(JobState), **values)

    async def journal(
        self, tier_id: int, path: bytes, state: FileState, job_id: str = "a-job", **fields: Any
    ) -> None:
        """A file that a freeze took."""
        row = TierFileRow(
            **{
                "tier_id": tier_id,
                "job_id": job_id,
                "path": path,
                "state": state,
                "size_bytes": 10,
                "device": 1,
                "inode": 1,
                "mtime_ns": 1,
                "proof": json.dumps({}),
                **fields,
            }
        )
        async with self.services.database.write(SYSTEM) as work:
            work.session.add(row)
            await work.session.flush()
            if state not in queries.WAITING_FILES:
                await count_ended(work.session, [(row.id, state)])
                row.ended_at = now()


async def a_scene(database: Database, directory: Path, **settings: object) -> Scene:
    """A scene with a store."""
    services = services_for(database, directory / "own", **settings)
    scene = Scene(services, directory / "trees")
    moment = now()
    store = StoreRow(
        name="archive",
        kind="local",
        root=str(directory / "archive"),
        created_at=moment,
        updated_at=moment,
    )
    async with database.write(SYSTEM) as work:
        work.session.add(store)
    scene.store_id = store.id
    return scene

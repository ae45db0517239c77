"""A tier whose store is a dictionary that is asked as a store is: to freeze real files cheaply."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.services import Services
from holdfast.kernel.stores.model import HashKind
from holdfast.kernel.stores.place import Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.asking import Told, ask_place
from holdfast.tiers.model import QUARANTINE, Candidate, Tier, TierOptions
from holdfast.tiers.plan_file import FreezePlan, write_plan
from holdfast.tiers.proof import Proven, place_name
from holdfast.tiers.running import Run
from holdfast.tiers.tables import TierFileRow, TierRow
from tests.kernel.api import services_for

NOWHERE = Place(name="store", kind="local", remote=Remote("local", {}, "/nowhere"), s3=None)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def at(root: Path, name: bytes) -> Path:
    return root / os.fsdecode(name)


def found(root: Path, name: bytes) -> Candidate:
    """A file as a scan would see it."""
    seen = at(root, name).lstat()
    return Candidate(
        path=name,
        size_bytes=seen.st_size,
        device=seen.st_dev,
        inode=seen.st_ino,
        links=seen.st_nlink,
        mtime_ns=seen.st_mtime_ns,
        ctime_ns=seen.st_ctime_ns,
        atime_ns=seen.st_atime_ns,
    )


def tell_of(content: bytes) -> Told:
    digest = md5(content)
    return Told(size_bytes=len(content), mark=f"v-{digest}", kind=HashKind.MD5, digest=digest)


def contents(folder: Path) -> dict[bytes, bytes]:
    """All regular files below a folder, without a quarantine in it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {os.fsencode(path.relative_to(folder)): path for path in paths}
    quarantine = QUARANTINE.encode() + b"/"
    return {
        name: path.read_bytes() for name, path in names.items() if not name.startswith(quarantine)
    }


@dataclass
class Icebox:
    services: Services
    root: Path
    tier_id: int
    stored: dict[bytes, bytes] = field(default_factory=dict)
    """What the store has."""
    asked: int = 0
    is_away: bool = False
    forbidden: set[bytes] = field(default_factory=set)
    """Of these nothing can be asked, nor of others in the same question."""
    mark: str = ""
    """Marks all versions, instead of one for each content."""
    jobs: int = 0
    places: tuple[Place, ...] = ()
    """Real ones; without any the dictionary is asked."""

    def run(self, job_id: str = "", **options: Any) -> Run:
        """A job at work; without an id a new one."""
        self.jobs += not job_id
        job_id = job_id or f"job{self.jobs}"
        data = self.services.settings.data_dir
        work = data / "work" / job_id
        work.mkdir(parents=True, exist_ok=True)
        ctx = JobContext(
            job_id=job_id,
            kind="tiers.freeze",
            services=self.services,
            job_log=JobLog(data / "log"),
            steps=PlainSteps(),
            fence=NoFence(),
        )
        return Run(
            ctx=ctx,
            tier=Tier(
                id=self.tier_id,
                name="t",
                root=bytes(self.root),
                store_id=1,
                options=TierOptions(**{"freezable": True, "age_days": 1, **options}),
            ),
            places=self.places or (NOWHERE,),
            work=work,
            report=data / f"{job_id}.jsonl",
            ask=ask_place if self.places else self.ask,
        )

    async def ask(
        self, services: Services, place: Place, paths: Sequence[bytes], work: Path
    ) -> dict[bytes, Told]:
        self.asked += 1
        if self.is_away or not self.forbidden.isdisjoint(paths):
            raise Unavailable("the store is away")
        answers = {path: tell_of(self.stored[path]) for path in paths if path in self.stored}
        if not self.mark:
            return answers
        return {path: said._replace(mark=self.mark) for path, said in answers.items()}

    def put(self, *names: bytes, content: bytes = b"") -> None:
        """Write files, and store them."""
        for name in names:
            path = at(self.root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content or b"content of " + name)
            self.stored[name] = content or b"content of " + name

    def plan(self, run: Run, *names: bytes) -> FreezePlan:
        """All that a planner would say of these files."""
        files = [found(self.root, name) for name in names]
        proofs = [
            Proven(
                kind=HashKind.MD5,
                digest=md5(self.stored[file.path]),
                links=file.links,
                stores={place_name(NOWHERE): tell_of(self.stored[file.path])},
            )
            for file in files
        ]
        path = run.work / "plan"
        with path.open("w") as to:
            write_plan(to, zip(files, proofs, strict=True))
        return FreezePlan(files=len(files), size_bytes=0, path=path)

    async def states(self) -> dict[bytes, str]:
        """The last state of each file in the journal."""
        async with self.services.database.read() as session:
            rows = await session.scalars(select(TierFileRow).order_by(TierFileRow.id))
            return {row.path: row.state for row in rows}

    @property
    def local(self) -> dict[bytes, bytes]:
        """What is in the tree."""
        return contents(self.root)

    def waiting(self, job_id: str) -> dict[bytes, bytes]:
        """What is in a job's quarantine."""
        return contents(self.root / QUARANTINE / job_id)

    @property
    def has_quarantine(self) -> bool:
        return (self.root / QUARANTINE).exists()


def told(run: Run) -> dict[str, tuple[str, str]]:
    """What a run's report says of each path: the last word, and why."""
    lines = [json.loads(line) for line in run.report.read_text().splitlines()]
    return {line["path"]: (line["what"], line["reason"]) for line in lines}


def grow_cold(folder: Path, days: float = 30.0) -> None:
    """Nobody has read or changed these files for so long."""
    then = time.time() - days * 86_400
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


async def an_icebox(database: Database, directory: Path) -> Icebox:
    root = directory / "tree"
    root.mkdir()
    moment = now()
    async with database.write(SYSTEM) as work:
        store = StoreRow(name="store", kind="local", created_at=moment, updated_at=moment)
        work.session.add(store)
        await work.session.flush()
        row = TierRow(
            name="t", root=bytes(root), store_id=store.id, created_at=moment, updated_at=moment
        )
        work.session.add(row)
    return Icebox(services_for(database, directory / "own"), root, row.id)

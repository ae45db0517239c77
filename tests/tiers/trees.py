"""A tier with a real tree and a store of any kind, and runs of it without the engine."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.jobs.context import JobContext, NoFence, PlainSteps
from holdfast.kernel.jobs.logfile import JobLog
from holdfast.kernel.services import Services
from holdfast.kernel.stores.hub import RcloneHub, build_hub
from holdfast.kernel.stores.place import Place, S3Place
from holdfast.kernel.stores.rclone_remote import Remote
from holdfast.kernel.stores.tables import StoreRow
from holdfast.kernel.work import SYSTEM
from holdfast.tiers.files import details_path, work_dir
from holdfast.tiers.model import TierOptions
from holdfast.tiers.pull_outcome import PullOutcome
from holdfast.tiers.pulling import pull
from holdfast.tiers.running import Run
from holdfast.tiers.tables import TierPulledRow, TierRow
from tests.kernel.api import services_for
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer

BUCKET = "archive"


@asynccontextmanager
async def a_database(template: Path, directory: Path) -> AsyncIterator[Database]:
    """A database of our schema, for what is the same with every kind."""
    path = directory / "holdfast.db"
    shutil.copy(template, path)
    database = Database(f"sqlite+aiosqlite:///{path}")
    try:
        yield database
    finally:
        await database.close()


def a_local_place(folder: Path) -> Place:
    """A directory as a store."""
    folder.mkdir(parents=True, exist_ok=True)
    return Place(name="disk", kind="local", remote=Remote("local", {}, str(folder)), s3=None)


def an_sftp_place(server: SftpServer, folder: str) -> Place:
    """A folder of an SFTP server, made."""
    (server.files / folder).mkdir(parents=True)
    remote = Remote("sftp", server.options, f"files/{folder}")
    return Place(name="cold", kind="sftp", remote=remote, s3=None)


def an_s3_place(server: S3Server) -> Place:
    """The bucket of an S3 server."""
    options = {
        "provider": "Other",
        "endpoint": server.endpoint,
        "access_key_id": server.access_key,
        "secret_access_key": server.secret_key,
    }
    s3 = S3Place(
        endpoint=server.endpoint,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region="us-east-1",
        bucket=BUCKET,
        prefix="",
    )
    return Place(name="s3", kind="s3", remote=Remote("s3", options, BUCKET), s3=s3)


@dataclass
class Tree:
    """A tier, its tree at ``root``, and what was told of its runs."""

    services: Services
    database: Database
    root: Path
    place: Place
    row: TierRow
    jobs: int = 0
    logs: list[Path] = field(default_factory=list)

    def run(self, *, again: bool = False, **options: Any) -> Run:
        """A run; ``again``: the one before goes on."""
        self.jobs += not again
        job_id = f"job-{self.jobs}"
        data_dir = self.services.settings.data_dir
        log = data_dir / f"{job_id}.log"
        self.logs.append(log)
        ctx = JobContext(
            job_id=job_id,
            kind="tiers.pull",
            services=self.services,
            job_log=JobLog(log),
            steps=PlainSteps(),
            fence=NoFence(),
        )
        tier = self.row.tier()
        return Run(
            ctx=ctx,
            tier=replace(tier, options=TierOptions(**options)),
            places=(self.place,),
            work=work_dir(data_dir, job_id),
            report=details_path(data_dir, job_id),
        )

    async def pulled(
        self, *paths: bytes, dry_run: bool = False, **options: Any
    ) -> tuple[PullOutcome, list[dict[str, Any]]]:
        """How a pull went, and the lines of its report."""
        run = self.run(**options)
        outcome = await pull(run, paths or (b"",), dry_run=dry_run)
        return outcome, told(run)

    async def stamped(self) -> set[bytes]:
        """Paths with a grace."""
        async with self.database.read() as session:
            return set(await session.scalars(select(TierPulledRow.path)))

    def here(self) -> list[bytes]:
        """All names in the tree, sorted."""
        return sorted(os.fsencode(path.relative_to(self.root)) for path in self.root.rglob("*"))


def told(run: Run) -> list[dict[str, Any]]:
    """The report of a run."""
    return [json.loads(line) for line in run.report.read_text().splitlines()]


@asynccontextmanager
async def a_tree(database: Database, directory: Path, place: Place) -> AsyncIterator[Tree]:
    """A tier of a new tree; what is asked of its store is ``place``."""
    services = services_for(database, directory / "own")
    build_hub(services)
    root = directory / "tree"
    root.mkdir()
    moment = now()
    store = StoreRow(name="store", kind=place.kind, created_at=moment, updated_at=moment)
    async with database.write(SYSTEM) as work:
        work.session.add(store)
        await work.session.flush()
        row = TierRow(
            name="t", root=bytes(root), store_id=store.id, created_at=moment, updated_at=moment
        )
        work.session.add(row)
    try:
        yield Tree(services, database, root, place, row)
    finally:
        await services.get(RcloneHub).stop()


def at(folder: Path, name: bytes) -> Path:
    """A path of any bytes."""
    return folder / os.fsdecode(name)


def put(folder: Path, files: Mapping[bytes, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = at(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


async def make_bucket(server: S3Server, objects: Mapping[str, bytes]) -> None:
    """The bucket of `an_s3_place`, with these objects."""
    async with server.client() as client:
        await client.create_bucket(BUCKET)
        for key, content in objects.items():
            await client.put(BUCKET, key, content)

"""Migrations from their records on disk, when the database that had them is gone."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.gateway.ports import Restored
from holdfast.gateway.service import routing
from holdfast.kernel.clock import now, parse_time
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.services import Services
from holdfast.kernel.work import Work
from holdfast.migrations import tables
from holdfast.migrations.files import FOLDER
from holdfast.migrations.jobs import MOVE
from holdfast.migrations.model import Mode, Stage, is_over, phase_of
from holdfast.migrations.service.starting import default_options
from holdfast.migrations.tables import MigrationRow

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Known:
    """What records refer to by name."""

    pools: dict[str, int]
    vhosts: dict[str, routing.Entry]


async def restore(
    work: Work, services: Services, *, folder: Path | None, only_ended: bool
) -> Restored:
    """Make a row of each record that the database does not have; unfinished ones get a job."""
    result = Restored()
    known = _Known(await routing.pool_ids(work.session), await routing.entries(work.session))
    for path in sorted((folder or services.settings.data_dir / FOLDER).glob("migration-*.json")):
        record = _read(path, result)
        if record is None:
            continue
        if await work.session.get(MigrationRow, int(record["migration_id"])) is None:
            await _restore_one(work, services, known, record, result, only_ended=only_ended)
    await work.session.flush()
    await tables.advance_numbers(work.session)
    return result


async def _restore_one(
    work: Work,
    services: Services,
    known: _Known,
    record: Record,
    result: Restored,
    *,
    only_ended: bool,
) -> None:
    stage = _stage(record)
    what = f"migration {record['migration_id']} of bucket {record['bucket']!r}"
    source = known.pools.get(record.get("source_pool_name") or "")
    target = known.pools.get(record.get("target_pool_name") or "")
    if source is None or target is None:
        missing = record["source_pool_name" if source is None else "target_pool_name"]
        result.warnings.append(f"{what}: left out, there is no pool {missing!r}")
        return
    if not is_over(stage) and only_ended:
        result.warnings.append(f"{what}: left out, it had not ended")
        return
    entries = _entries(record, known)
    row = _row(services, record, stage, (source, target), entries)
    work.session.add(row)
    await work.session.flush()
    if is_over(stage):
        result.completed += stage is Stage.DONE
        return
    result.active += 1
    taken = await routing.claim_routes(
        work.session,
        vhost_ids=[entry.vhost_id for entry in entries],
        bucket=row.bucket,
        migration_id=row.id,
    )
    if not taken:
        result.warnings.append(f"{what}: no vhost has a route of the bucket any more")
    lock = f"buckets/{row.bucket}"
    args = {"migration_id": row.id}
    row.job_id = jobs.submit(work, MOVE, args, locks=[lock], title=f"move {row.bucket}")


def _row(
    services: Services,
    record: Record,
    stage: Stage,
    pools: tuple[int, int],
    entries: list[routing.Entry],
) -> MigrationRow:
    options = record.get("options")
    mode = record.get("mode")
    row = MigrationRow(
        vhost_id=entries[0].vhost_id if entries else None,
        bucket=str(record["bucket"]),
        src_pool_id=pools[0],
        dst_pool_id=pools[1],
        mode=mode if mode in set(Mode) else Mode.COPY.value,
        phase=phase_of(stage).value,
        stage=stage.value,
        vhosts=json.dumps([entry.as_json() for entry in entries]),
        options=json.dumps(options) if options else default_options(services.settings).to_json(),
        objects_total=int(record.get("total_objects") or 0),
        objects_done=int(record.get("copied_objects") or record.get("total_objects") or 0),
        bytes_total=int(record.get("bytes_total") or 0),
        bytes_done=int(record.get("bytes_transferred") or record.get("bytes_total") or 0),
        error_msg=record.get("error"),
        created_at=_moment(record, "started_at", "orphaned_at", "written_at", "updated_at")
        or now(),
        started_at=_moment(record, "started_at"),
        finished_at=_moment(record, "finished_at", "orphaned_at") if is_over(stage) else None,
    )
    row.id = int(record["migration_id"])
    if stage is Stage.DONE and record.get("orphaned_source_prefix"):
        row.orphaned_source_pool_id = pools[0]
        row.orphaned_source_prefix = record["orphaned_source_prefix"]
        row.orphaned_at = _moment(record, "orphaned_at")
    if stage in {Stage.ERROR, Stage.CANCELLED} and options and record.get("copied_objects"):
        row.orphaned_source_pool_id = pools[1]
        row.orphaned_source_prefix = f"/{row.bucket}/"
        row.orphaned_at = row.finished_at
    return row


def _entries(record: Record, known: _Known) -> list[routing.Entry]:
    if record.get("vhosts") is not None:
        return [known.vhosts[name] for name in record["vhosts"] if name in known.vhosts]
    by_id = {entry.vhost_id: entry for entry in known.vhosts.values()}
    found = by_id.get(record.get("vhost_id") or 0)
    return [found] if found else []


def _stage(record: Record) -> Stage:
    """The protocol's word; records of the older tool have only the phase."""
    text_ = record.get("stage") or record.get("status")
    if text_ in set(Stage):
        return Stage(text_)
    return Stage.IDLE


def _moment(record: Record, *names: str) -> datetime | None:
    return parse_time(next((record[name] for name in names if record.get(name)), None))


def _read(path: Path, result: Restored) -> Record | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        int(record["migration_id"])
        str(record["bucket"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        result.warnings.append(f"{path.name}: not a record of a migration: {error}")
        return None
    return dict(record)

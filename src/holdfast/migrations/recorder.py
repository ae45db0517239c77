"""Writes what becomes of a migration.

Its row, its log, events, the audit, and the record on disk.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from holdfast.gateway.context import Gateway
from holdfast.gateway.service.routing import finish_move, route_of, sweep_http_routes
from holdfast.kernel.clock import iso_time, now
from holdfast.kernel.errors import NotFound, Unavailable
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.pace import Pace
from holdfast.kernel.work import Work
from holdfast.migrations import files
from holdfast.migrations.model import SWITCHED, HoldAttempt, Options, Stage, phase_of, served_by
from holdfast.migrations.move import Amounts, Move
from holdfast.migrations.tables import MigrationLogRow, MigrationRow

WRITE_INTERVAL_SECONDS = 1.0
CANCELLED = "cancelled"
"""As a reason to abandon: somebody wanted it so."""
AUDIT_ACTIONS = {
    Stage.DONE: "migration_done",
    Stage.ERROR: "migration_error",
    Stage.CANCELLED: "migration_cancelled",
}


class Recorder:
    """The report of a migration that a job drives."""

    def __init__(self, ctx: JobContext, move: Move, *, abandon: str = "") -> None:
        """``abandon``: a reason to end it now, in error, with the source serving."""
        self._ctx, self._move, self._abandon = ctx, move, abandon
        self._amounts: Amounts | None = None
        self._written: Amounts | None = None
        self._objects, self._bytes = Pace(), Pace()
        self._held_since: float | None = None
        self._cancel_seen = False
        self._swept: list[str] = []
        self.ended: Stage | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it is to end; read from the thread that drives it."""
        return bool(self._abandon) or self._cancel_seen or self._ctx.cancelled

    async def stage(self, stage: Stage, message: str) -> None:
        """A step is about to be taken."""

        def change(row: MigrationRow) -> None:
            row.stage, row.phase = stage.value, phase_of(stage).value
            row.started_at = row.started_at or now()
            row.error_msg = None

        await self._change(change, message, kind="phase")

    async def note(self, message: str) -> None:
        """A line for its log."""
        await self._change(lambda _: None, message)

    async def warn(self, message: str) -> None:
        """Something that clients may notice after the switch."""

        def change(row: MigrationRow) -> None:
            row.cascade_warnings = "\n".join(filter(None, [row.cascade_warnings, message]))

        await self._change(change, f"warning: {message}")

    async def trouble(self, message: str | None) -> None:
        """It waits for something; None: that is over."""

        def change(row: MigrationRow) -> None:
            row.error_msg = message

        await self._change(change, message or "going on", kind="trouble")

    async def admitted(self, options: Options) -> None:
        """The checks before the move have passed."""

        def change(row: MigrationRow) -> None:
            row.options = options.to_json()

        await self._change(change, "")

    async def held(self, attempt: HoldAttempt) -> None:
        """One try at the switch is over."""

        def change(row: MigrationRow) -> None:
            row.holds = json.dumps([*json.loads(row.holds), asdict(attempt)])
            if attempt.result != SWITCHED:
                row.stage = Stage.CUTOVER.value  # it may be cancelled again

        message = (
            f"hold {attempt.number}: {attempt.result}; writes waited {attempt.seconds:.3f} s, "
            f"{attempt.dirty_keys} keys copied"
        )
        await self._change(change, message, kind="hold")

    async def over(self, stage: Stage, message: str) -> None:
        """It is done, or ended in error, or was cancelled.

        The routes follow in the same transaction.
        """
        if self._abandon not in {"", CANCELLED} and stage is Stage.CANCELLED:
            stage, message = Stage.ERROR, self._abandon
        done = stage is Stage.DONE

        async def change(work: Work, row: MigrationRow) -> None:
            self._put_amounts(row)
            _end(row, stage, message)
            gateway = self._ctx.services.get(Gateway)
            await finish_move(
                work,
                gateway,
                vhost_ids=[entrance.vhost_id for entrance in self._move.entrances],
                bucket=row.bucket,
                pool_id=row.dst_pool_id if done else row.src_pool_id,
            )
            if done:
                self._swept = await sweep_http_routes(
                    work, gateway, bucket=row.bucket, pool_id=row.src_pool_id
                )
            after = {"bucket": row.bucket, "phase": row.phase, "error": row.error_msg}
            work.audit(AUDIT_ACTIONS[stage], "migration", row.id, after=after)

        await self._write(change, message, kind="phase")
        self.ended = stage

    def amounts(self, amounts: Amounts) -> None:
        """How far it is; written from time to time."""
        self._amounts = amounts

    def holding(self, *, is_open: bool) -> None:
        """Writes wait from now on, or do no more."""
        self._held_since = time.monotonic() if is_open else None

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write the amounts while the block runs."""
        task = asyncio.create_task(self._write_amounts())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _write_amounts(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_SECONDS)
            latest = self._amounts
            if latest is None or (latest == self._written and self._held_since is None):
                continue
            self._ctx.progress(latest.objects_done, latest.objects_total, unit="objects")
            with contextlib.suppress(Unavailable):
                await self._write(self._only_amounts, "", kind="progress")

    async def _only_amounts(self, _: Work, row: MigrationRow) -> None:
        self._put_amounts(row)

    def _put_amounts(self, row: MigrationRow) -> None:
        if self._amounts is not None:
            for name, value in asdict(self._amounts).items():
                setattr(row, name, value)
            self._written = self._amounts
            self._objects.add(time.monotonic(), self._amounts.objects_done)
            self._bytes.add(time.monotonic(), self._amounts.bytes_done)

    async def _change(
        self, change: Callable[[MigrationRow], None], message: str, *, kind: str = ""
    ) -> None:
        async def apply(_: Work, row: MigrationRow) -> None:
            self._cancel_seen = row.cancel_requested  # the job hears of it later
            self._put_amounts(row)
            change(row)

        await self._write(apply, message, kind=kind)

    async def _write(
        self,
        change: Callable[[Work, MigrationRow], Awaitable[None]],
        message: str,
        *,
        kind: str = "",
    ) -> None:
        """One transaction: row, log line, event.

        Raises ``Unavailable`` while there is no database.
        """
        route_id = None
        try:
            async with self._ctx.write() as work:
                row = await work.session.get(MigrationRow, self._move.migration_id)
                if row is None:
                    raise NotFound("Migration not found")
                await change(work, row)
                if message:
                    self._ctx.log(message)
                    _add_line(work, row, message)
                if kind == "phase":
                    route_id = await route_of(work.session, row.vhost_id, row.bucket)
                if kind:
                    work.emit(
                        "migration", kind, event_of(row, message, self._pause()) | self._speed(row)
                    )
        except SQLAlchemyError as error:
            raise Unavailable("the database cannot be written", details=str(error)) from error
        if kind == "phase":
            await asyncio.to_thread(self._write_record, row, route_id)

    def _pause(self) -> float:
        """How long writes have waited in the try that goes on, in seconds."""
        since = self._held_since
        return 0.0 if since is None else time.monotonic() - since

    def _speed(self, row: MigrationRow) -> dict[str, float | None]:
        """Both must be there, so the slower of the two says when."""
        if row.finished_at:
            return {}
        objects, of_bytes = self._objects, self._bytes
        return {
            "objects_per_second": objects.per_second,
            "bytes_per_second": of_bytes.per_second,
            "eta_seconds": _later(
                objects.eta_seconds(row.objects_total), of_bytes.eta_seconds(row.bytes_total)
            ),
        }

    def _write_record(self, row: MigrationRow, route_id: int | None) -> None:
        data_dir = self._ctx.services.settings.data_dir
        stage = Stage(row.stage)
        state = files.state_path(data_dir, row.id)
        if stage is Stage.DONE:
            record = _done_record(row, self._move, route_id) | {"swept_http_vhosts": self._swept}
            files.write_record(files.done_path(data_dir, row.id), record)
        left_nothing = stage is Stage.CANCELLED and row.orphaned_source_pool_id is None
        if stage is Stage.DONE or left_nothing:
            files.remove_record(state)
        else:
            files.write_record(state, _state_record(row, self._move, route_id))


def event_of(row: MigrationRow, message: str, pause_seconds: float = 0.0) -> dict[str, Any]:
    """What an event tells of a migration: enough to draw it without asking.

    ``pause_seconds``: how long writes wait already in a try that goes on.
    """
    holds = json.loads(row.holds)
    pauses = [*(hold["seconds"] for hold in holds), pause_seconds]
    return {
        "id": row.id,
        "job_id": row.job_id,
        "bucket": row.bucket,
        "phase": row.phase,
        "stage": row.stage,
        "message": message,
        "error": row.error_msg,
        "objects_done": row.objects_done,
        "objects_total": row.objects_total,
        "bytes_done": row.bytes_done,
        "bytes_total": row.bytes_total,
        "dirty_keys": row.dirty_keys,
        "holds": len(holds),
        "write_pause_seconds": round(sum(pauses), 3),
        "write_pause_longest_seconds": round(max(pauses), 3),
        "write_pause_limit_seconds": Options.from_json(row.options).max_hold_seconds,
    }


def _later(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _add_line(work: Work, row: MigrationRow, message: str) -> None:
    line = MigrationLogRow(migration_id=row.id, phase=row.phase, message=message, created_at=now())
    work.session.add(line)


def _end(row: MigrationRow, stage: Stage, message: str) -> None:
    moment = now()
    row.stage, row.phase = stage.value, phase_of(stage).value
    row.finished_at, row.dirty_keys = moment, 0
    row.error_msg = message if stage is Stage.ERROR else None
    if stage is Stage.DONE:
        row.objects_done, row.bytes_done = row.objects_total, row.bytes_total
    if stage is Stage.DONE or row.objects_done:
        row.orphaned_source_pool_id = row.src_pool_id if stage is Stage.DONE else row.dst_pool_id
        row.orphaned_source_prefix = f"/{row.bucket}/"
        row.orphaned_at = moment


def _names(row: MigrationRow, move: Move, route_id: int | None) -> dict[str, Any]:
    return {
        "migration_id": row.id,
        "vhost_id": row.vhost_id,
        "vhosts": [entrance.name for entrance in move.entrances],
        "bucket": row.bucket,
        "source_pool_id": row.src_pool_id,
        "source_pool_name": move.source.name,
        "target_pool_id": row.dst_pool_id,
        "target_pool_name": move.destination.name,
        "mode": row.mode,
        "route_id": route_id,
        "status": row.phase,
    }


def _state_record(row: MigrationRow, move: Move, route_id: int | None) -> dict[str, Any]:
    return _names(row, move, route_id) | {
        "stage": row.stage,
        "options": json.loads(row.options),
        "copied_objects": row.objects_done,
        "total_objects": row.objects_total,
        "bytes_transferred": row.bytes_done,
        "bytes_total": row.bytes_total,
        "started_at": iso_time(row.started_at),
        "finished_at": iso_time(row.finished_at),
        "error": row.error_msg,
        "nginx_state": served_by(Stage(row.stage)),
        "updated_at": iso_time(now()),
    }


def _done_record(row: MigrationRow, move: Move, route_id: int | None) -> dict[str, Any]:
    return _names(row, move, route_id) | {
        "orphaned_source_pool_id": row.orphaned_source_pool_id,
        "orphaned_source_prefix": row.orphaned_source_prefix,
        "orphaned_at": iso_time(row.orphaned_at),
        "total_objects": row.objects_total,
        "bytes_total": row.bytes_total,
        "started_at": iso_time(row.started_at),
        "finished_at": iso_time(row.finished_at),
        "written_at": iso_time(now()),
    }

"""One move: what it is about, whom it reports to, and the parts that its stages share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from holdfast.kernel.errors import AppError
from holdfast.kernel.stores.s3.client import S3Client
from holdfast.migrations.completes import Completer
from holdfast.migrations.copier import ObjectCopier
from holdfast.migrations.dirtylog import Dirty, DirtyLog
from holdfast.migrations.gate import Gate
from holdfast.migrations.model import HoldAttempt, Mode, Options, Stage
from holdfast.migrations.switch import Counters, Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A pool as a migration talks to it."""

    pool_id: int
    name: str
    alias: str
    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """A virtual host through which clients reach the bucket."""

    name: str
    port: int
    tls: bool
    vhost_id: int = 0
    guarded: bool = False
    """Its own IP rules may keep this machine out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A bucket, from where to where, and how."""

    migration_id: int
    bucket: str
    mode: Mode
    source: Side
    destination: Side
    entrances: tuple[Entrance, ...]
    options: Options
    reached: Stage = Stage.IDLE
    """As recorded last; the flags decide, but must not contradict it."""
    folder: Path
    """For its scratch file and its journal; on the machine of nginx, kept over restarts."""

    @property
    def places(self) -> tuple[tuple[str, str], ...]:
        """Virtual host and bucket, of each way in."""
        return tuple((entrance.name, self.bucket) for entrance in self.entrances)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How far the copy is."""

    objects_total: int = 0
    objects_done: int = 0
    bytes_total: int = 0
    bytes_done: int = 0
    dirty_keys: int = 0


class Report(Protocol):
    """Where a migration writes what becomes of it. Each call is kept when it returns."""

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants it to end."""
        ...

    async def stage(self, stage: Stage, message: str) -> None:
        """A step is about to be taken."""
        ...

    async def note(self, message: str) -> None:
        """A line for its log."""
        ...

    async def warn(self, message: str) -> None:
        """Something that clients may notice after the switch."""
        ...

    async def trouble(self, message: str | None) -> None:
        """It waits for something to mend itself; None: that is over."""
        ...

    async def admitted(self, options: Options) -> None:
        """The checks before the move have passed."""
        ...

    async def held(self, attempt: HoldAttempt) -> None:
        """One try at the switch is over."""
        ...

    async def over(self, stage: Stage, message: str) -> None:
        """It is done, or ended in error, or was cancelled."""
        ...

    def amounts(self, amounts: Amounts) -> None:
        """How far it is; cheap, written from time to time."""
        ...

    def holding(self, *, is_open: bool) -> None:
        """Writes wait from now on, or do no more; cheap, told from time to time."""
        ...


class Cancelled(Exception):
    """Somebody asked for the end, and it is not too late."""


class Hopeless(AppError):
    """The migration cannot succeed as things are; the source goes on serving."""

    code = "migration_failed"


@dataclass(slots=True, kw_only=True)
class Nginx:
    """What is known of the nginx of this machine."""

    counters: Counters
    log: DirtyLog
    gate: Gate
    control_port: int


@dataclass(slots=True, kw_only=True)
class Parts:
    """Shared by the stages of one running migration."""

    move: Move
    report: Report
    nginx: Nginx
    switch: Switch
    source: S3Client
    destination: S3Client
    copier: ObjectCopier
    completer: Completer
    dirty: Dirty
    per_key_seconds: float | None = None
    """What replaying a key costs, as last measured."""

    def check_cancelled(self) -> None:
        """Raises `Cancelled`."""
        if self.report.cancelled:
            raise Cancelled

    def tell_amounts(self, total: "Amounts | None" = None) -> None:
        """Report how far the copy is."""
        base = total or self.base
        totals = self.copier.totals
        self.base = base
        self.report.amounts(
            Amounts(
                objects_total=base.objects_total,
                bytes_total=base.bytes_total,
                objects_done=min(
                    base.objects_total,
                    base.objects_done + totals.objects_copied + totals.objects_same,
                ),
                bytes_done=min(base.bytes_total, base.bytes_done + totals.bytes_copied),
                dirty_keys=len(self.dirty.keys),
            )
        )

    base: Amounts = field(default_factory=Amounts)


def failed_keys(failed: Mapping[str, str]) -> str:
    """Some keys that cannot be copied, and why."""
    shown = "; ".join(f"{key!r}: {why}" for key, why in list(failed.items())[:3])
    return f"{len(failed)} objects cannot be copied: {shown}"

"""What tiers tell the kernel: figures, checks of doctor, which stores they stand on."""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.contributors import Finding, Gauge, Verdict, contributors
from holdfast.kernel.errors import Unavailable
from holdfast.kernel.process import ProcessFailed, ProgramMissing, find_program, run
from holdfast.kernel.services import Services
from holdfast.tiers import queries
from holdfast.tiers.model import FileState
from holdfast.tiers.mounts import check_mounted
from holdfast.tiers.names import to_text
from holdfast.tiers.scan import keeps_no_atime
from holdfast.tiers.service.ground import check_store_moves
from holdfast.tiers.service.rooms import rooms_of
from holdfast.tiers.tables import TierRow
from holdfast.tiers.totals import totals

LATE = timedelta(days=1)
"""So long after its undo window a file should have left the quarantine."""
PROGRAM_SECONDS = 10.0
SURE_DISKS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "bcachefs", "f2fs", "jfs"})
"""Where a lease is refused while any program has the file open or mapped. Others do not know of
other machines (FUSE), or of a mapping whose file was closed (overlay), or keep no time of change
for what is written through one (tmpfs)."""


def contribute(services: Services) -> None:
    """Register with the kernel; nothing runs yet."""
    told = contributors(services)
    told.gauges.append(gauges)
    told.checks.append(check_tiers)
    told.store_users.append(store_users)
    told.store_moves.append(check_store_moves)


async def gauges(session: AsyncSession) -> Sequence[Gauge]:
    """Files and bytes of each tier's journal, by state."""
    names = {row.id: row.name for row in await queries.all_tiers(session)}
    found = await totals(session, list(names))
    gauges: list[Gauge] = []
    for tier_id, name in names.items():
        for state in FileState:
            files, size = found.get(tier_id, {}).get(state, (0, 0))
            labels = {"tier": name, "state": state.value}
            gauges += [
                Gauge(
                    name="holdfast_tier_files",
                    help="Files of tiers that a freeze took, by what became of them.",
                    value=files,
                    labels=labels,
                ),
                Gauge(
                    name="holdfast_tier_bytes",
                    help="Their bytes.",
                    value=size,
                    labels=labels,
                ),
            ]
    return gauges


async def store_users(session: AsyncSession, store_id: int) -> Sequence[str]:
    """The tiers of a store."""
    return [f"tier {row.name}" for row in await queries.tiers_on_store(session, store_id)]


async def check_tiers(services: Services) -> Sequence[Finding]:
    """Whether find is there, each tier's folder can be used, and the quarantine is emptied."""
    async with services.database.read() as session:
        rows = await queries.all_tiers(session)
        oldest = await queries.oldest_due(session)
    if not rows:
        return []
    findings = [await _find(), *await asyncio.gather(*(_root_of(services, row) for row in rows))]
    if oldest is not None and now() - oldest > LATE:
        remedy = "see why it was not emptied: holdfast job list --kind tiers.empty"
        detail = f"a file waits since {oldest:%Y-%m-%d %H:%M} UTC, the end of its undo window"
        findings.append(_finding("quarantine", Verdict.WARN, detail, remedy))
    return findings


async def _find() -> Finding:
    try:
        program = find_program("find")
        told = await run([program, "--version"], timeout_seconds=PROGRAM_SECONDS)
    except (ProgramMissing, ProcessFailed) as error:
        remedy = "install GNU findutils: without it, looking through a tier takes longer"
        return _finding("find", Verdict.WARN, error.message, remedy)
    return _finding("find", Verdict.OK, f"{told.stdout.splitlines()[0]} at {program}")


async def _root_of(services: Services, row: TierRow) -> Finding:
    if await rooms_of(services).answers(row.root):
        return await asyncio.to_thread(_root, row)
    detail = f"the disk of {to_text(row.root)} does not answer"
    return _finding(f"tier {row.name}", Verdict.FAIL, detail, "mount it again")


def _root(row: TierRow) -> Finding:
    check, shown = f"tier {row.name}", to_text(row.root)
    if not Path(os.fsdecode(row.root)).is_dir():
        return _finding(check, Verdict.FAIL, f"{shown} is no folder", "mount or make it")
    if not os.access(row.root, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"give the user {os.geteuid()} the right to read and write there"
        return _finding(check, Verdict.FAIL, f"{shown} cannot be used", remedy)
    try:
        check_mounted(row.tier())
    except Unavailable as error:
        return _finding(check, Verdict.FAIL, error.message, error.hint)
    options = row.tier().options
    if options.freezable and keeps_no_atime(row.root):
        verdict = Verdict.WARN if options.allow_noatime else Verdict.FAIL
        detail = f"{shown} is mounted with noatime: what is read looks unread"
        return _finding(check, verdict, detail, "mount it with relatime")
    kind = disk_kind(row.root) if options.freezable else ""
    if kind and kind not in SURE_DISKS:
        detail = f"{shown} lies on {kind}: a freeze may not notice that a program has a file in use"
        remedy = "freeze what lies on a disk of this machine: ext4, XFS, Btrfs, ZFS"
        return _finding(check, Verdict.WARN, detail, remedy)
    return _finding(check, Verdict.OK, shown)


def disk_kind(root: bytes) -> str:
    """The kind of a folder's file system, by the kernel's list of mounts; empty: not in it."""
    device = Path(os.fsdecode(root)).stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        where, _, what = line.partition(" - ")
        if where.split()[2] == number:
            return what.split()[0]
    return ""


def _finding(check: str, verdict: Verdict, detail: str, remedy: str = "") -> Finding:
    return Finding(check=check, verdict=verdict, detail=detail, remedy=remedy)

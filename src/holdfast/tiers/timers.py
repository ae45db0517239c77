"""What tiers do every so often: empty quarantines, keep room on disks, forget old runs."""

import asyncio
from datetime import timedelta
from itertools import groupby

from holdfast.kernel.clock import now
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Work
from holdfast.tiers import queries
from holdfast.tiers.files import forget_old_details, forget_old_work
from holdfast.tiers.forgetting import forget_proofs, forget_pulled, forget_runs
from holdfast.tiers.model import EMPTY, QUARANTINE, Action, Asked, Tier, bytes_over, longest_age
from holdfast.tiers.proof_cache import USE_NOTED_DAYS, day_of
from holdfast.tiers.service.asking import put_in
from holdfast.tiers.service.rooms import is_there, rooms_of
from holdfast.tiers.service.roots import Room

CHECK_SECONDS = 60.0
PAUSE = timedelta(minutes=15)
"""Between two tries of what failed, or did not make enough room."""
WORK_KEPT = timedelta(days=1)
"""So long a run that failed can be tried again from where it stood."""
PROOFS_KEPT_DAYS = 400
"""A verify once a year still knows what it found out."""


async def empty_quarantines(services: Services) -> None:
    """Queue a job for each tier in whose quarantine an undo window has ended, if none is there."""
    async with services.database.read() as session:
        due = set(await queries.tiers_with_due_files(session, now()))
        tiers = [row.tier() for row in await queries.all_tiers(session) if row.id in due]
    for tier in tiers:
        if await is_there(services, tier):
            async with services.database.write(SYSTEM) as work:
                await empty(work, tier.id)


async def empty(work: Work, tier_id: int) -> str | None:
    """Queue the job that empties a tier's quarantine, unless there is one; gives its id."""
    row = await queries.locked_tier(work.session, tier_id)
    if row is None or await queries.is_emptied(work.session, tier_id, now() - PAUSE):
        return None
    args = {"tier_id": tier_id}
    locks = [f"tiers/{tier_id}/{QUARANTINE}"]
    return submit(work, EMPTY, args, locks=locks, title=f"empty the quarantine of {row.name}")


async def keep_room(services: Services) -> None:
    """Freeze the oldest files of tiers whose file system is too full."""
    async with services.database.read() as session:
        tiers = [row.tier() for row in await queries.all_tiers(session)]
        coming = {tier.id: await queries.coming_bytes(session, tier.id, now()) for tier in tiers}
    if all(tier.options.space_high_percent is None for tier in tiers):
        return
    usable = await asyncio.gather(*(is_there(services, tier) for tier in tiers))
    there = [tier for tier, is_usable in zip(tiers, usable, strict=True) if is_usable]
    rooms = await rooms_of(services).of(tier.root for tier in there)
    found = [(tier, room) for tier in there if (room := rooms[tier.root]) is not None]
    for _, disk in groupby(sorted(found, key=_device), key=_device):
        on_it = list(disk)
        await _keep_room_on(services, on_it, sum(coming[tier.id] for tier, _ in on_it))


def _device(found: tuple[Tier, Room]) -> int:
    return found[1].device


async def _keep_room_on(services: Services, tiers: list[tuple[Tier, Room]], coming: int) -> None:
    """Of one file system; ``coming``: bytes that its tiers are letting go of already."""
    for tier, room in tiers:
        used, available = max(0, room.used - coming), room.available + coming
        wanted = bytes_over(tier.options, used=used, available=available)
        if wanted:
            coming += await make_room(services, tier, wanted)


async def make_room(services: Services, tier: Tier, wanted: int) -> int:
    """Let go at once of what waits in quarantine, and freeze more if that is not enough.

    ``wanted``: bytes, besides those that leave already. Gives how many this makes leave.
    """
    moment = now()
    async with services.database.write(SYSTEM) as work:
        row = await queries.locked_tier(work.session, tier.id)
        if row is None:
            return 0
        waiting = await queries.end_windows(work.session, tier.id, moment)
        if waiting:
            await empty(work, tier.id)
        begun = await queries.makes_room(work.session, tier.id, moment - PAUSE)
        if waiting >= wanted or begun:
            return waiting
        asked = Asked(action=Action.FREEZE, until_bytes=wanted - waiting)
        await put_in(work, services.sealer, row, asked)
        return wanted


async def forget_old_runs(services: Services) -> None:
    """Forget runs that ended long ago, and what became of each of their files."""
    oldest = now() - timedelta(days=services.settings.job_retention_days)
    await forget_runs(services.database, oldest)
    async with services.database.read() as session:
        tiers = [row.tier() for row in await queries.all_tiers(session)]
        kept = await queries.run_ids(session)
        living = await queries.living_jobs(session)
    longest = max((tier.options.grace_hours for tier in tiers), default=0)
    await forget_pulled(services.database, min(oldest, now() - timedelta(hours=longest)))
    oldest_age = max((longest_age(tier.options)[-1] for tier in tiers), default=0)
    proofs_kept = max(PROOFS_KEPT_DAYS, oldest_age + USE_NOTED_DAYS)
    await forget_proofs(services.database, day_of(now()) - proofs_kept)
    data_dir = services.settings.data_dir
    await asyncio.to_thread(forget_old_work, data_dir, living, now() - WORK_KEPT)
    await asyncio.to_thread(forget_old_details, data_dir, kept, oldest)

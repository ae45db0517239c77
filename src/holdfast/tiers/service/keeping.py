"""Tiers: make, change, delete."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from holdfast.kernel.jobs import service as jobs
from holdfast.kernel.jobs.model import next_fire
from holdfast.kernel.jobs.service import NewSchedule
from holdfast.kernel.jobs.tables import ScheduleRow
from holdfast.kernel.services import Services
from holdfast.kernel.work import Role, Work
from holdfast.tiers import queries
from holdfast.tiers.filters import Filters
from holdfast.tiers.forgetting import forget_tier
from holdfast.tiers.jobs import FREEZE
from holdfast.tiers.model import Action, Asked, Policy, TierOptions, locks_of
from holdfast.tiers.service.draft import TierDraft, audited, changed_draft, draft_of
from holdfast.tiers.service.ground import Ground, check_same, look
from holdfast.tiers.service.roots import check_apart
from holdfast.tiers.tables import TierRow

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


async def get_tier(session: AsyncSession, tier_id: int) -> TierRow:
    """The tier. Raises ``NotFound``."""
    row = await session.get(TierRow, tier_id)
    if row is None:
        raise NotFound(f"there is no tier {tier_id}", hint="see: holdfast tier list")
    return row


async def create_tier(work: Work, draft: TierDraft, ground: Ground) -> TierRow:
    """Make a tier; ``ground``: what `look` found of this draft.

    Raises ``Forbidden``, ``Invalid`` and ``Conflict`` with the reason.
    """
    _check_right(work)
    await _check(work.session, draft, ground, own_id=None)
    root, moment = ground.root, now()
    row = TierRow(
        name=draft.name,
        root=root,
        mounted_at=ground.mounted_at,
        store_id=draft.store_id,
        prefix=draft.prefix,
        second_store_id=draft.second_store_id,
        second_prefix=draft.second_prefix,
        options=draft.options.to_json(),
        description=draft.description,
        created_at=moment,
        updated_at=moment,
    )
    work.session.add(row)
    await _flush(work.session, draft)
    await _keep_schedule(work, row, draft.options)
    work.audit("create", "tier", row.id, after=audited(row))
    work.emit("tier", "created", {"id": row.id, "name": row.name})
    return row


async def look_at_change(services: Services, tier_id: int, changes: Mapping[str, Any]) -> Ground:
    """`look` for `update_tier`, before its transaction. Raises ``NotFound`` besides."""
    async with services.database.read() as session:
        row = await get_tier(session, tier_id)
    return await look(services, changed_draft(draft_of(row), changes), own_id=tier_id)


async def update_tier(
    work: Work, tier_id: int, changes: Mapping[str, Any], ground: Ground
) -> TierRow:
    """Change a tier; ``changes``: fields of `TierDraft`, and those of its options.

    ``ground``: what `look_at_change` found. A path that is given by itself, and be it the same, is
    taken for what it lies on now, whatever was mounted there before.

    Raises ``NotFound``, ``Invalid``, and ``Conflict``: also while a root or store is to change that
    a job or the quarantine still needs.
    """
    row = await _locked(work, tier_id)
    old = draft_of(row)
    new = changed_draft(old, changes)
    await _check(work.session, new, ground, own_id=row.id)
    root = ground.root
    moved = dataclasses.replace(old, path=row.root)
    if _place(moved) != _place(dataclasses.replace(new, path=root)):
        await _check_idle(work.session, row, "given another place")
    before = audited(row)
    if root != row.root or changes.keys() == {"path"}:
        row.mounted_at = ground.mounted_at
    row.name, row.root, row.description = new.name, root, new.description
    row.store_id, row.prefix = new.store_id, new.prefix
    row.second_store_id, row.second_prefix = new.second_store_id, new.second_prefix
    row.options, row.updated_at = new.options.to_json(), now()
    await _flush(work.session, new)
    await _keep_schedule(work, row, new.options)
    work.audit("update", "tier", row.id, before=before, after=audited(row))
    work.emit("tier", "updated", {"id": row.id, "name": row.name})
    return row


async def clear_tier(services: Services, tier_id: int) -> None:
    """Forget what a tier that may be deleted left in the database, before it is.

    With the tier it would all go at once, and nobody could write then. Raises as `delete_tier`.
    """
    async with services.database.read() as session:
        await _check_idle(session, await get_tier(session, tier_id), "deleted")
    await forget_tier(services.database, tier_id)


async def delete_tier(work: Work, tier_id: int) -> TierRow:
    """Forget a tier; its files and its store stay as they are.

    Raises ``NotFound``, and ``Conflict`` while jobs run or files wait in quarantine.
    """
    row = await _locked(work, tier_id)
    await _check_idle(work.session, row, "deleted")
    await _keep_schedule(work, row, TierOptions())
    work.audit("delete", "tier", row.id, before=audited(row))
    work.emit("tier", "deleted", {"id": row.id, "name": row.name})
    await work.session.delete(row)
    await work.session.flush()
    return row


async def _locked(work: Work, tier_id: int) -> TierRow:
    _check_right(work)
    row = await queries.locked_tier(work.session, tier_id)
    if row is None:
        raise NotFound(f"there is no tier {tier_id}", hint="see: holdfast tier list")
    return row


def _check_right(work: Work) -> None:
    """A tier says which folders of the machine are filled and emptied, as the user of Holdfast."""
    if work.actor.role < Role.ADMIN:
        raise Forbidden("tiers are made, changed and deleted by admins", hint="ask an admin")


def schedule_name(tier_id: int) -> str:
    """What the schedule of a tier's freeze is called."""
    return f"tier-{tier_id}-freeze"


async def _check(
    session: AsyncSession, draft: TierDraft, ground: Ground, *, own_id: int | None
) -> None:
    if not _NAME.fullmatch(draft.name):
        raise Invalid(
            f"{draft.name!r} is not a name", hint="letters, digits, dot, dash and underscore"
        )
    _check_second(draft)
    check_options(draft.options)
    await check_same(session, draft, ground)
    others = [(row.name, row.root) for row in await queries.all_tiers(session) if row.id != own_id]
    check_apart(ground.root, others)


def _check_second(draft: TierDraft) -> None:
    first, second = draft.prefix.strip("/"), draft.second_prefix.strip("/")
    if draft.second_store_id == draft.store_id and first == second:
        raise Invalid(
            "second_store_id: it is the first store in the same folder, and would prove nothing",
            hint="another store, or another folder of it: second_prefix",
        )


def check_options(options: TierOptions) -> None:
    """Raises ``Invalid`` for options that contradict themselves, or that nobody understands."""
    Filters(options.filters)
    for rule in options.rules:
        Filters([f"- {rule.pattern}"])
        if (rule.policy is Policy.FREEZE_AFTER) != (rule.age_days is not None):
            raise Invalid(
                f"rule {rule.pattern!r}: age_days belongs to freeze_after, and to nothing else"
            )
    if (options.space_high_percent is None) != (options.space_low_percent is None):
        raise Invalid("space_high_percent and space_low_percent go together")
    high, low = options.space_high_percent, options.space_low_percent
    if high is not None and low is not None and low >= high:
        raise Invalid(f"space_low_percent {low:g} is not below space_high_percent {high:g}")
    automatic = bool(options.auto_freeze_cron) or high is not None
    if automatic and not options.freezable:
        raise Invalid("a tier that is not freezable cannot freeze by itself", hint="--freezable")
    if options.auto_freeze_cron:
        next_fire(options.auto_freeze_cron, options.auto_freeze_timezone, after=now())


def _place(draft: TierDraft) -> tuple[object, ...]:
    second = (draft.second_store_id, draft.second_prefix)
    return (draft.path, draft.store_id, draft.prefix, *second)


async def _check_idle(session: AsyncSession, row: TierRow, what: str) -> None:
    busy = await queries.unfinished_jobs(session, row.id)
    if busy:
        raise Conflict(
            f"tier {row.name!r} cannot be {what}: job {', '.join(busy)} has not ended",
            hint="wait for it, or cancel it: holdfast job cancel JOB",
        )
    files, _ = await queries.waiting_files(session, tier_id=row.id)
    if files:
        raise Conflict(
            f"tier {row.name!r} cannot be {what}: {files} frozen files wait in its quarantine",
            hint="bring them back (holdfast tier undo JOB), or wait for the end of the undo window",
        )


async def _flush(session: AsyncSession, draft: TierDraft) -> None:
    try:
        await session.flush()
    except IntegrityError:
        raise Conflict(
            f"there is a tier named {draft.name!r}, or one of this folder",
            hint="see: holdfast tier list",
        ) from None


async def _keep_schedule(work: Work, row: TierRow, options: TierOptions) -> None:
    """The schedule is there exactly when the tier freezes by itself."""
    name, cron = schedule_name(row.id), options.auto_freeze_cron
    exists = await work.session.get(ScheduleRow, name) is not None
    if not cron:
        if exists:
            await jobs.delete_schedule(work, name)
        return
    zone = options.auto_freeze_timezone
    if exists:
        await jobs.update_schedule(work, name, cron=cron, timezone=zone)
        return
    asked = Asked(action=Action.FREEZE)
    new = NewSchedule(
        name=name,
        kind=FREEZE,
        cron=cron,
        timezone=zone,
        args={"tier_id": row.id},
        locks=locks_of(row.id, asked),
        title=f"freeze {row.name}",
    )
    await jobs.create_schedule(work, new)

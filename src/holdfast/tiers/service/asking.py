"""Asks something of a tier: a run that is under way already, or a new job."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from holdfast.kernel.clock import now
from holdfast.kernel.errors import BadRequest, Conflict, Invalid, NotFound
from holdfast.kernel.jobs.submitting import submit
from holdfast.kernel.notify.addresses import check_addresses
from holdfast.kernel.notify.outbox import seal_addresses, unseal_addresses
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.work import Work
from holdfast.tiers import queries
from holdfast.tiers.jobs import KINDS
from holdfast.tiers.model import Action, Asked, job_to_join, locks_of, outermost
from holdfast.tiers.names import to_text
from holdfast.tiers.service.rooms import locate
from holdfast.tiers.service.roots import shown
from holdfast.tiers.tables import TierRow, TierRunRow

MOST_PATHS = 1000
MOST_SHOWN = 3
LONGEST_TITLE = 300
WHOLE = (b"",)
"""The paths of what is asked of a whole tier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants of the files below some absolute paths of one tier."""

    action: Action
    paths: Sequence[bytes]
    dry_run: bool = False
    confirm: bool = False
    notify: Sequence[str] = ()
    tier_id: int | None = None
    """The tier that they must lie in; None: whichever they lie in."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the paths of a wish lie. ``paths``: relative to the root of the tier."""

    tier_id: int
    root: bytes
    paths: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The job that does it. ``joined``: it was under way already."""

    job_id: str
    joined: bool


async def find(services: Services, wish: Wish) -> Target:
    """Which tier a wish is about: looks at folders, so it is asked before the transaction.

    Raises ``Invalid``, ``BadRequest`` for paths outside every tier or in several, ``Unavailable``
    for a disk that does not answer.
    """
    if not wish.paths:
        raise Invalid("no path is given")
    if len(wish.paths) > MOST_PATHS:
        raise Invalid(f"more than {MOST_PATHS} paths", hint="name the folder that they lie in")
    async with services.database.read() as session:
        known = {row.root: row for row in await queries.all_tiers(session)}
    places = await locate(services, wish.paths, known)
    found = {root for root, _ in places}
    if len(found) > 1:
        names = ", ".join(sorted(known[root].name for root in found))
        raise BadRequest(f"the paths lie in several tiers: {names}", hint="ask for each by itself")
    row = known[found.pop()]
    if wish.tier_id is not None and wish.tier_id != row.id:
        raise BadRequest(f"{shown(wish.paths[0])} lies in the tier {row.name!r}, not in that one")
    return Target(row.id, row.root, tuple(relative for _, relative in places))


async def ask(work: Work, sealer: Sealer, wish: Wish, target: Target) -> Answer:
    """Have it done; ``target``: what `find` found. Looks at no file, and asks no store.

    Raises ``Invalid``, ``NotFound``, ``Conflict`` for a freeze of a tier that is not freezable.
    """
    await check_addresses(None, wish.notify)
    row = await _locked(work, target.tier_id)
    if row.root != target.root:
        raise Conflict(f"tier {row.name!r} was given another folder just now", hint="ask again")
    if wish.action is Action.FREEZE and not row.tier().options.freezable:
        raise Conflict(
            f"tier {row.name!r} is not freezable",
            hint=f"holdfast tier update {row.name} --freezable",
        )
    asked = Asked(
        action=wish.action,
        paths=outermost(to_text(path) for path in target.paths),
        dry_run=wish.dry_run,
        confirm=wish.confirm,
    )
    return await put_in(work, sealer, row, asked, notify=wish.notify)


async def ask_to_look(
    work: Work, sealer: Sealer, wish: Wish, paths: Sequence[bytes] = WHOLE
) -> Answer:
    """Have the tier of a wish verified or reported; ``paths``: those of it that `find` found.

    Raises ``NotFound``, ``Invalid``.
    """
    await check_addresses(None, wish.notify)
    row = await _locked(work, wish.tier_id)
    asked = Asked(action=wish.action, paths=outermost(to_text(path) for path in paths))
    return await put_in(work, sealer, row, asked, notify=wish.notify)


async def undo(work: Work, sealer: Sealer, job_id: str, *, notify: Sequence[str] = ()) -> Answer:
    """Bring back what a freeze took, as long as it waits in quarantine.

    Raises ``NotFound``, and ``Conflict`` when there is nothing to bring back.
    """
    await check_addresses(None, notify)
    found = await queries.run_of(work.session, job_id)
    if found is None:
        raise NotFound(f"no job {job_id!r} of a tier", hint="see: holdfast tier runs")
    run, _ = found
    asked = Asked.from_json(run.asked)
    if asked.action is not Action.FREEZE or asked.dry_run:
        raise Conflict(f"job {job_id} froze nothing: it was a {_words(asked)}")
    row = await _locked(work, run.tier_id)
    files, _ = await queries.waiting_files(work.session, job_id=job_id)
    if run.ended_at is not None and not files:
        raise Conflict(
            f"nothing of job {job_id} waits in quarantine any more",
            hint="pull the files: holdfast tier pull PATH",
        )
    back = Asked(action=Action.UNDO, paths=asked.paths, undoes=job_id)
    return await put_in(work, sealer, row, back, notify=notify)


async def put_in(
    work: Work, sealer: Sealer, row: TierRow, asked: Asked, *, notify: Sequence[str] = ()
) -> Answer:
    """Join what is under way, or queue a job and its run; the tier's row must be locked."""
    joined = job_to_join(asked, await queries.standing_runs(work.session, row.id))
    if joined is not None:
        await _tell_too(work, sealer, joined, notify)
        return Answer(joined, joined=True)
    job_id = submit(
        work,
        KINDS[asked.action],
        {"tier_id": row.id, "asked": asdict(asked)},
        locks=locks_of(row.id, asked),
        title=_title(row, asked),
    )
    run = TierRunRow(
        job_id=job_id,
        tier_id=row.id,
        action=asked.action,
        asked=asked.to_json(),
        dry_run=asked.dry_run,
        notify=seal_addresses(sealer, notify),
        created_at=now(),
    )
    work.session.add(run)
    after = {"job": job_id, **asdict(asked)}
    work.audit(asked.action, "tier", row.id, after=after)
    work.emit("tier", "run", {"id": row.id, "job_id": job_id, "action": asked.action})
    return Answer(job_id, joined=False)


async def _locked(work: Work, tier_id: int | None) -> TierRow:
    row = None if tier_id is None else await queries.locked_tier(work.session, tier_id)
    if row is None:
        raise NotFound(f"there is no tier {tier_id}", hint="see: holdfast tier list")
    return row


async def _tell_too(work: Work, sealer: Sealer, job_id: str, notify: Sequence[str]) -> None:
    """Whoever joins a run is told of its end as well."""
    run = await work.session.get(TierRunRow, job_id) if notify else None
    if run is not None:
        run.notify = seal_addresses(sealer, [*unseal_addresses(sealer, run.notify), *notify])


def _title(row: TierRow, asked: Asked) -> str:
    shown_paths = [f"/{path}" if path else "" for path in asked.paths[:MOST_SHOWN]]
    places = ", ".join(f"{row.name}{path}" for path in shown_paths)
    more = len(asked.paths) - len(shown_paths)
    title = f"{_words(asked)} {places}{f' and {more} more' if more else ''}"
    return title if len(title) <= LONGEST_TITLE else f"{title[:LONGEST_TITLE]}..."


def _words(asked: Asked) -> str:
    return f"{asked.action} (dry run)" if asked.dry_run else str(asked.action)

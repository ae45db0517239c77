"""Tells those who asked for it how a run went: a job of its own, which fails by itself."""

import json
from dataclasses import dataclass

from holdfast.kernel import notify
from holdfast.kernel.errors import AppError
from holdfast.kernel.jobs.context import JobContext
from holdfast.kernel.jobs.registry import job, step
from holdfast.kernel.jobs.tables import job_by_id
from holdfast.kernel.notify import NotTold
from holdfast.kernel.secrets import Sealer
from holdfast.tiers.model import Asked
from holdfast.tiers.tables import TierRow, TierRunRow

TELL = "tiers.tell"
MOST_PATHS = 20
TRIES = 3


@dataclass(frozen=True, slots=True)
class Message:
    """What is said."""

    title: str
    text: str


@job(TELL)
async def tell(ctx: JobContext, *, job_id: str) -> None:
    """Tell who asked for it that a run of a tier has ended."""
    number, silent = 0, 0
    while (told := await tell_one(ctx, job_id, number)) is not None:
        number, silent = number + 1, silent + (not told)
    if silent:
        raise NotTold(f"{silent} of {number} addresses could not be told")


@step("tiers.tell_one")
async def tell_one(ctx: JobContext, job_id: str, number: int) -> bool | None:
    """Tell one address, trying thrice; whether it was told, None when there is none left."""
    services = ctx.services
    async with ctx.read() as session:
        run = await session.get(TierRunRow, job_id)
        addresses = addresses_of(services.sealer, run)
        if run is None or number >= len(addresses):
            return None
        tier = await session.get(TierRow, run.tier_id)
        ended = await job_by_id(session, job_id)
    state, error = (ended.state, ended.error) if ended else ("ended", None)
    said = message(run, tier.name if tier else "", str(state), error)
    mail_url = services.settings.mail_url.get_secret_value()
    address = addresses[number]
    for _ in range(TRIES):
        try:
            await notify.send(address, title=said.title, text=said.text, mail_url=mail_url)
        except AppError as failed:
            ctx.log(f"address {number + 1}: {failed.message}")
        else:
            ctx.log(f"address {number + 1} ({notify.kind_of(address)}) was told")
            return True
    return False


def message(run: TierRunRow, tier: str, state: str, error: str | None) -> Message:
    """What is said of a run."""
    asked, outcome = Asked.from_json(run.asked), json.loads(run.outcome)
    what = f"{run.action} (dry run)" if asked.dry_run else run.action
    places = [f"  /{path}" for path in asked.paths[:MOST_PATHS]]
    more = len(asked.paths) - len(places)
    lines = [f"The {what} of the tier {tier} is {state}.", *([error] if error else []), ""]
    lines += ["Asked for:", *places, *([f"  and {more} more"] if more else []), ""]
    if "files" in outcome and "bytes" in outcome:
        lines.append(f"{outcome['files']} files of {outcome['bytes']} bytes")
    for reason, left in outcome.get("skipped", {}).items():
        lines.append(f"left: {left['files']} files of {left['bytes']} bytes: {reason}")
    lines += ["", f"Each file: holdfast tier details {run.job_id}"]
    return Message(f"Holdfast: {what} of {tier}: {state}", "\n".join(lines) + "\n")


def addresses_of(sealer: Sealer, run: TierRunRow | None) -> list[str]:
    """Whom to tell of the end of a run."""
    return list(json.loads(sealer.unseal(run.notify))) if run and has_addresses(run) else []


def has_addresses(run: TierRunRow) -> bool:
    """Whether somebody is to be told."""
    return run.notify not in {"", "[]"}

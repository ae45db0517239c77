"""Messages: put in with what they tell of, sent afterwards, tried again, at last given up."""

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from holdfast.kernel.clock import now
from holdfast.kernel.config import Settings
from holdfast.kernel.errors import AppError
from holdfast.kernel.logging import get_logger
from holdfast.kernel.notify import tables
from holdfast.kernel.notify.addresses import label
from holdfast.kernel.notify.delivery import Delivery, Message, deliver
from holdfast.kernel.notify.tables import MessageState, NotificationRow
from holdfast.kernel.secrets import Sealer
from holdfast.kernel.services import Services
from holdfast.kernel.work import SYSTEM, Work

CHECK_SECONDS = 15.0
PAUSES_SECONDS = (60.0, 300.0, 1800.0, 7200.0)
"""Before each further attempt; after the last one it is given up."""
CLAIM_SECONDS = 120.0
"""How long one address may take, all in all: then its sender counts as dead."""
AT_ONCE = 4
ADMIN = "admin"
"""In place of sealed addresses: whom ``mail_admin`` names."""
LONGEST_SUBJECT = 200
log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is to be told of a job that has ended."""

    job_id: str
    subject: str
    text: str
    page: str
    """Where the console shows it: a path."""
    bad: bool


def seal_addresses(sealer: Sealer, addresses: Sequence[str]) -> str:
    """Addresses as they are kept: they have passwords in them."""
    return sealer.seal(json.dumps(list(dict.fromkeys(addresses)))) if addresses else ""


def unseal_addresses(sealer: Sealer, sealed: str) -> list[str]:
    """The addresses again. Raises ``CannotUnseal``."""
    return list(json.loads(sealer.unseal(sealed))) if sealed.strip("[]") else []


def put(work: Work, news: News, *, addresses: str = ADMIN) -> None:
    """Have it told once this is committed. ``addresses``: sealed."""
    row = NotificationRow(
        id=uuid.uuid4().hex,
        job_id=news.job_id,
        addresses=addresses,
        subject=" ".join(news.subject.split())[:LONGEST_SUBJECT],
        text=news.text,
        page=news.page,
        bad=news.bad,
        due_at=now(),
        created_at=now(),
    )
    work.session.add(row)


async def send_due(services: Services) -> None:
    """Try every message that is due; the timer calls it."""
    async with services.database.read() as session:
        if not await tables.is_one_due(session, now()):
            return
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_send_some(services))


async def _send_some(services: Services) -> None:
    while True:
        async with services.database.write(SYSTEM) as work:
            moment = now()
            until = moment + timedelta(seconds=CLAIM_SECONDS)
            row = await tables.claim(work.session, moment, until)
        if row is None:
            return
        await _send(services, row)


async def _send(services: Services, row: NotificationRow) -> None:
    """One attempt at all who are still to be told, one after the other."""
    try:
        waiting = _recipients(services, row)
    except AppError as error:  # sealed with another secret: it stays unreadable
        log.warning("notification given up", job=row.job_id, problem=error.message)
        await _end(services, row, error.message)
        return
    if not waiting:  # nobody is named: there is nothing to tell of
        await _forget(services, row)
        return
    late: list[str] = []
    while waiting:
        address = waiting.pop(0)
        delivery = await deliver(services.settings, address, _message(services.settings, row))
        if delivery.problem and delivery.again and row.attempts <= len(PAUSES_SECONDS):
            late.append(address)
            log.info("notification late", **_told(row, address, delivery))
        await _keep(services, row, [*late, *waiting], address, delivery)
    if late:
        await _put_back(services, row)
    else:
        await _end(services, row)


async def _keep(
    services: Services,
    row: NotificationRow,
    left: Sequence[str],
    address: str,
    delivery: Delivery,
) -> None:
    """Who is left, and the end of one address if it has come to it. Renews the claim."""
    over = "" if address in left else address
    async with services.database.write(SYSTEM) as work:
        kept = await work.session.get(NotificationRow, row.id)
        if kept is not None:
            kept.addresses = seal_addresses(services.sealer, left)
            kept.due_at = now() + timedelta(seconds=CLAIM_SECONDS)
            told_of = [address, *left]
            kept.kinds = kept.kinds or ", ".join(sorted({label(one) for one in told_of}))
            if delivery.problem and (over or not kept.given_up):
                kept.problem = f"{label(address)}: {delivery.problem}"
            if over and delivery.problem:
                lost = unseal_addresses(services.sealer, kept.given_up)
                kept.given_up = seal_addresses(services.sealer, [*lost, address])
        if over:
            told = _told(row, over, delivery)
            work.emit("notification", "given_up" if delivery.problem else "sent", told)
    if over and delivery.problem:
        log.warning("notification given up", **_told(row, over, delivery))


async def _put_back(services: Services, row: NotificationRow) -> None:
    """Let it wait for the next attempt."""
    async with services.database.write(SYSTEM) as work:
        kept = await work.session.get(NotificationRow, row.id)
        if kept is not None:
            kept.due_at = now() + timedelta(seconds=PAUSES_SECONDS[row.attempts - 1])


async def _end(services: Services, row: NotificationRow, problem: str = "") -> None:
    """Nobody is left; ``problem``: why nobody at all can be told."""
    async with services.database.write(SYSTEM) as work:
        kept = await work.session.get(NotificationRow, row.id)
        if kept is None:
            return
        if problem:
            kept.problem, kept.given_up = problem, kept.addresses
        kept.addresses, kept.ended_at = "", now()
        kept.state = MessageState.GIVEN_UP if kept.given_up else MessageState.SENT
        kept.problem = kept.problem if kept.given_up else ""
        if problem:
            said = {"job_id": row.job_id, "attempts": row.attempts, "problem": problem}
            work.emit("notification", "given_up", said)


async def _forget(services: Services, row: NotificationRow) -> None:
    async with services.database.write(SYSTEM) as work:
        kept = await work.session.get(NotificationRow, row.id)
        if kept is not None:
            await work.session.delete(kept)


async def forget_ended(services: Services) -> None:
    """Delete messages that ended longer ago than jobs are kept; the timer calls it."""
    kept = timedelta(days=services.settings.job_retention_days)
    async with services.database.write(SYSTEM) as work:
        await tables.forget_ended(work.session, now() - kept)


def _told(row: NotificationRow, address: str, delivery: Delivery) -> dict[str, Any]:
    """What may be said of one delivery."""
    said = {"job_id": row.job_id, "to": label(address), "attempts": row.attempts}
    return {**said, "problem": delivery.problem} if delivery.problem else said


def _recipients(services: Services, row: NotificationRow) -> list[str]:
    if row.addresses == ADMIN:
        admin = services.settings.mail_admin
        return [admin] if admin else []
    return unseal_addresses(services.sealer, row.addresses)


def _message(settings: Settings, row: NotificationRow) -> Message:
    link = f"{settings.public_address}{row.page}"
    return Message(id=row.id, subject=row.subject, text=f"{row.text}\n{link}\n", bad=row.bad)

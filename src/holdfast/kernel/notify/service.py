"""What a person may ask of messages: which there were, to try one again, to forget it."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.clock import now
from holdfast.kernel.errors import Conflict, NotFound
from holdfast.kernel.notify import tables
from holdfast.kernel.notify.tables import MessageState, NotificationRow
from holdfast.kernel.work import Work


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """A message as people see it: without its addresses, which have secrets in them."""

    id: str
    job_id: str
    subject: str
    page: str
    """What it tells of: a path of the console."""
    bad: bool
    """Whether it tells of a failure."""
    state: MessageState
    kinds: str
    """By what it goes: ``mail``, or schemes of Apprise; empty before the first attempt."""
    attempts: int
    problem: str
    """Why somebody was not told, or is not yet."""
    created_at: datetime
    due_at: datetime
    """When it is tried next, while it waits."""
    ended_at: datetime | None


async def list_messages(
    session: AsyncSession,
    *,
    limit: int = 50,
    offset: int = 0,
    state: str = "",
    words: str = "",
    oldest_first: bool = False,
) -> tuple[Sequence[MessageView], int]:
    """Messages, newest first, and how many in all; ``words``: in the subject or the problem."""
    rows, total = await tables.message_page(
        session, limit=limit, offset=offset, state=state, words=words, oldest_first=oldest_first
    )
    return [_view(row) for row in rows], total


async def retry(work: Work, message_id: str) -> MessageView:
    """Tell those again who were not told. Raises ``NotFound``; ``Conflict`` for nobody."""
    row = await _given_up(work, message_id)
    row.addresses, row.given_up, row.problem = row.given_up, "", ""
    row.state, row.attempts, row.due_at, row.ended_at = MessageState.WAITING, 0, now(), None
    work.audit("retry", "notification", row.id, after={"subject": row.subject})
    work.emit("notification", "retried", {"job_id": row.job_id})
    return _view(row)


async def forget(work: Work, message_id: str) -> None:
    """Forget a message that was given up. Raises ``NotFound``, and ``Conflict`` for any other."""
    row = await _given_up(work, message_id)
    work.audit("delete", "notification", row.id, before={"subject": row.subject})
    work.emit("notification", "forgotten", {"job_id": row.job_id})
    await work.session.delete(row)


async def _given_up(work: Work, message_id: str) -> NotificationRow:
    row = await work.session.get(NotificationRow, message_id, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no message {message_id!r}", hint="holdfast notification list")
    if row.state != MessageState.GIVEN_UP:
        raise Conflict(f"message {message_id} was not given up: it is {row.state}")
    return row


def _view(row: NotificationRow) -> MessageView:
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(MessageView)}
    return MessageView(**fields | {"state": MessageState(row.state)})

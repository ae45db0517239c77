"""Live events: the outbox, tailed by id, as a stream that goes on after a lost connection."""

import asyncio
import json
import time
from collections.abc import AsyncIterator

from fastapi import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from holdfast.kernel.clock import iso_time
from holdfast.kernel.db import Database
from holdfast.kernel.events import EventRow, events_after, newest_event_id, oldest_event_id
from holdfast.kernel.services import Services

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15
BATCH = 500
LARGEST_ID = 2**63 - 1


class EventTail:
    """The newest event's id; asked at most twice a second for all streams together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked = 0.0
        self._newest = 0
        self._lock = asyncio.Lock()

    async def newest(self) -> int:
        """The id of the newest event, at most half a second old."""
        async with self._lock:
            if time.monotonic() - self._asked >= POLL_SECONDS:
                async with self._database.read() as session:
                    self._newest = await newest_event_id(session)
                self._asked = time.monotonic()
            return self._newest


async def event_stream(services: Services, topics: tuple[str, ...], last_event_id: str) -> Response:
    """A stream that goes on after ``last_event_id``, or begins now when there is none.

    Begins with ``reset`` when events after that id are no longer kept, or the id is not ours: the
    reader must load its state anew.
    """
    tail = services.find(EventTail) or services.add(EventTail(services.database))
    async with services.database.read() as session:
        newest, oldest = await newest_event_id(session), await oldest_event_id(session)
    start = _start(last_event_id, oldest, newest)
    return EventSourceResponse(
        _events(services.database, tail, topics, newest if start is None else start, start is None),
        ping=HEARTBEAT_SECONDS,
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _start(last_event_id: str, oldest: int, newest: int) -> int | None:
    """Where to go on; ``None``: there is a gap, begin anew."""
    if not last_event_id:
        return newest
    if not (last_event_id.isascii() and last_event_id.isdecimal()):
        return None
    last = int(last_event_id)
    return last if oldest - 1 <= last <= newest else None


async def _events(
    database: Database,
    tail: EventTail,
    topics: tuple[str, ...],
    last: int,
    reset: bool,  # noqa: FBT001 - one caller, right above
) -> AsyncIterator[ServerSentEvent]:
    if reset:
        yield ServerSentEvent(event="reset", id=str(last), data="{}")
    else:
        yield ServerSentEvent(comment="listening", id=str(last))
    while True:
        newest = await tail.newest()
        if newest <= last:
            await asyncio.sleep(POLL_SECONDS)
            continue
        async with database.read() as session:
            rows = await events_after(session, last, topics=topics, limit=BATCH)
        for row in rows:
            yield _sent(row)
        # Without a row up to `newest` the rest belongs to other topics.
        last = rows[-1].id if len(rows) == BATCH else max(newest, last, *(row.id for row in rows))


def _sent(row: EventRow) -> ServerSentEvent:
    body = {
        "id": row.id,
        "topic": row.topic,
        "kind": row.kind,
        "data": json.loads(row.data),
        "created_at": iso_time(row.created_at),
    }
    return ServerSentEvent(event=row.topic, id=str(row.id), data=json.dumps(body))

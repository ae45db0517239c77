"""Live events: the outbox, tailed by id, as a stream that goes on after a lost connection."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from holdfast.kernel.events import newest_event_id, oldest_event_id
from holdfast.kernel.services import Services
from holdfast.kernel.web.hub import BATCH, POLL_SECONDS, EventHub, message_of, reset_message

__all__ = ["BATCH", "POLL_SECONDS", "event_stream"]

HEARTBEAT_SECONDS = 15


Welcome = Callable[[], Awaitable[bool]]


async def always() -> bool:
    """For a reader that needs no login."""
    return True


async def event_stream(
    services: Services,
    topics: tuple[str, ...],
    last_event_id: str,
    is_welcome: Welcome = always,
) -> Response:
    """A stream that goes on after ``last_event_id``, or begins now when there is none.

    It ends once ``is_welcome`` says no; it is asked now and then: a login can end meanwhile.

    Says ``reset`` when events after that id are no longer kept, when the id is not ours, or when
    the reader is too slow: it must load its state anew.
    """
    hub = services.find(EventHub) or services.add(EventHub(services.database))
    async with services.database.read() as session:
        newest, oldest = await newest_event_id(session), await oldest_event_id(session)
    return EventSourceResponse(
        _events(hub, topics, _start(last_event_id, oldest, newest), newest, is_welcome),
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
    hub: EventHub,
    topics: tuple[str, ...],
    start: int | None,
    newest: int,
    is_welcome: Welcome,
) -> AsyncIterator[ServerSentEvent]:
    last = newest if start is None else start
    if start is None:
        yield reset_message(last)
    else:
        yield ServerSentEvent(comment="listening", id=str(last))
    async with hub.listening(topics, newest) as reader:
        # Whatever comes from now on waits in the reader; what came until now is read here.
        async for row in hub.backlog(topics, last):
            yield message_of(row)
            last = row.id
        asked = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    event_id, message = await reader.take()
                if event_id > last:
                    yield message
                    last = event_id
            if time.monotonic() - asked >= HEARTBEAT_SECONDS:
                if not await is_welcome():
                    return
                asked = time.monotonic()

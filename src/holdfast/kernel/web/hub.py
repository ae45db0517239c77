"""One tail of the outbox a process: it reads each new event once, for everybody who listens."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable

from sqlalchemy.engine.url import make_url
from sse_starlette import ServerSentEvent

from holdfast.kernel.clock import iso_time
from holdfast.kernel.db import Database
from holdfast.kernel.events import CHANNEL, EventRow, events_after
from holdfast.kernel.logging import get_logger

POLL_SECONDS = 0.5
"""Pause between two looks for events on SQLite, which tells nobody what other processes write."""
FALLBACK_SECONDS = 3.0
"""The same on PostgreSQL while it tells us; without that, as on SQLite."""
SHORTEST_PAUSE_SECONDS = 0.05
"""Between two looks however often we are told: a burst is read together."""
RETRY_SECONDS = 5.0
BATCH = 500
WAITING_AT_MOST = 1000
"""Events kept for one reader that does not take them; then it must begin anew."""

log = get_logger(__name__)


class Message(ServerSentEvent):
    """An event as it is sent; put into bytes once, however many readers it goes to."""

    _bytes: bytes | None = None

    def encode(self) -> bytes:
        """The bytes on the wire."""
        if self._bytes is None:
            self._bytes = super().encode()
        return self._bytes


def message_of(row: EventRow) -> Message:
    """A row of the outbox, as a message."""
    body = {
        "id": row.id,
        "topic": row.topic,
        "kind": row.kind,
        "data": json.loads(row.data),
        "created_at": iso_time(row.created_at),
    }
    return Message(json.dumps(body, separators=(",", ":")), event=row.topic, id=str(row.id))


def reset_message(event_id: int) -> Message:
    """Tells a reader that events are missing before this one: it must load its state anew."""
    return Message("{}", event="reset", id=str(event_id))


class Reader:
    """What waits for one stream."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        """``topics``: none means all."""
        self._topics = topics
        self._waiting: deque[tuple[int, Message]] = deque()
        self._arrived = asyncio.Event()
        self._missed_until = 0

    def put(self, event_id: int, topic: str, message: Message) -> None:
        """Keep an event until it is taken; when too many wait, none is kept and ``reset`` told."""
        if self._topics and topic not in self._topics:
            return
        if self._missed_until or len(self._waiting) >= WAITING_AT_MOST:
            self._waiting.clear()
            self._missed_until = event_id
        else:
            self._waiting.append((event_id, message))
        self._arrived.set()

    async def take(self) -> tuple[int, Message]:
        """The next event with its id, once there is one."""
        while not (self._waiting or self._missed_until):
            self._arrived.clear()
            await self._arrived.wait()
        if self._missed_until:
            event_id, self._missed_until = self._missed_until, 0
            return event_id, reset_message(event_id)
        return self._waiting.popleft()


class EventHub:
    """Hands new events to all readers; looks for them only while there are readers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: set[Reader] = set()
        self.position = 0
        """Up to this event, everything was handed on."""
        self._told = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def looks(self) -> bool:
        """Whether it asks the database from time to time."""
        return self._task is not None

    @contextlib.asynccontextmanager
    async def listening(self, topics: tuple[str, ...], newest: int) -> AsyncIterator[Reader]:
        """A reader that gets what comes after ``newest``, the newest event's id a moment ago.

        It may get earlier ones too: whoever takes them leaves out what it has seen.
        """
        reader = Reader(topics)
        if self._task is None:
            self.position = newest
            self._task = asyncio.create_task(self._run(), name="event-hub")
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._told.set()  # it ends by itself: ended in a query it would cost a connection

    async def backlog(self, topics: tuple[str, ...], last: int) -> AsyncIterator[EventRow]:
        """Events after ``last`` that are in the outbox already."""
        while True:
            async with self._database.read() as session:
                rows = await events_after(session, last, topics=topics, limit=BATCH)
            for row in rows:
                yield row
            if len(rows) < BATCH:
                return
            last = rows[-1].id

    async def _run(self) -> None:
        if self._database.is_sqlite:
            self._database.after_write.add(self._told.set)
            try:
                await self._look_while_somebody_listens(lambda: POLL_SECONDS)
            finally:
                self._database.after_write.discard(self._told.set)
            return
        bell = _Bell(self._database.url, self._told)
        ringing = asyncio.create_task(bell.run(), name="event-bell")
        try:
            await self._look_while_somebody_listens(bell.pause_seconds)
        finally:
            ringing.cancel()
            await asyncio.wait([ringing])

    async def _look_while_somebody_listens(self, pause_seconds: Callable[[], float]) -> None:
        while self._readers:
            self._told.clear()
            try:
                await self._look()
            except Exception as error:  # noqa: BLE001 - it goes on when the database is back
                log.warning("events cannot be read", error=type(error).__name__)
            await asyncio.sleep(SHORTEST_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds() - SHORTEST_PAUSE_SECONDS):
                    await self._told.wait()
        self._task = (
            None  # nothing is awaited since the look at who listens: the next one starts anew
        )

    async def _look(self) -> None:
        """Hand on what is new."""
        async for row in self.backlog((), self.position):
            message = message_of(row)
            for reader in self._readers:
                reader.put(row.id, row.topic, message)
            self.position = row.id


class _Bell:
    """PostgreSQL's word that there are new events, on a connection of its own."""

    def __init__(self, url: str, told: asyncio.Event) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(False)  # noqa: FBT003 - hide_password
        self._told = told
        self._hears = False

    def pause_seconds(self) -> float:
        """How long to wait for the bell until one looks without it."""
        return FALLBACK_SECONDS if self._hears else POLL_SECONDS

    async def run(self) -> None:
        """Listen until cancelled, and again after a lost connection."""
        import psycopg  # noqa: PLC0415 - only PostgreSQL needs it

        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                log.warning("no word of new events", error=type(error).__name__)
            self._hears = False
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        import psycopg  # noqa: PLC0415 - only PostgreSQL needs it

        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self._hears = True
            self._told.set()  # what was written until now rang no bell of ours
            async for _ in connection.notifies():
                self._told.set()

"""The tail of the outbox that all streams of a process share."""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from holdfast.kernel.db import Database
from holdfast.kernel.events import newest_event_id
from holdfast.kernel.services import Services
from holdfast.kernel.web import hub, live
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import services_for

LIMIT_SECONDS = 20
END_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE query LIKE 'LISTEN holdfast_events%'"
)
STREAMS = 50
ANOTHER_PROCESS = """
import asyncio, sys
import holdfast.schema
from holdfast.kernel.db import Database
from holdfast.kernel.work import SYSTEM

async def main():
    database = Database(sys.argv[1])
    async with database.write(SYSTEM) as work:
        work.emit("job", "changed", {"of": "another process"})
    await database.close()

asyncio.run(main())
"""


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


async def emit(services: Services, count: int = 1) -> None:
    async with services.database.write(SYSTEM) as work:
        for number in range(count):
            work.emit("job", "changed", {"number": number})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@contextmanager
def reads_of_the_outbox(database: Database) -> Any:
    """A list that grows with each statement that reads events."""
    seen: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        if "FROM event" in statement and statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def opened(services: Services, last: str = "") -> AsyncGenerator[Any, None]:
    """The messages of a stream, the greeting included."""
    response: Any = await live.event_stream(services, (), last)
    async with aclosing(response.body_iterator) as messages:
        async for message in messages:
            yield message


async def first_change(services: Services, listening: asyncio.Semaphore) -> bytes:
    async with aclosing(opened(services)) as messages:
        async for message in messages:
            if message.data is None:
                listening.release()
                continue
            return bytes(message.encode())
    raise AssertionError("the stream ended")


async def test_fifty_streams_cost_one_query_for_each_look(services: Services) -> None:
    listening = asyncio.Semaphore(0)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        reading = [group.create_task(first_change(services, listening)) for _ in range(STREAMS)]
        for _ in reading:
            await listening.acquire()
        await asyncio.sleep(hub.POLL_SECONDS)  # their own backlogs are read by now
        began = time.monotonic()
        with reads_of_the_outbox(services.database) as seen:
            await asyncio.sleep(3 * hub.POLL_SECONDS)
            await emit(services)
            await asyncio.wait(reading)
        looks = (time.monotonic() - began) / hub.POLL_SECONDS
    assert len({task.result() for task in reading}) == 1
    assert len(seen) <= looks + 3, f"{len(seen)} reads in the time of {looks:.1f} looks"


async def test_nobody_asks_the_database_while_nobody_listens(services: Services) -> None:
    listening = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(first_change(services, listening))
        await listening.acquire()
        await emit(services)
    assert reading.done()
    tail = services.get(hub.EventHub)
    await until(lambda: not tail.looks)
    listening = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        again = group.create_task(first_change(services, listening))
        await listening.acquire()
        await until(lambda: tail.looks)
        await emit(services)
    assert again.result()


async def test_a_reader_that_takes_nothing_is_told_to_begin_anew_and_then_goes_on(
    services: Services,
) -> None:
    await emit(services)
    messages = opened(services)
    async with asyncio.timeout(LIMIT_SECONDS), aclosing(messages):
        assert (await anext(messages)).data is None
        first = asyncio.create_task(messages.__anext__())
        tail = await _hub_of(services)
        await emit(services)
        assert (await first).event == "job"
        await emit(services, hub.WAITING_AT_MOST + 1)
        newest = await _newest(services)
        await until(lambda: tail.position == newest)
        reset = await anext(messages)
        assert (reset.event, reset.id) == ("reset", str(newest))
        await emit(services)
        assert (await anext(messages)).id == str(newest + 1)


async def test_what_another_process_writes_arrives(services: Services) -> None:
    listening = asyncio.Semaphore(0)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        reading = group.create_task(first_change(services, listening))
        await listening.acquire()
        await _hub_of(services)
        await _another_process(services.database.url)
    assert b"another process" in reading.result()


async def test_a_change_arrives_soon_after_its_commit(services: Services) -> None:
    """SQLite is asked twice a second; PostgreSQL tells at once."""
    limit_seconds = 1.0 if services.database.is_sqlite else 0.4
    best = LIMIT_SECONDS * 1.0
    listening = asyncio.Semaphore(0)
    for _ in range(3):
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
            reading = group.create_task(first_change(services, listening))
            await listening.acquire()
            await _hub_of(services)
            await asyncio.sleep(2 * hub.POLL_SECONDS)  # it rests between two looks
            await emit(services)
            began = time.monotonic()
            await reading
            best = min(best, time.monotonic() - began)
    assert best < limit_seconds


@pytest.mark.real
async def test_a_lost_listener_costs_speed_and_no_event(
    postgres_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "RETRY_SECONDS", 0.1)
    url = postgres_cluster.create("holdfast_template")
    database = Database(url)
    services = services_for(database, tmp_path / "data")
    listening = asyncio.Semaphore(0)
    async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
        reading = group.create_task(first_change(services, listening))
        await listening.acquire()
        await _hub_of(services)
        with postgres_cluster.admin() as connection:
            await until(lambda: bool(connection.execute(END_LISTENERS).fetchall()))
        await emit(services)
    assert b"changed" in reading.result()
    tail = services.get(hub.EventHub)
    await until(lambda: not tail.looks)
    await database.close()
    postgres_cluster.drop(url)


async def _hub_of(services: Services) -> hub.EventHub:
    await until(lambda: (found := services.find(hub.EventHub)) is not None and found.looks)
    return services.get(hub.EventHub)


async def _newest(services: Services) -> int:
    async with services.database.read() as session:
        return await newest_event_id(session)


async def _another_process(url: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ANOTHER_PROCESS, url)
    assert await process.wait() == 0

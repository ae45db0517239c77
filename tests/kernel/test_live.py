"""Live events: where a stream begins, and what it hands on."""

import asyncio
import json
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from holdfast.kernel.clock import now
from holdfast.kernel.db import Database
from holdfast.kernel.events import EventRow, newest_event_id
from holdfast.kernel.services import Services
from holdfast.kernel.web import live
from holdfast.kernel.work import SYSTEM
from tests.kernel.api import services_for

LIMIT_SECONDS = 20


@pytest.fixture
def services(database: Database, tmp_path: Path) -> Services:
    return services_for(database, tmp_path / "data")


async def emit(services: Services, *topics: str) -> None:
    async with services.database.write(SYSTEM) as work:
        for topic in topics:
            work.emit(topic, "changed", {"of": topic})


async def newest(services: Services) -> int:
    async with services.database.read() as session:
        return await newest_event_id(session)


async def read(
    services: Services, count: int, topics: tuple[str, ...] = (), last: str = ""
) -> list[dict[str, Any]]:
    """The first ``count`` messages of a stream, without its greeting."""
    response: Any = await live.event_stream(services, topics, last)
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(LIMIT_SECONDS), aclosing(response.body_iterator) as messages:
        async for message in messages:
            if message.data is not None:
                found.append({"event": message.event, "id": message.id, "data": message.data})
            if len(found) == count:
                break
    return found


async def test_a_stream_goes_on_after_the_last_event_seen(services: Services) -> None:
    await emit(services, "job", "job", "job")
    last = await newest(services)
    found = await read(services, 2, last=str(last - 2))
    assert [message["id"] for message in found] == [str(last - 1), str(last)]
    body = json.loads(found[0]["data"])
    assert (body["topic"], body["kind"], body["data"]) == ("job", "changed", {"of": "job"})


async def test_a_stream_without_a_last_event_begins_now(services: Services) -> None:
    await emit(services, "job")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read(services, 1))
        await asyncio.sleep(live.POLL_SECONDS)
        await emit(services, "gateway")
    assert reading.result()[0]["event"] == "gateway"


async def test_only_the_topics_that_were_asked_for_arrive(services: Services) -> None:
    await emit(services, "job")
    start = str(await newest(services))
    await emit(services, "gateway", "job", "migration", "gateway")
    found = await read(services, 2, topics=("migration", "job"), last=start)
    assert [message["event"] for message in found] == ["job", "migration"]


async def test_more_events_than_one_batch_arrive_in_order(services: Services) -> None:
    await emit(services, "job")
    start = await newest(services)
    await emit(services, *["job"] * (live.BATCH + 7))
    found = await read(services, live.BATCH + 7, last=str(start))
    assert [int(message["id"]) for message in found] == sorted(int(m["id"]) for m in found)


async def test_a_reader_that_missed_deleted_events_is_told_to_begin_anew(
    services: Services,
) -> None:
    await emit(services, "job", "job", "job", "job")
    last = await newest(services)
    async with services.database.write(SYSTEM) as work:
        await work.session.execute(delete(EventRow).where(EventRow.id < last))
    (found,) = await read(services, 1, last=str(last - 3))
    assert (found["event"], found["id"]) == ("reset", str(last))


@pytest.mark.parametrize("strange", ["soon", "-1", "99999999999999999999999", "²"])
async def test_an_id_that_is_not_ours_begins_anew(services: Services, strange: str) -> None:
    await emit(services, "job")
    (found,) = await read(services, 1, last=strange)
    assert found["event"] == "reset"


async def test_a_later_event_waits_for_the_commit_of_an_earlier_one(services: Services) -> None:
    async with asyncio.timeout(LIMIT_SECONDS), services.database.write(SYSTEM) as first:
        first.session.add(EventRow(topic="job", kind="changed", data="{}", created_at=now()))
        await first.session.flush()
        second = asyncio.create_task(emit(services, "job"))
        await asyncio.wait({second}, timeout=0.5)
        assert not second.done()
    await second


async def test_a_stream_ends_once_its_reader_may_no_longer_read(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.05)
    asked: list[None] = []

    async def is_welcome() -> bool:
        asked.append(None)
        return len(asked) < 3

    response: Any = await live.event_stream(services, (), "", is_welcome)
    async with asyncio.timeout(LIMIT_SECONDS):
        messages = [message async for message in response.body_iterator]
    assert (len(asked), len(messages)) == (3, 1)

"""The gate: who waits, who goes on, and that nobody slips through."""

import asyncio
from collections.abc import AsyncIterator, Collection

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from holdfast.migrations.gate import Gate, Hold
from holdfast.migrations.switch import drain_in_hold

PLACE = ("s3.example.com", "photos")
OLD, NEW = "s3.example.com/photos:e2.src.a.b", "s3.example.com/photos:e3.hold.a.b.g1"


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    async with Gate() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def asked(
    session: aiohttp.ClientSession, gate: Gate, counter: str, place: tuple[str, str] = PLACE
) -> int:
    headers = {
        "Host": "holdfast-gate",
        "X-Holdfast-Vhost": place[0],
        "X-Holdfast-Bucket": place[1],
        "X-Holdfast-Key": counter,
        "X-Holdfast-Class": "mut",
    }
    async with session.get(f"http://127.0.0.1:{gate.port}/gate", headers=headers) as answer:
        return answer.status


async def waits(task: "asyncio.Task[int]") -> bool:
    """Whether it is still unanswered after a moment in which an answer would have come."""
    done, _ = await asyncio.wait([task], timeout=0.1)
    return not done


class Counted:
    """Counters of a made-up nginx. ``on_look`` runs between looking and telling."""

    def __init__(self, **busy: int) -> None:
        self.left = dict(busy)
        self.looks: list[str] = []

    async def busy(self, counter: str) -> bool:
        self.looks.append(counter)
        await asyncio.sleep(0)
        return self.left.get(counter, 0) > 0

    async def lost_a_worker(self) -> bool:
        return False

    async def outlive(self, counters: Collection[str]) -> None:
        self.left.clear()


async def test_without_a_hold_everybody_goes_on(gate: Gate, session: aiohttp.ClientSession) -> None:
    assert await asked(session, gate, OLD) == 204


async def test_what_the_drain_waits_for_goes_on_at_once(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    gate.close([PLACE], Hold([OLD]))
    assert await asked(session, gate, OLD) == 204
    gate.open([PLACE])


async def test_what_came_later_waits_until_the_hold_ends(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    hold = Hold([OLD])
    gate.close([PLACE], hold)
    task = asyncio.create_task(asked(session, gate, NEW))
    assert await waits(task)
    gate.open([PLACE])
    assert await task == 204
    assert hold.held_requests == 1


async def test_another_bucket_does_not_wait(gate: Gate, session: aiohttp.ClientSession) -> None:
    gate.close([PLACE], Hold([]))
    assert await asked(session, gate, NEW, ("s3.example.com", "music")) == 204
    gate.open([PLACE])


async def test_while_a_counter_is_looked_at_its_requests_wait(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    hold = Hold([OLD])
    gate.close([PLACE], hold)
    hold.close_for(OLD)
    task = asyncio.create_task(asked(session, gate, OLD))
    assert await waits(task)
    hold.open_for(OLD)
    assert await task == 204
    gate.open([PLACE])


async def test_a_request_counted_after_the_drain_waits(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    hold = Hold([OLD])
    gate.close([PLACE], hold)
    await drain_in_hold(Counted(), hold, [OLD])
    task = asyncio.create_task(asked(session, gate, OLD))
    assert await waits(task)
    gate.open([PLACE])
    assert await task == 204


async def test_the_drain_lasts_until_every_counter_was_seen_at_zero() -> None:
    counted = Counted(**{OLD: 1})
    hold = Hold([OLD, "default"])
    task = asyncio.create_task(drain_in_hold(counted, hold, [OLD, "default"]))
    while counted.looks.count(OLD) < 3:
        await asyncio.sleep(0)
    assert not task.done()
    counted.left[OLD] = 0
    await task
    assert counted.looks.count("default") == 1


async def test_it_is_known_from_which_hosts_nginx_asked(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    hold = Hold([OLD])
    gate.close([PLACE], hold)
    seen = asyncio.create_task(hold.seen(PLACE[0]))
    await asked(session, gate, OLD)
    async with asyncio.timeout(5):
        await seen
    gate.open([PLACE])


async def test_hundreds_wait_and_all_are_let_go(gate: Gate, session: aiohttp.ClientSession) -> None:
    hold = Hold([])
    gate.close([PLACE], hold)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=400)) as many:
        tasks = [asyncio.create_task(asked(many, gate, NEW)) for _ in range(300)]
        async with asyncio.timeout(20):
            while hold.held_requests < 300:
                await asyncio.sleep(0.01)
        gate.open([PLACE])
        assert set(await asyncio.gather(*tasks)) == {204}


async def test_a_complete_is_answered_by_the_relay_of_its_bucket(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    async def relay(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.raw_path} {await request.text()}")

    gate.relay([PLACE], relay)
    headers = {"X-Holdfast-Vhost": PLACE[0], "X-Holdfast-Bucket": PLACE[1]}
    url = f"http://127.0.0.1:{gate.port}/photos/a%2Fb?uploadId=u"
    async with session.post(URL(url, encoded=True), headers=headers, data="x") as got:
        assert await got.text() == "/photos/a%2Fb?uploadId=u x"


async def test_a_relay_that_fails_asks_the_client_to_try_again(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    async def relay(request: web.Request) -> web.Response:
        raise OSError(request.path)

    gate.relay([PLACE], relay)
    headers = {"X-Holdfast-Vhost": PLACE[0], "X-Holdfast-Bucket": PLACE[1]}
    async with session.post(f"http://127.0.0.1:{gate.port}/photos/k", headers=headers) as got:
        assert got.status == 503
        assert "SlowDown" in await got.text()


async def test_without_a_relay_a_complete_is_put_off(
    gate: Gate, session: aiohttp.ClientSession
) -> None:
    async with session.post(f"http://127.0.0.1:{gate.port}/gate/k?uploadId=u") as got:
        assert got.status == 503

"""Real moves between two real servers, behind a real nginx."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.gateway.flags import FlagState
from holdfast.migrations.model import Stage
from tests.migrations.clients import clients, slow_put
from tests.migrations.rig import BUCKET, QUICK, Notes, Rig, contents, running_rig, until

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
MOVED = "static.p-"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def test_a_quiet_bucket_moves_and_is_equal(rig: Rig) -> None:
    await rig.fill((f"a/{i % 7}/{i}", f"content {i}".encode()) for i in range(100))
    notes = Notes()
    await rig.run(notes)
    assert notes.ended is Stage.DONE, (notes.message, notes.lines, notes.troubles)
    assert rig.states()[0].startswith(MOVED)
    assert await contents(rig.destination) == await contents(rig.source)
    assert [hold.result for hold in notes.holds] == ["switched"]
    async with rig.client() as client:
        assert (await client.read(BUCKET, "a/0/0"))[1] == b"content 0"


async def test_a_bucket_behind_tls_moves_at_the_first_attempt(tmp_path: Path) -> None:
    async with running_rig(tmp_path, tls=True) as rig:
        await rig.fill((f"{i}", b"x" * 10) for i in range(30))
        notes = Notes()
        await rig.run(notes)
        assert notes.ended is Stage.DONE, (notes.message, notes.lines)
        assert [hold.result for hold in notes.holds] == ["switched"]
        assert await contents(rig.destination) == await contents(rig.source)


async def test_progress_is_told_to_the_end(rig: Rig) -> None:
    await rig.fill((f"{i}", b"x" * 10) for i in range(30))
    notes = Notes()
    await rig.run(notes)
    seen = notes.amounts_seen
    assert (seen.objects_total, seen.objects_done) == (30, 30)
    assert (seen.bytes_total, seen.bytes_done) == (300, 300)


async def test_clients_of_a_busy_bucket_see_no_fault(rig: Rig) -> None:
    await rig.fill((f"cold/{i}", b"x" * 100) for i in range(50))
    notes = Notes()
    async with clients(rig) as traffic:
        await rig.run(notes)
        done = traffic.tally.total
        await until(lambda: traffic.tally.total > done + 20)
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert traffic.tally.clean, traffic.tally.examples


async def test_all_virtual_hosts_move_together(tmp_path: Path) -> None:
    async with running_rig(tmp_path, vhosts=("one.test", "two.test", "*.three.test")) as rig:
        await rig.fill((f"cold/{i}", b"x") for i in range(20))
        notes = Notes()
        async with (
            clients(rig, "one.test", "one/") as first,
            clients(rig, "two.test", "two/") as second,
        ):
            await rig.run(notes)
        assert notes.ended is Stage.DONE, (notes.message, notes.lines)
        assert first.tally.clean, first.tally.examples
        assert second.tally.clean, second.tally.examples
        assert all(state.startswith(MOVED) for state in rig.states())


CANCELLABLE = [Stage.PREPARE, Stage.COPY, Stage.CONVERGE, Stage.CUTOVER, Stage.COMMIT]


@pytest.mark.parametrize("stage", CANCELLABLE)
async def test_a_cancel_leaves_everything_with_the_source(rig: Rig, stage: Stage) -> None:
    await rig.fill((f"{i}", b"x") for i in range(20))
    notes = Notes(cancel_at=stage)
    await rig.run(notes)
    assert notes.ended is Stage.CANCELLED
    assert rig.states() == ["static.old-pool"]
    async with rig.client() as client:
        await client.put(BUCKET, "after", b"y")
    assert "after" in await contents(rig.source)


async def test_a_cancel_after_the_switch_comes_too_late(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes(cancel_at=Stage.PROBATION)
    await rig.run(notes)
    assert notes.ended is Stage.DONE


async def test_after_a_cancel_the_bucket_can_be_moved_again(rig: Rig) -> None:
    await rig.fill((f"{i}", b"x") for i in range(20))
    await rig.run(Notes(cancel_at=Stage.CUTOVER))
    again = Notes()
    await rig.run(again, replace(QUICK, adopt=True))
    assert again.ended is Stage.DONE, again.message


async def test_an_engine_that_is_stopped_lets_go_and_the_next_one_goes_on(rig: Rig) -> None:
    await rig.fill((f"{i}", b"x") for i in range(20))
    go_on = asyncio.Event()
    upload = asyncio.create_task(slow_put(rig, "slow", go_on))
    notes = Notes()
    task = asyncio.create_task(rig.run(notes))
    await until(lambda: any("waiting for an upload" in line for line in notes.lines))
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert rig.states() == ["src.old-pool"]
    go_on.set()
    assert await upload == 200
    again = Notes()
    await rig.run(again)
    assert again.ended is Stage.DONE, again.message
    assert "slow" in await contents(rig.destination)


async def test_a_long_upload_is_waited_for_and_never_held_up(rig: Rig) -> None:
    await rig.fill((f"{i}", b"x") for i in range(5))
    notes = Notes()
    go_on = asyncio.Event()

    async def while_it_runs() -> None:
        await until(lambda: Stage.COPY in notes.stages)
        upload = asyncio.create_task(slow_put(rig, "slow", go_on))
        await until(lambda: any("waiting for an upload running since" in x for x in notes.lines))
        async with rig.client() as client:
            await client.put(BUCKET, "meanwhile", b"quick")
        go_on.set()
        assert await upload == 200

    # The upload begins before the switch is tried: a pause in the copy makes that certain.
    pause = asyncio.create_task(while_it_runs())
    await rig.run(notes, replace(QUICK, bandwidth_bytes_per_second=2.0))
    await pause
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert {"slow", "meanwhile"} <= set(await contents(rig.destination))


async def test_an_upload_in_parts_spans_the_move(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes()
    part = b"p" * (5 * 1024 * 1024)
    async with rig.client() as client:
        upload = await client.create_multipart(BUCKET, "big", headers={"x-amz-meta-kind": "film"})
        first = await client.upload_part(BUCKET, "big", upload, 1, part)
        moving = asyncio.create_task(rig.run(notes))
        await until(lambda: Stage.PROBATION in notes.stages)
        second = await client.upload_part(BUCKET, "big", upload, 2, b"end")
        etag = await client.complete_multipart(BUCKET, "big", upload, [(1, first), (2, second)])
        assert (
            await client.complete_multipart(BUCKET, "big", upload, [(1, first), (2, second)])
            == etag
        ), "a repeated Complete gets the same answer"
        head = await client.head(BUCKET, "big")
    await moving
    assert notes.ended is Stage.DONE, notes.message
    assert head.etag == etag
    assert head.headers["x-amz-meta-kind"] == "film"
    assert (await contents(rig.destination))["big"] == (etag, len(part) + 3)
    assert [hold.pinned_uploads for hold in notes.holds if hold.result == "switched"] == [1]


async def test_an_upload_that_is_given_up_ends_the_wait(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes()
    async with rig.client() as client:
        upload = await client.create_multipart(BUCKET, "big")
        moving = asyncio.create_task(rig.run(notes))
        await until(lambda: Stage.PROBATION in notes.stages)
        await client.abort_multipart(BUCKET, "big", upload)
    await moving
    assert notes.ended is Stage.DONE


async def test_counters_of_the_past_are_forgotten(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    await rig.run(Notes())
    vhost = next(iter(rig.vhosts))
    assert [flag.state for flag in rig.flags.history(vhost, BUCKET)] == [FlagState.STATIC]

"""What stands in the way of a move: full destinations, dead servers, dead workers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from holdfast.gateway.flags import READY
from holdfast.migrations import copying, silence
from holdfast.migrations import watch as watch_of_nginx
from holdfast.migrations.contents import compare_contents
from holdfast.migrations.model import Mode, Stage, Verify
from holdfast.migrations.move import Hopeless, Parts
from holdfast.migrations.watch import NginxWatch
from tests.migrations.clients import slow_put
from tests.migrations.rig import (
    BUCKET,
    DESTINATION,
    QUICK,
    SOURCE,
    Notes,
    Rig,
    contents,
    running_rig,
    until,
)
from tests.servers.s3 import S3Server, nanio_server

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def test_a_destination_that_dies_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    await rig.fill((f"{i}", b"x" * 50) for i in range(60))
    notes = Notes()
    slow = replace(QUICK, bandwidth_bytes_per_second=1000.0, give_up_after_seconds=90)
    moving = asyncio.create_task(rig.run(notes, slow))
    await until(lambda: notes.amounts_seen.objects_done > 5)
    await rig.destination.kill()
    await until(lambda: notes.troubles)
    async with rig.client() as client:
        await client.put(BUCKET, "meanwhile", b"y")
    port = int(rig.destination.address.rpartition(":")[2])
    for leftover in rig.destination.data_dir.rglob("*.json.tmp"):
        leftover.unlink()  # nanio was killed in a write, and refuses the key until that is gone
    async with nanio_server(rig.root / "destination", port=port):
        await moving
        assert notes.ended is Stage.DONE, notes.message
        assert notes.troubles[-1] is None
        assert "meanwhile" in await contents(rig.destination)


@pytest.mark.parametrize("side", ["source", "destination"])
async def test_a_server_that_takes_requests_and_does_not_answer_is_named(
    rig: Rig, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "TOLD_AFTER_SECONDS", 1.0)
    await rig.fill((f"{i}", b"x" * 50) for i in range(60))
    notes = Notes()
    moving = asyncio.create_task(rig.run(notes, replace(QUICK, bandwidth_bytes_per_second=1000.0)))
    await until(lambda: notes.amounts_seen.objects_done > 5)
    server: S3Server = getattr(rig, side)
    os.kill(server.child.pid, signal.SIGSTOP)
    try:
        await until(lambda: any(notes.troubles))
    finally:
        os.kill(server.child.pid, signal.SIGCONT)
    pool = {"source": SOURCE, "destination": DESTINATION}[side]
    assert notes.troubles == [f"waiting: pool {pool!r} ({server.endpoint}) does not answer"]
    await moving
    assert notes.ended is Stage.DONE, notes.message
    assert notes.troubles[1:] == [None]


async def test_a_destination_that_stays_dead_ends_in_error_with_the_source_serving(
    rig: Rig,
) -> None:
    await rig.fill((f"{i}", b"x") for i in range(5))
    await rig.destination.kill()
    notes = Notes()
    await rig.run(notes, replace(QUICK, give_up_after_seconds=1.0))
    assert notes.ended is Stage.ERROR
    assert "gave up" in notes.message
    assert rig.states() == ["static.old-pool"]


async def test_a_destination_that_dies_in_probation_is_where_the_bucket_stays(rig: Rig) -> None:
    """It serves already, and has what clients wrote since: there is no way back."""
    await rig.fill((f"{i}", b"x") for i in range(5))

    class Deadly(Notes):
        async def stage(self, stage: Stage, message: str) -> None:
            await Notes.stage(self, stage, message)
            if stage is Stage.PROBATION:
                await rig.destination.kill()

    notes = Deadly()
    await rig.run(notes)
    assert Stage.PROBATION in notes.stages
    assert notes.ended is Stage.DONE, notes.message
    assert rig.states()[0].startswith("static.p-")
    assert len(await contents(rig.source)) == 5
    port = int(rig.destination.address.rpartition(":")[2])
    async with nanio_server(rig.root / "destination", port=port), rig.client() as client:
        assert (await client.read(BUCKET, "4"))[1] == b"x"


async def test_a_destination_with_other_objects_is_refused(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    async with rig.destination.client() as client:
        await client.create_bucket(BUCKET)
        await client.put(BUCKET, "theirs", b"y")
    notes = Notes()
    await rig.run(notes)
    assert notes.ended is Stage.ERROR
    assert "already" in notes.message
    assert "theirs" in await contents(rig.destination)


async def test_a_destination_that_is_equal_is_taken_when_told_so(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    async with rig.destination.client() as client:
        await client.create_bucket(BUCKET)
        await client.put(BUCKET, "k", b"x")
    notes = Notes()
    await rig.run(notes)
    assert notes.ended is Stage.ERROR
    told = Notes()
    await rig.run(told, replace(QUICK, adopt=True))
    assert told.ended is Stage.DONE, told.message


async def test_sync_wants_to_be_told_before_it_deletes(rig: Rig) -> None:
    await rig.fill([("k", b"new")])
    async with rig.destination.client() as client:
        await client.create_bucket(BUCKET)
        await client.put(BUCKET, "k", b"older")
        await client.put(BUCKET, "theirs", b"y")
    notes = Notes()
    await rig.run(notes, mode=Mode.SYNC)
    assert notes.ended is Stage.ERROR
    assert "theirs" in await contents(rig.destination)
    told = Notes()
    await rig.run(told, replace(QUICK, adopt=True), mode=Mode.SYNC)
    assert told.ended is Stage.DONE, told.message
    assert await contents(rig.destination) == await contents(rig.source)


async def test_different_keys_are_refused_unless_waived(tmp_path: Path) -> None:
    async with running_rig(tmp_path) as rig:
        await rig.fill([("k", b"x")])
        engine = rig.engine(Notes())
        notes = Notes()
        engine._report = notes
        engine._move = replace(
            engine._move, destination=replace(engine._move.destination, access_key="other")
        )
        await engine.run()
        assert notes.ended is Stage.ERROR
        assert "waive" in notes.message


async def test_a_destination_that_refuses_us_for_good_ends_the_move_at_once(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    notes = Notes()
    engine = rig.engine(
        notes, replace(QUICK, give_up_after_seconds=600, waived=frozenset({"keys"}))
    )
    there = replace(engine._move.destination, secret_key="not-the-right-one")
    engine._move = replace(engine._move, destination=there)
    async with asyncio.timeout(20):
        await engine.run()
    assert notes.ended is Stage.ERROR
    assert "SignatureDoesNotMatch (403)" in notes.message
    assert rig.states() == ["static.old-pool"]


async def test_contents_are_compared_when_asked_for(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.fill([("k", b"right"), ("other", b"x")])
    notes = Notes()
    options = replace(QUICK, verify=Verify.HASH)

    async def after_bit_rot(parts: Parts) -> None:
        (rig.destination.data_dir / BUCKET / "k").write_bytes(b"wrong")
        await compare_contents(parts)

    monkeypatch.setattr(copying, "compare_contents", after_bit_rot)
    await rig.run(notes, options)
    assert notes.ended is Stage.DONE, notes.message
    async with rig.destination.client() as client:
        assert (await client.read(BUCKET, "k"))[1] == b"right"


async def test_a_worker_that_dies_is_noticed(rig: Rig) -> None:
    watch = rig.nginx.counters
    assert isinstance(watch, NginxWatch)
    assert not await watch.lost_a_worker()
    workers = await watch.workers()
    os.kill(min(workers.serving), signal.SIGKILL)
    found = False
    async with asyncio.timeout(10):
        while not found:
            found = await watch.lost_a_worker()
            await asyncio.sleep(0.02)


async def test_workers_that_die_with_an_upload_do_not_stop_the_move(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while nginx refuses its files: it is told, and waited for."""
    monkeypatch.setattr(watch_of_nginx, "LOADED_SECONDS", 1.0)
    live = rig.root / "nginx" / "live" / "http.conf"
    good = live.read_text()
    await rig.fill((f"{i}", b"x") for i in range(8))
    watch = rig.nginx.counters
    assert isinstance(watch, NginxWatch)
    notes = Notes()
    moving = asyncio.create_task(rig.run(notes, replace(QUICK, bandwidth_bytes_per_second=2.0)))
    await until(lambda: Stage.COPY in notes.stages)
    upload = asyncio.create_task(slow_put(rig, "cut", asyncio.Event()))
    counter = rig.engine(Notes())._switch.older_counters(with_current=True)[-1]
    async with asyncio.timeout(10):
        while not await watch.busy(counter):
            await asyncio.sleep(0.01)
    live.write_text(good + "\nnonsense;\n")
    for worker in (await watch.workers()).serving:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(aiohttp.ClientError):
        await upload
    await until(lambda: any("refuses to load its files" in line for line in notes.lines))

    def deaths() -> int:
        return sum("worker of nginx died" in line for line in notes.lines)

    assert deaths() == 1
    os.kill(min((await watch.workers()).serving), signal.SIGKILL)
    await until(lambda: deaths() == 2)  # seen also while the first one is waited for
    live.write_text(good)
    await moving
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert deaths() == 2, "our own reload of nginx is no death"


async def test_a_log_that_nginx_cannot_write_stops_the_move_before_it_begins(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    log = rig.root / "nginx" / "log" / "dirty.log"
    log.rename(log.with_suffix(".elsewhere"))
    log.touch()
    notes = Notes()
    await rig.run(notes, replace(QUICK, give_up_after_seconds=1.0))
    assert notes.ended is Stage.ERROR
    assert "dirty log" in notes.message
    assert rig.states() == ["static.old-pool"]


async def test_flags_that_go_back_after_the_switch_stop_everything(rig: Rig) -> None:
    """Somebody put an old flag back: copying again would undo what clients wrote since."""
    await rig.fill([("k", b"old")])
    engine = rig.engine(Notes())
    engine._move = replace(engine._move, reached=Stage.PROBATION)
    with pytest.raises(Hopeless, match="served it already"):
        await engine.run()
    assert rig.states() == ["static.old-pool"]


async def test_without_the_folder_of_the_flags_nothing_is_done(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    (rig.flags.root / READY).unlink()
    with pytest.raises(Hopeless, match="not the one that was made"):
        await rig.run(Notes(), replace(QUICK, give_up_after_seconds=0.5))
    async with rig.destination.client() as client:
        assert not await client.head_bucket(BUCKET)


async def test_a_full_pass_that_is_cut_short_stays_owed(rig: Rig) -> None:
    """The destination dies while everything is compared again: then it is, once it is back."""
    await rig.fill((f"{i}", b"x") for i in range(5))
    notes = Notes()
    log = rig.root / "nginx" / "log" / "dirty.log"
    slow = replace(QUICK, bandwidth_bytes_per_second=2.0, give_up_after_seconds=90)
    moving = asyncio.create_task(rig.run(notes, slow))
    await until(lambda: notes.amounts_seen.objects_done > 0)
    go_on = asyncio.Event()
    upload = asyncio.create_task(slow_put(rig, "slow", go_on))
    await until(lambda: any("waiting for an upload" in line for line in notes.lines))
    await rig.destination.kill()
    async with rig.source.client() as behind:
        await behind.put(BUCKET, "lost-line", b"y")
    with log.open("a") as file:
        file.write("a line that cannot be read\n")
    go_on.set()
    assert await upload == 200
    await until(lambda: notes.troubles)
    port = int(rig.destination.address.rpartition(":")[2])
    async with nanio_server(rig.root / "destination", port=port):
        await moving
        assert notes.ended is Stage.DONE, (notes.message, notes.lines)
        assert "lost-line" in await contents(rig.destination)

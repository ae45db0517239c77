"""The driving process is killed at every step while clients work.

The next one goes on, and nobody sees a fault.
"""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

import pytest

from holdfast.demo.traffic import Load, Traffic
from holdfast.demo.wire import Wire
from holdfast.kernel.errors import AppError
from holdfast.kernel.process import start
from tests.migrations.rig import BUCKET, QUICK, Rig, contents, running_rig, until
from tests.servers.programs import words_of
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
ROOT = Path(__file__).parents[2]
DRIVE_SECONDS = 60
LIGHT = Load(
    tolerate_slow_down=True,  # a Complete of a kept upload needs the driver; clients try again
    writers=3,
    keys_per_writer=4,
    readers=1,
    listers=1,
    uploaders=1,
    slow_writers=1,
    pause_seconds=0.1,
)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def drive(rig: Rig, moment: str = "") -> tuple[int, list[dict[str, object]]]:
    """Run the driving process to its end; gives its status and what it said."""
    move = rig.move(QUICK)
    config = {
        "nginx_dir": str(rig.root / "nginx"),
        "bucket": BUCKET,
        "source": asdict(move.source),
        "destination": asdict(move.destination),
        "entrances": [asdict(entrance) for entrance in move.entrances],
        "options": move.options.to_json(),
        "folder": str(move.folder),
        "moment": moment,
    }
    path = rig.root / "drive.json"
    path.write_text(json.dumps(config))
    lines: list[dict[str, object]] = []
    argv = words_of("tests.migrations.drive", str(path))
    environment = {"PYTHONPATH": str(ROOT)}
    child = await start(
        argv, env=environment, cwd=ROOT, on_line=lambda line: lines.append(json.loads(line))
    )
    async with child:
        try:
            async with asyncio.timeout(DRIVE_SECONDS):
                status = await child.wait()
        except TimeoutError:
            raise AssertionError(f"it does not end: {lines}, {child.last_lines}") from None
    return status, lines


@contextlib.asynccontextmanager
async def clients(rig: Rig) -> AsyncIterator[Traffic]:
    """Clients that never stop; afterwards every answer was judged."""
    vhost, port = next(iter(rig.vhosts.items()))
    async with Wire(f"http://{vhost}:{port}", ACCESS_KEY, SECRET_KEY) as wire:
        traffic = Traffic(wire, BUCKET, LIGHT)
        task = asyncio.create_task(traffic.run())
        try:
            yield traffic
        finally:
            traffic.stop()
            await task
        await traffic.audit({})


MOMENTS = {
    "stage:prepare": "static.old-pool",
    "after:src": "src.old-pool",
    "stage:copy": "src.old-pool",
    "stage:converge": "src.old-pool",
    "stage:cutover": "src.old-pool",
    "before:hold": "src.old-pool",
    "after:hold": "hold.old-pool",
    "before:holdd": "hold.old-pool",
    "after:holdd": "holdd.old-pool",
    "before:dst": "holdd.old-pool",
    "after:dst": "dst.old-pool",
    "stage:probation": "dst.old-pool",
    "before:static": "dst.old-pool",
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_killed_driver_leaves_a_safe_flag_and_the_next_one_goes_on(
    rig: Rig, moment: str
) -> None:
    await rig.fill((f"cold/{i}", f"content {i}".encode()) for i in range(40))
    cold = {key: etag for key, (etag, _) in (await contents(rig.source)).items()}
    async with clients(rig) as traffic:
        status, _ = await drive(rig, moment)
        assert status == -signal.SIGKILL
        assert rig.states() == [MOMENTS[moment]]
        requests = traffic.tally.total
        async with asyncio.timeout(30):
            while traffic.tally.total < requests + 20:
                await asyncio.sleep(0.02)
        status, said = await drive(rig)
        assert status == 0, said
    assert traffic.tally.clean, traffic.tally.examples
    assert rig.states()[0].startswith("static.p-"), said
    moved = await contents(rig.destination)
    assert {key: moved[key][0] for key in cold} == cold


async def test_a_driver_that_dies_in_a_complete_finishes_it_when_asked_again(rig: Rig) -> None:
    await rig.fill([("k", b"x")])
    part = b"p" * (5 * 1024 * 1024)
    async with rig.client() as client:
        upload = await client.create_multipart(BUCKET, "big")
        parts = [(1, await client.upload_part(BUCKET, "big", upload, 1, part))]
        moving = asyncio.create_task(drive(rig, "complete"))
        await until(lambda: rig.states() == ["dst.old-pool"], seconds=30)
        parts.append((2, await client.upload_part(BUCKET, "big", upload, 2, b"end")))
        with pytest.raises(AppError):
            await client.complete_multipart(BUCKET, "big", upload, parts)
        assert (await moving)[0] == -signal.SIGKILL
        assert "big" not in await contents(rig.destination)
        moving = asyncio.create_task(drive(rig))
        etag = ""
        async with asyncio.timeout(30):
            while not etag:
                with contextlib.suppress(AppError):
                    etag = await client.complete_multipart(BUCKET, "big", upload, parts)
                await asyncio.sleep(0.05)
        assert (await moving)[0] == 0
    assert (await contents(rig.destination))["big"] == (etag, len(part) + 3)

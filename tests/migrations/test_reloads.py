"""A reload of nginx, by us or by an operator, is no death of a worker; a killed worker is."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.kernel.errors import Unavailable
from holdfast.kernel.nginx.master import retire_succeeded
from holdfast.kernel.nginx.reload_mark import renew_mark
from holdfast.migrations.watch import NginxWatch, Workers
from tests.migrations.rig import Rig, running_rig

pytestmark = pytest.mark.real


@pytest.fixture(params=[1, 2], ids=["one-worker", "two-workers"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path, workers=request.param) as running:
        yield running


async def seen(watch: NginxWatch) -> Workers:
    """The workers; asked again when the one that answered has left meanwhile."""
    async with asyncio.timeout(10):
        while True:
            with suppress(Unavailable):
                return await watch.workers()
            await asyncio.sleep(0.01)


async def lost(watch: NginxWatch) -> bool:
    """As the engine asks: who cannot be asked now is asked later."""
    with suppress(Unavailable):
        return await watch.lost_a_worker()
    return False


async def reloaded(rig: Rig, watch: NginxWatch, *, by_us: bool, times: int = 1) -> None:
    """Reload so many times at once, and wait until all workers of before have gone."""
    before = await seen(watch)
    for _ in range(times):
        if by_us:
            renew_mark(rig.root / "nginx")
        os.kill(before.master, signal.SIGHUP)
    async with asyncio.timeout(20):
        while before.all & (await seen(watch)).all:
            if by_us:
                retire_succeeded(before.master, before.serving)
            await asyncio.sleep(0.005)


async def looked(watch: NginxWatch, until: Callable[[], bool]) -> bool:
    """Look all the time meanwhile; gives whether a death was told."""
    told = False
    while not until():
        told = await lost(watch) or told
        await asyncio.sleep(0.02)
    return await lost(watch) or told


@pytest.mark.parametrize(
    ("by_us", "times"), [(True, 1), (True, 2), (False, 1)], ids=["by-us", "twice", "by-an-operator"]
)
@pytest.mark.parametrize("often", [True, False], ids=["looking", "afterwards"])
async def test_a_reload_is_no_death(rig: Rig, *, by_us: bool, times: int, often: bool) -> None:
    watch = rig.nginx.counters
    assert isinstance(watch, NginxWatch)
    assert not await watch.lost_a_worker()
    for _ in range(3):
        task = asyncio.create_task(reloaded(rig, watch, by_us=by_us, times=times))
        if not often:
            await task
        assert not await looked(watch, task.done)
        await task


async def test_a_worker_that_is_killed_has_died_also_after_a_reload(rig: Rig) -> None:
    watch = rig.nginx.counters
    assert isinstance(watch, NginxWatch)
    for _ in range(2):
        assert not await watch.lost_a_worker()
        os.kill(min((await seen(watch)).serving), signal.SIGKILL)
        async with asyncio.timeout(10):
            while not await lost(watch):
                await asyncio.sleep(0.02)
        await reloaded(rig, watch, by_us=True)


async def test_all_workers_killed_at_once_are_no_reload(rig: Rig) -> None:
    watch = rig.nginx.counters
    assert isinstance(watch, NginxWatch)
    assert not await watch.lost_a_worker()
    before = await seen(watch)
    for worker in before.serving:
        os.kill(worker, signal.SIGKILL)
    async with asyncio.timeout(20):
        while True:
            now = await seen(watch)
            if not before.all & now.all and len(now.serving) == len(before.serving):
                break
            await asyncio.sleep(0.01)
    assert await watch.lost_a_worker()

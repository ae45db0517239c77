"""Virtual hosts that a crash left apart: some serve the destination, others the source."""

import asyncio
import errno
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from holdfast.demo.wire import Wire
from holdfast.gateway.flags import Flag, FlagState
from holdfast.migrations import mend
from holdfast.migrations.mend import written_under
from holdfast.migrations.model import Stage
from holdfast.migrations.move import Hopeless
from holdfast.migrations.switch import Switch
from tests.migrations.clients import slow_put
from tests.migrations.rig import BUCKET, Notes, Rig, contents, running_rig, until
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY

BEHIND, AHEAD = "one.test", "two.test"


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[Rig]:
    """The driver died after the first of two renames: one virtual host has turned, one holds."""
    async with running_rig(tmp_path, vhosts=(BEHIND, AHEAD)) as rig:
        await rig.fill([("both", b"same")])
        async with rig.destination.client() as client:
            await client.create_bucket(BUCKET)
            await client.put(BUCKET, "both", b"same")
        switch = rig.engine(Notes())._switch
        await switch.set(FlagState.HOLD)
        await switch.set_each([FlagState.HOLD, FlagState.HOLDD])
        yield rig


async def put(rig: Rig, vhost: str, key: str, body: bytes = b"written") -> None:
    endpoint = f"http://127.0.0.1:{rig.vhosts[vhost]}"
    async with Wire(endpoint, ACCESS_KEY, SECRET_KEY, vhost) as wire:
        assert (await wire.send("PUT", BUCKET, key, body=body)).ok


@pytest.mark.real
async def test_they_are_brought_together(apart: Rig) -> None:
    await put(apart, AHEAD, "new")
    await put(apart, BEHIND, "old")
    assert set(await contents(apart.source)) == {"both", "old"}
    notes = Notes()
    await apart.run(notes)
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert set(await contents(apart.destination)) == {"both", "old", "new"}


@pytest.mark.real
async def test_a_write_that_the_first_try_could_not_wait_for_is_copied_by_the_next(
    apart: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mend, "MEND_SECONDS", 0.5)
    await put(apart, BEHIND, "old")
    go_on, notes = asyncio.Event(), Notes()
    slow = asyncio.create_task(slow_put(apart, "slow", go_on))
    counter = apart.engine(notes)._switch.older_counters(with_current=True)
    running = asyncio.create_task(_busy(apart, counter))
    await running
    moving = asyncio.create_task(apart.run(notes))
    await until(lambda: notes.troubles)
    await put(apart, BEHIND, "between")
    go_on.set()
    assert await slow == 200
    await moving
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert notes.troubles[-1] is None
    found = await contents(apart.destination)
    assert found == await contents(apart.source)
    assert set(found) == {"both", "old", "slow", "between"}


async def _busy(rig: Rig, counters: Sequence[str]) -> None:
    async with asyncio.timeout(10):
        while not any([await rig.nginx.counters.busy(counter) for counter in counters]):
            await asyncio.sleep(0.01)


@pytest.mark.real
async def test_a_key_that_the_first_try_has_copied_is_not_taken_back_by_the_next(
    apart: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile a client may have written it through a virtual host that has turned."""
    really, failed = Switch._set, asyncio.Event()
    rewritten = asyncio.Event()

    def fail_at_first(self: Switch, states: Sequence[FlagState], *, on_destination: bool) -> None:
        if set(states) == {FlagState.HOLDD} and not rewritten.is_set():
            failed.set()
            raise OSError(errno.EIO, "Input/output error")
        really(self, states, on_destination=on_destination)

    await put(apart, BEHIND, "k", b"from behind")
    monkeypatch.setattr(Switch, "_set", fail_at_first)
    notes = Notes()
    moving = asyncio.create_task(apart.run(notes))
    await until(lambda: notes.troubles)
    await put(apart, AHEAD, "k", b"newer")
    rewritten.set()
    await moving
    assert failed.is_set()
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    async with apart.destination.client() as client:
        assert (await client.read(BUCKET, "k"))[1] == b"newer"


@pytest.mark.real
async def test_what_cannot_be_copied_never_sends_clients_back_to_the_source(
    apart: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That would hide what was written through the virtual host that has turned."""
    await put(apart, AHEAD, "new")
    await put(apart, BEHIND, "old")
    really = apart.nginx.log.changes_under
    tries = 0

    async def no_log(counters: Sequence[str]) -> object:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Hopeless("objects could not be copied")
        return await really(counters)

    monkeypatch.setattr(apart.nginx.log, "changes_under", no_log)
    notes = Notes()
    await apart.run(notes)
    assert notes.ended is Stage.DONE, (notes.message, notes.lines)
    assert set(await contents(apart.destination)) == {"both", "old", "new"}


def a_history(*states: str) -> list[Flag]:
    return [
        Flag(
            epoch=epoch,
            state=FlagState(state),
            pool_alias="s",
            target_alias=None if state == "static" else "d",
            gate_port=20_001 if state.startswith("hold") else None,
        )
        for epoch, state in enumerate(states, 1)
    ]


@pytest.mark.parametrize(
    ("states", "epochs"),
    [
        (("static", "src", "hold"), [3]),
        (("static", "src", "hold", "hold", "hold"), [5, 4, 3]),
        (("static", "src", "hold", "src", "hold"), [5]),
        (("static", "src", "hold", "src"), [4, 3]),
        (("static", "src", "hold", "holdd", "hold"), [5, 3]),
        (("static",), []),
        ((), []),
    ],
)
def test_what_was_written_since_the_last_hold_began_is_found(
    states: Sequence[str], epochs: Sequence[int]
) -> None:
    assert [flag.epoch for flag in written_under(a_history(*states))] == epochs

"""The process is killed after each thing that it does; nothing is lost, and the next one goes on.

Between two of these things (a rename, a removal, a folder, a commit) a process changes nothing that
another could see, so to die after each of them is to die on every line.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from holdfast.kernel.db import Database
from holdfast.tiers import renaming
from holdfast.tiers.emptying import empty_due
from holdfast.tiers.freezing import freeze
from holdfast.tiers.journal import mend
from holdfast.tiers.model import QUARANTINE, FileState
from holdfast.tiers.undoing import undo
from tests.tiers.icebox import Icebox, an_icebox, contents

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

NAMES = (b"a", b"d/e/f", b"d/new\nline", b"link1", b"link2")
MOST_DEATHS = 200
Act = Callable[[Icebox], Awaitable[object]]


class Scene:
    """A tier in a folder of its own, used by one process after another."""

    def __init__(self, template: Path, folder: Path) -> None:
        self._folder = folder
        self._tier_id = 0
        folder.mkdir()
        shutil.copy(template, folder / "holdfast.db")
        self.stored: dict[bytes, bytes] = {}
        self.do(self._furnish)

    async def _furnish(self, _: Icebox) -> None:
        """Only the first process makes it; the others find it."""

    def do(self, act: Act) -> None:
        """One process that lives."""
        asyncio.run(self._done(act))

    def dies_after(self, act: Act, number: int) -> bool:
        """One process that is killed right after so many effects, if it has so many."""
        child = os.fork()
        if not child:
            code = 1
            try:
                kill_after(number)
                self.do(act)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert status in {0, signal.SIGKILL}
        return os.WIFSIGNALED(status)

    async def _done(self, act: Act) -> None:
        database = Database(f"sqlite+aiosqlite:///{self._folder / 'holdfast.db'}")
        try:
            if not self._tier_id:
                box = await an_icebox(database, self._folder)
                self._tier_id = box.tier_id
                box.put(*NAMES[:4])
                os.link(box.root / "link1", box.root / "link2")
                box.stored[b"link2"] = box.stored[b"link1"]
                self.stored, self.box = box.stored, box
            box = self.box
            box.services.database = database
            await act(box)
        finally:
            await database.close()

    def check_nothing_is_lost(self) -> None:
        """Each content is in its place or in quarantine, or was proven and is to leave."""
        states: dict[bytes, str] = {}

        async def look(box: Icebox) -> None:
            states.update(await box.states())

        self.do(look)
        here = self.box.local
        for job in (self.box.root / QUARANTINE).glob("*"):
            here |= contents(job)
        for name, content in self.stored.items():
            gone = states.get(name) in {FileState.LEAVING, FileState.FROZEN}
            assert here.get(name) == content or (gone and name not in here), name


def kill_after(number: int) -> None:
    """From now on this process dies after so many effects."""
    left = [number]

    def counted() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrapped(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            counted()
            return result

        return call

    real_commit = AsyncSession.commit

    async def commit(self: AsyncSession) -> None:
        await real_commit(self)
        counted()

    AsyncSession.commit = commit  # type: ignore[method-assign]
    effects = [(renaming, "rename_new"), (os, "unlink"), (os, "mkdir"), (os, "rmdir")]
    for owner, name in effects:
        setattr(owner, name, wrapped(getattr(owner, name)))


async def freeze_all(box: Icebox, **options: Any) -> None:
    run = box.run(**options)
    await mend(run)  # as a plan begins
    here = [name for name in NAMES if name in box.local]
    await freeze(run, box.plan(run, *here))


async def freeze_for_good(box: Icebox) -> None:
    await freeze_all(box, undo_hours=0)


async def freeze_for_a_while(box: Icebox) -> None:
    await freeze_all(box, undo_hours=1)


async def take_back(box: Icebox) -> None:
    await undo(box.run(), "job1")


async def only_mend(box: Icebox) -> None:
    await mend(box.run())


async def empty_all(box: Icebox) -> None:
    await empty_due(box.run())


@pytest.fixture
def scenes(sqlite_template: Path, tmp_path: Path) -> Callable[[int], Scene]:
    return lambda number: Scene(sqlite_template, tmp_path / str(number))


def check_all_frozen(scene: Scene) -> None:
    scene.check_nothing_is_lost()
    assert scene.box.local == {}
    assert not scene.box.has_quarantine


def test_a_freeze_that_dies_anywhere_is_finished_by_the_next(scenes: Any) -> None:
    for number in range(MOST_DEATHS):
        scene = scenes(number)
        died = scene.dies_after(freeze_for_good, number)
        scene.check_nothing_is_lost()
        scene.do(freeze_for_good)
        scene.do(freeze_for_good)  # one of two names that was left alone came back first
        scene.do(only_mend)
        check_all_frozen(scene)
        if not died:
            break
    assert 20 < number < MOST_DEATHS - 1


def test_a_freeze_that_dies_can_be_undone(scenes: Any) -> None:
    for number in range(0, MOST_DEATHS, 3):
        scene = scenes(number)
        died = scene.dies_after(freeze_for_a_while, number)
        scene.do(take_back)
        assert scene.box.local == scene.stored
        assert not scene.box.has_quarantine
        if not died:
            break


def test_an_undo_that_dies_anywhere_is_finished_by_the_next(scenes: Any) -> None:
    for number in range(MOST_DEATHS):
        scene = scenes(number)
        scene.do(freeze_for_a_while)
        died = scene.dies_after(take_back, number)
        scene.check_nothing_is_lost()
        scene.do(take_back)
        assert scene.box.local == scene.stored
        assert not scene.box.has_quarantine
        if not died:
            break
    assert 8 < number < MOST_DEATHS - 1


def test_a_mending_that_dies_anywhere_is_done_again(scenes: Any) -> None:
    for number in range(MOST_DEATHS):
        scene = scenes(number)
        assert scene.dies_after(freeze_for_good, 10)
        died = scene.dies_after(only_mend, number)
        scene.check_nothing_is_lost()
        scene.do(freeze_for_good)
        scene.do(empty_all)
        scene.check_nothing_is_lost()
        if not died:
            break
    assert 2 <= number < MOST_DEATHS - 1
